"""A channel layer that is full, dead or slow delays messages: none is lost, no publisher waits."""

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.shortcuts import publish
from tests.database.tools import entries
from tests.databases import on, sqlite_only
from tests.faults.load import load
from tests.live.layers import StuckLayer

POLLING = {"POLL_INTERVAL_S": 0.5, "SQLITE_LOOK_INTERVAL_S": 60}


@pytest.fixture
def stuck_layer(settings):
    """Send wakes through a layer that does not return; release it after the test."""
    StuckLayer.entered.clear()
    StuckLayer.released.clear()
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.live.layers.StuckLayer"}}
    yield StuckLayer
    StuckLayer.released.set()


@on("sqlite", "postgres")
def test_publishing_and_sequencing_do_not_wait_for_the_layer(database, stuck_layer):
    DatabaseChannel.create("orders")
    publish("orders", "number", 0)
    assert stuck_layer.entered.wait(10)
    for number in range(1, 20):
        publish("orders", "number", number)
    assert notifier.flush(10)
    # All is done, and the layer still has not returned from its first send.
    assert not stuck_layer.released.is_set()
    assert log.head() == (entries()[-1].position, False)
    assert len(entries()) == 20


@sqlite_only
@pytest.mark.parametrize("layer", ["FullLayer", "DeadLayer", "SlowLayer", "BlockingLayer"])
async def test_with_a_broken_layer_messages_are_delivered_by_polling(database, serve, layer):
    backend = {"BACKEND": f"tests.live.layers.{layer}"}
    process = serve("uvicorn", layer=backend, settings=POLLING)
    async with load(process) as under_load:
        await under_load.until_accepted(30)
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        assert under_load.errors() == []
    text = await sync_to_async(process.log.read_text)()
    # Logged once, not a thousand times; a slow one counts as failing after its second.
    assert text.count("sending wakes to other processes failed") <= 1
    assert text.count("receiving wakes of other processes failed") == (layer == "DeadLayer")
