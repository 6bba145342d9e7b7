"""Workers of gevent, where threads are greenlets: queries work, and wakes are sent."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from eric_sse_django.cancelling import cancel
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.wakes import WakeReceiver
from tests import databases
from tests.databases import on
from tests.live.asgi_servers import ROOT

SCRIPT = """
from gevent import monkey

monkey.patch_all()

import gevent
import django

django.setup()

from django.db import connections

from eric_sse_django import log, notifier
from eric_sse_django.health import examine
from eric_sse_django.shortcuts import channel, listen, publish

done, errors = [], []


def operate(number):
    try:
        publish("orders", "number", number)
        gevent.sleep(0.001)
        listen("orders", listener_id=f"listener-{number}")
        done.append(number)
    except BaseException as error:
        errors.append(repr(error))
    finally:
        connections.close_all()


gevent.joinall([gevent.spawn(operate, number) for number in range(20)], timeout=30)
assert not errors, errors
assert len(done) == 20
assert notifier.flush(10)
assert not log.pending().exists()
assert notifier.current()._sender.flush(10)
assert [part.says for part in examine() if not part.works] == []
print(log.head()[0])
"""


@on("sqlite", "postgres")
@pytest.mark.parametrize("kind", ["redis", "nats"])
async def test_no_operation_fails_and_other_processes_are_woken(database, kind, request, settings):
    pytest.importorskip("gevent")
    channel = await DatabaseChannel.acreate("orders")
    port = request.getfixturevalue(f"{kind}_server").port
    # A name, so that it is resolved too.
    hosts = {"hosts": [("localhost", port)]}
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": hosts}
    backend = "eric_sse_django.wakes.nats.NatsFabric"
    fabric = {"BACKEND": backend, "LOCATION": f"nats://localhost:{port}"}
    settings.CHANNEL_LAYERS = {"default": layer}
    settings.ERIC_SSE = {"FABRIC": fabric} if kind == "nats" else {}
    heard = asyncio.Queue()
    receiver = WakeReceiver(lambda message: heard.put_nowait(1), lambda: heard.put_nowait(1))
    receiver.want({channel.row.pk})
    listening = asyncio.create_task(receiver.run())
    await asyncio.wait_for(heard.get(), 10)  # it receives
    process = await asyncio.to_thread(run, database, layer, settings.ERIC_SSE)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["20"]
    assert "Traceback" not in process.stderr
    await asyncio.wait_for(heard.get(), 10)
    assert await cancel([listening]) == set()


def run(
    database: str, layer: dict[str, Any], settings: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(ROOT),
            "ERIC_SSE_TEST_DB": databases.address(database),
            "ERIC_SSE_TEST_LAYER": json.dumps(layer),
            "ERIC_SSE_TEST_SETTINGS": json.dumps(settings),
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
