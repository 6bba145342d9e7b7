"""The live monitor's stream: shared, checked, drained, and ended without permission."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from channels.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import Permission
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client, RequestFactory

from eric_sse_django import conf, wire
from eric_sse_django.hub import End, Hub
from eric_sse_django.monitor import PATH, sampler, viewer
from eric_sse_django.monitor.snapshot import Observer
from eric_sse_django.monitor.viewer import RETRY_MS, Viewer
from eric_sse_django.routing import with_streams
from tests.sse import SSEReader


class Reader:
    """Reads one stream of the monitor, in this process."""

    def __init__(self, cookie="", path=None):
        self.judge = SSEReader()
        self.ended = False
        self.cookie = cookie
        self.application = ApplicationCommunicator(
            with_streams(None),
            {
                "type": "http",
                "method": "GET",
                "path": path or f"/{conf.get('URL_PREFIX')}{PATH}",
                "query_string": b"",
                "headers": [(b"cookie", f"sessionid={cookie}".encode())],
            },
        )

    async def open(self):
        await self.application.send_input({"type": "http.request"})
        self.start = await self.application.receive_output(5)
        return self

    async def event(self, type="snapshot"):
        """Return the data of the next event of a type."""
        found = []
        while not found:
            found = [event for event in await self.read() if event.type == type]
        return json.loads(found[-1].data)

    async def read(self):
        assert not self.ended, "the stream has ended"
        part = await self.application.receive_output(5)
        self.ended = not part.get("more_body")
        return self.judge.feed(part["body"])

    async def read_to_end(self):
        while not self.ended:
            await self.read()

    async def leave(self):
        await self.application.send_input({"type": "http.disconnect"})
        await self.application.wait(5)


@pytest.fixture
async def hub(transactional_db):
    yield Hub.for_running_loop()
    await Hub.close_all()


@pytest.fixture
async def watch(hub, monkeypatch):
    """Return a function that opens a stream as a user with these permissions."""
    monkeypatch.setattr(sampler, "INTERVAL_S", 0.02)

    @sync_to_async
    def cookie(*permissions):
        users = get_user_model().objects
        user = users.create_user(f"user-{users.count()}", password="", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value

    async def open_reader(*permissions):
        return await Reader(await cookie(*permissions)).open()

    return open_reader


async def test_the_stream_is_refused_without_the_permission(watch):
    assert (await watch("view_listener")).start["status"] == 403
    assert (await Reader().open()).start["status"] == 403


async def test_all_viewers_share_the_snapshots_and_without_viewers_none_is_taken(
    watch, monkeypatch
):
    taken = []
    take = Observer.take
    monkeypatch.setattr(Observer, "take", lambda self: taken.append(1) or take(self))
    one, other = await watch("view_monitor"), await watch("view_monitor")
    headers = dict(one.start["headers"])
    assert headers[b"cache-control"] == b"no-store, no-transform"
    assert (await one.event("history"))["names"][0] == "at"
    seen = {(await one.event())["at"] for _ in range(5)}
    assert (await other.event())["at"] in seen | {(await one.event())["at"] for _ in range(5)}
    await one.leave()
    await other.leave()
    count = len(taken)
    third = await watch("view_monitor")
    assert len((await third.event("history"))["samples"]) == count  # none came in between
    await third.leave()


async def test_a_user_that_loses_the_permission_loses_the_stream(watch, monkeypatch):
    reader = await watch("view_monitor")
    await reader.event()
    monkeypatch.setattr(viewer, "PERMISSION_CHECK_S", 0)
    await reader.event()
    await sync_to_async(get_user_model().objects.update)(is_staff=False)
    await reader.read_to_end()


async def test_a_user_that_logs_out_loses_the_stream_at_once(watch, hub):
    reader = await watch("view_monitor")
    stays = await watch("view_monitor")
    await reader.event()
    request = RequestFactory().get("/")
    request.session = SessionStore(reader.cookie)
    await sync_to_async(logout)(request)
    await asyncio.wait_for(reader.read_to_end(), 5)  # long before PERMISSION_CHECK_S
    await stays.event()
    await stays.leave()
    assert len(hub.revocations) == 0


async def test_a_server_that_stops_sends_when_to_reconnect(watch, hub):
    reader = await watch("view_monitor")
    await reader.event()
    hub.drain()
    await reader.read_to_end()
    assert reader.judge.retry_ms == RETRY_MS


async def test_a_stream_continues_after_an_outage_of_the_database(watch, monkeypatch):
    reader = await watch("view_monitor")
    await reader.event()
    take = Observer.take

    def fails(self):
        monkeypatch.setattr(Observer, "take", take)
        raise OperationalError("server has gone away")

    monkeypatch.setattr(Observer, "take", fails)
    while not reader.judge.comments:
        await reader.read()
    await reader.event()
    await reader.leave()


async def test_a_slow_client_misses_snapshots_and_only_a_few_are_kept():
    slow, written = Viewer(), []

    async def write(chunk, more):
        written.append(chunk)
        if len(written) == 2:
            slow.end(End.CLIENT_LEFT)

    for number in range(9):
        slow.offer(f"{number}\n".encode())
    await slow.serve(write, None)
    assert written[1] == b"4\n5\n6\n7\n8\n"


@pytest.mark.parametrize("ends_early", [True, False], ids=["before it", "during it"])
async def test_an_end_does_not_interrupt_the_first_write(ends_early):
    """It has the headers: a server responds with 500 instead, which stops an EventSource."""
    viewer, written = Viewer(), []

    async def write(chunk, more):
        if not written:
            viewer.end(End.DRAINING)
            await asyncio.sleep(0.01)  # as a session middleware does before the headers
        written.append((chunk, more))

    if ends_early:
        viewer.end(End.DRAINING)
    await viewer.serve(write, None)
    farewell = wire.farewell(RETRY_MS)
    assert written == [(farewell, True), (farewell, False)]
    assert not viewer.was_cut


async def test_a_write_that_takes_too_long_is_cut(settings):
    settings.ERIC_SSE = {"SEND_TIMEOUT_S": 0.02}
    stuck = Viewer()

    async def write(chunk, more):
        await asyncio.Event().wait()

    await stuck.serve(write, None)
    assert (stuck.reason, stuck.was_cut) == ("send timeout", True)
