"""A failure of a project's code affects its own stream: two others miss nothing."""

import asyncio
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.db.models.signals import post_save

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.hub import hub as hub_module
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message
from eric_sse_django.models import Channel
from tests.streams.asgi import Response
from tests.streams.hooks import BAD, User, hook, on_saved

# Whether others are delayed shows only while the machine has time for them.
pytestmark = pytest.mark.alone

MODULE = "tests.streams.hooks"
# Seconds a hook may take here.
DEADLINE_S = 0.3
# Seconds within which the others get what is published: a busy machine, and no deadline.
PROMPT_S = DEADLINE_S
TIMEOUT_S = 20.0
# Messages that each of the others gets while a hook fails.
ROUNDS = 5

AUTHORIZERS = ("Watching", "WatchingLater", "Listening", "Built", "Imported")
CHANNEL_CLASSES = ("Adapting", "Encoding", "Making")
OTHERS = ("a session store", "a middleware's user", "a layer", "a signal's receiver")


@pytest.fixture(params=["raise", "hang", "nonsense"])
def mode(request):
    return request.param


@pytest.fixture(autouse=True)
def released():
    hook.reset()
    yield
    hook.mode = None
    hook.released.set()


@pytest.fixture(autouse=True)
def fast(monkeypatch, fast_ticks):
    monkeypatch.setattr(hub_module, "CALL_DEADLINE_S", DEADLINE_S)


async def publish(channel, *payloads):
    await sync_to_async(channel.broadcast_many)([Message("n", each) for each in payloads])


class Others:
    """Two open streams of other channels, and what they receive while a hook fails."""

    def __init__(self, application):
        self._application = application
        self.streams = []
        self.channels = []
        self.sent = 0

    async def __aenter__(self):
        for name in ("one", "two"):
            channel = await DatabaseChannel.acreate(name)
            await Channel.objects.filter(pk=channel.row.pk).aupdate(access="everyone")
            self.channels.append(channel)
            stream = Response(self._application, f"/events/{name}/")
            self.streams.append(await stream.__aenter__())
        await self.get_all()
        return self

    async def __aexit__(self, *_):
        for stream in self.streams:
            await stream.__aexit__()

    async def get_all(self):
        """Check that each gets a few messages, all of them, in order and at once."""
        for _ in range(ROUNDS):
            self.sent += 1
            began = time.monotonic()
            for channel in self.channels:
                await publish(channel, self.sent)
            for stream in self.streams:
                event = await asyncio.wait_for(stream.event(), PROMPT_S)
                assert event.data == str(self.sent)
            assert time.monotonic() - began < PROMPT_S


@pytest.fixture
async def bad(transactional_db):
    """Return the channel that uses the hooks, with a running listener "l"."""
    channel = await DatabaseChannel.acreate(BAD)
    await Channel.objects.filter(pk=channel.row.pk).aupdate(access="everyone")
    await (await channel.aadd_listener(listener_id="l")).astart()
    yield channel
    hook.mode = None
    hook.released.set()
    await Hub.close_all()


def configure(settings, **given):
    settings.ERIC_SSE = {"HOOK_TIMEOUT_S": DEADLINE_S, "RETRY_MS": 500, **given}


async def reached():
    until = time.monotonic() + TIMEOUT_S
    while not hook.reached.is_set():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


async def ask(application, path, **scope):
    """Open a stream and return its complete answer, or its first event's data."""
    async with Response(application, path, **scope) as response:
        while not response.complete and not response.events:
            await response.more()
        return response


@pytest.mark.parametrize("kind", CHANNEL_CLASSES)
@pytest.mark.parametrize("mode", ["raise", "hang", "nonsense", "exit"])
async def test_a_channel_class_that_fails_ends_its_own_streams(
    application, bad, settings, kind, mode
):
    configure(settings, CHANNEL_CLASS=f"{MODULE}.{kind}")
    opened = kind != "Making"
    async with Others(application) as others:
        if opened:
            async with Response(application, f"/events/{BAD}/") as stream:
                await publish(bad, "good")
                assert (await stream.event()).data == '"good"'
                hook.mode = mode
                await publish(bad, "meets the hook")
                await reached()
                await others.get_all()
                await asyncio.wait_for(stream.end(), TIMEOUT_S)
                assert stream.events == []
                assert stream.reader.retry_ms >= 500
        hook.mode = mode
        if not (kind == "Making" and mode == "nonsense"):  # what __init__ returns is dropped
            asked = asyncio.ensure_future(
                ask(
                    application, f"/events/{BAD}/?last_event_id=0" if opened else f"/events/{BAD}/"
                )
            )
            await others.get_all()
            answer = await asyncio.wait_for(asked, TIMEOUT_S)
            assert (answer.status, answer.complete) == (200, True)
        hook.mode = None
        hook.released.set()
        mended = await ask(application, f"/events/{BAD}/?last_event_id=0") if opened else None
        assert mended is None or mended.events[0].data == '"good"'
        await others.get_all()


