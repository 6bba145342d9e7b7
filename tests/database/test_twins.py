"""Every shortcut has a twin for coroutines, and the error of the other one names it."""

import inspect

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from eric_sse_django import shortcuts
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import (
    achannel,
    acursor,
    alisten,
    apublish,
    astream_url,
    astreams_url,
    awatch_url,
)
from tests import databases

NAMES = ["channel", "publish", "listen", "cursor", "stream_url", "watch_url", "streams_url"]
NAMES += ["users_online", "watchers_online"]


def test_the_shortcuts_are_these():
    functions = {
        name
        for name, found in inspect.getmembers(shortcuts, inspect.isfunction)
        if found.__module__ == shortcuts.__name__ and not name.startswith("_")
    }
    assert functions == {*NAMES, *(f"a{name}" for name in NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_takes_what_the_other_takes(name):
    function, twin = getattr(shortcuts, name), getattr(shortcuts, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert twin.__doc__.startswith(f"As {name}()")
    assert inspect.signature(twin).parameters == inspect.signature(function).parameters


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("channel", ["x"]), ("publish", ["x", "n"]), ("listen", ["x"]), ("cursor", [])],
)
@databases.sqlite_only
async def test_the_error_in_a_coroutine_names_the_twin(database, name, arguments):
    with pytest.raises(SynchronousOnlyOperation, match=rf"await a{name}\("):
        getattr(shortcuts, name)(*arguments)


@databases.sqlite_only
async def test_twins_do_what_their_names_state(database, django_user_model):
    ana = await django_user_model.objects.acreate(username="ana")
    channel = await achannel("orders", format="text")
    assert channel.row.format == "text"
    listener = await alisten(channel, ana, device="phone", acknowledgement="client")
    assert listener.row.acknowledgement == "client"
    await apublish(channel, "n", 1, owner=ana.pk)
    assert (await channel.adeliver_next(listener.id)).payload == 1
    assert await astream_url(listener, cursor=await acursor()) == (
        f"/events/orders/{listener.id.replace('~', '~')}/?last_event_id=1"
    )
    assert (await awatch_url(channel)).startswith("/events/orders/?ticket=")
    assert "listener=" in await astreams_url([(channel, listener)])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("load", ["x"]), ("create", []), ("get_or_create", ["x"])),
        *(("broadcast", [Message("n")]), ("dispatch", ["x", Message("n")])),
        *(("add_listener", []), ("get_listener", ["x"]), ("online", [])),
    ],
)
@databases.sqlite_only
async def test_the_error_of_a_channels_method_names_the_twin(database, name, arguments):
    channel = await achannel("orders")
    with pytest.raises(SynchronousOnlyOperation, match=rf"await a{name}\("):
        getattr(channel, name)(*arguments)


@databases.sqlite_only
async def test_the_error_of_a_listeners_and_a_queues_method_names_the_twin(database):
    listener = await alisten(await achannel("orders"))
    for thing, name in ((listener, "stop"), (listener, "start"), (listener, "refresh")):
        with pytest.raises(SynchronousOnlyOperation, match=rf"await a{name}\("):
            getattr(thing, name)()