@pytest.mark.parametrize("kind", AUTHORIZERS)
@pytest.mark.parametrize("mode", ["raise", "hang", "nonsense", "exit"])
async def test_a_rule_that_fails_delays_no_other_stream_and_gives_no_access(
    application, bad, settings, kind, mode
):
    if (kind, mode) == ("Built", "nonsense"):
        return  # Python itself refuses what __init__ returns
    configure(settings, AUTHORIZER=f"{MODULE}.{kind}")
    path = f"/events/{BAD}/l/" if kind == "Listening" else f"/events/{BAD}/"
    async with Others(application) as others:
        hook.mode = mode
        asked = [asyncio.ensure_future(ask(application, path)) for _ in range(3)]
        await reached()
        await others.get_all()
        for answer in await asyncio.wait_for(asyncio.gather(*asked), TIMEOUT_S):
            is_refused = mode == "nonsense" and kind != "Imported"
            assert answer.status == (403 if is_refused else 200)
            assert answer.complete
        hook.mode = None
        hook.released.set()
        if kind not in ("Built", "Imported"):  # which deny access by their own rules
            async with Response(application, path) as stream:
                await publish(bad, "repaired")
                assert (await stream.event()).data == '"repaired"'
        await others.get_all()


async def test_a_session_store_that_fails_delays_no_other_stream(application, bad, settings, mode):
    configure(settings)
    async with Others(application) as others:
        settings.SESSION_ENGINE = MODULE
        hook.mode = mode
        cookie = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}=anybodys".encode())]
        paths = [f"/events/{BAD}/l/", f"/events/{BAD}/", "/events/_monitor/"]
        asked = [
            asyncio.ensure_future(ask(application, path, headers=cookie)) for path in paths * 3
        ]
        await reached()
        await others.get_all()
        for answer in await asyncio.wait_for(asyncio.gather(*asked), TIMEOUT_S):
            assert answer.complete
            assert answer.events == []
        head = await asyncio.wait_for(
            ask(application, paths[0], method="HEAD", headers=cookie), TIMEOUT_S
        )
        assert head.status == 503
        await others.get_all()


async def test_a_user_object_that_fails_delays_no_other_stream(application, bad, settings, mode):
    configure(settings)
    async with Others(application) as others:
        hook.mode = mode
        asked = asyncio.ensure_future(ask(application, f"/events/{BAD}/l/", user=User()))
        await reached()
        await others.get_all()
        answer = await asyncio.wait_for(asked, TIMEOUT_S)
        assert answer.complete
        assert answer.events == []


async def test_a_layer_that_fails_delays_no_stream(application, bad, settings, mode):
    configure(settings)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{MODULE}.Layer"}}
    notifier.close()  # the next is of this layer
    async with Others(application) as others:
        hook.mode = mode
        await others.get_all()
        await reached()
        await others.get_all()
        hook.mode = None
        hook.released.set()
        await others.get_all()


async def test_a_receiver_of_signals_that_fails_delays_no_stream(application, bad, settings, mode):
    configure(settings)
    hook.mode = mode
    post_save.connect(on_saved)
    try:
        async with Others(application) as others:
            await reached()
            await others.get_all()
            async with Response(application, f"/events/{BAD}/") as stream:
                await publish(bad, 1)
                assert (await stream.event()).data == "1"
            await others.get_all()
    finally:
        post_save.disconnect(on_saved)


class Own(MessageQueueListener):
    def on_message(self, msg):
        hook()


async def test_an_on_message_that_fails_delays_no_stream_of_the_servers(
    application, bad, settings, mode
):
    """It is called on the loop that reads the stream, which is the worker's."""
    configure(settings)
    got = threading.Event()

    async def work():
        listener = Own("own")
        listener.start()
        await bad.aregister_listener(listener)
        stream = bad.message_stream(listener)
        registered.set()
        await anext(stream)
        got.set()
        await stream.aclose()
        await Hub.close_all()

    registered = threading.Event()
    worker = threading.Thread(target=lambda: asyncio.run(work()))
    async with Others(application) as others:
        hook.mode = mode
        worker.start()
        assert await asyncio.to_thread(registered.wait, TIMEOUT_S)
        await publish(bad, 1)
        await reached()
        await others.get_all()
        hook.released.set()
        assert await asyncio.to_thread(got.wait, TIMEOUT_S)
        await asyncio.to_thread(worker.join, TIMEOUT_S)
        await others.get_all()
