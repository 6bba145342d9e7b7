"""How the server's own objects are found below middleware, and what is logged about them."""

import asyncio
import logging
import re
import time
from functools import partial, wraps
from pathlib import Path

import pytest
import uvicorn as real_uvicorn
import wrapt
from django.utils.functional import SimpleLazyObject

from eric_sse_django.outage import Quiet
from eric_sse_django.streaming import Response, response, servers
from eric_sse_django.streaming.servers import (
    MAX_OBJECTS,
    daphne,
    gunicorn,
    hypercorn,
    link_of,
    uvicorn,
)
from tests.streams.test_response import TwistedRequest, UvicornCycle, handle_reply

ROOT = Path(__file__).parents[2]
SCOPE = {"type": "http", "headers": [(b"host", b"a")], "client": ["127.0.0.1", 5]}

# What this app uses of libraries though they do not document it.
PRIVATE = (
    *("run_on_commit", "atomic_blocks", "mark_for_rollback_on_error"),
    *("close_if_health_check_failed", "validate_thread_sharing", "queries_logged"),
    *("_registry", "_from_testcase", "_get_scheme", "base_send", "__group__"),
    *("brpop_timeout", "close_pools", "_transport", "_io_writer"),
)


@pytest.fixture(autouse=True)
def nothing_reported_yet(monkeypatch):
    monkeypatch.setattr(response, "_reported", {""})
    monkeypatch.setattr(servers, "failures", Quiet())


def cycle(scope=SCOPE):
    found = UvicornCycle()
    found.scope = scope
    return found


class Sender:
    __slots__ = ("send",)

    def __init__(self, send):
        self.send = send

    async def __call__(self, message):
        await self.send(message)

    async def forward(self, message):
        await self.send(message)


def closure(send):
    async def wrapper(message):
        await send(message)

    return wrapper


def wrapped(send):
    @wraps(send)
    async def wrapper(*args):
        await send(*args)

    return wrapper


def with_argument(send):
    async def forward(to, message):
        await to(message)

    return partial(forward, send)


def with_keyword(send):
    async def forward(message, to):
        await to(message)

    return partial(forward, to=send)


WRAPPERS = {
    "closure": closure,
    "wraps": wrapped,
    "argument": with_argument,
    "keyword": with_keyword,
    "object": Sender,
    "method": lambda send: Sender(send).forward,
    "in a dict": lambda send: closure({"send": [send]}),
    "wrapt": lambda send: wrapt.FunctionWrapper(send, lambda inner, _, args, kw: inner(*args)),
    "many": lambda send: closure(Sender(wrapped(with_argument(closure(send))))),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_send_is_found_below_every_wrapper(wrap):
    asked = dict(SCOPE)
    link, is_direct = link_of(wrap(cycle().send), None, asked)
    assert (link.server, is_direct) == ("uvicorn", False)
    request = TwistedRequest()
    request.clean_headers, request.client_addr = SCOPE["headers"], SCOPE["client"]
    link, is_direct = link_of(wrap(partial(handle_reply, request)), None, asked)
    assert (link.server, is_direct) == ("Daphne", False)


def test_the_response_to_another_request_is_never_taken():
    """A middleware may keep the sends of all its requests; ours alone is ours to cut."""
    others = [cycle({"headers": [(b"host", b"b")], "client": ["127.0.0.1", n]}) for n in range(9)]
    others.append(cycle({"headers": list(SCOPE["headers"]), "client": ["127.0.0.1", 6]}))
    sends = [other.send for other in others]

    async def lost(message):
        await sends[0](message)

    assert link_of(lost, None, SCOPE)[0].server == "an unknown server"
    sends.append(cycle().send)
    link, _ = link_of(lost, None, SCOPE)
    assert link._cycle is sends[-1].__self__


def test_a_proxys_header_that_changes_the_client_hides_nothing():
    asked = {**SCOPE, "client": ["10.0.0.1", 0]}
    assert link_of(closure(cycle().send), None, asked)[0].server == "uvicorn"


def test_the_server_is_found_by_its_receive():
    async def send(message):
        pass

    assert link_of(send, closure(cycle().receive), SCOPE)[0].server == "uvicorn"


async def test_the_server_is_found_by_the_arguments_of_callers():
    async def nothing(message):
        pass

    async def application(scope, receive, send):
        return link_of(send, receive, scope)

    async def server(scope, receive, send):
        return await application(scope, nothing, nothing)

    link, is_direct = await server(SCOPE, nothing, cycle().send)
    assert (link.server, is_direct) == ("uvicorn", False)


def test_a_search_without_result_is_bounded():
    everything = [Sender(closure(number)) for number in range(5)]
    for number in range(10 * MAX_OBJECTS):
        everything.append({"number": number, "last": everything[-1]})
    began = time.perf_counter()
    link, _ = link_of(closure(everything), closure(everything[-1]), SCOPE)
    assert time.perf_counter() - began < 0.2
    assert link.server == "an unknown server"


class Untouchable:
    """A proxy that is not to be evaluated here: Django's lazy user would query."""

    @property  # type: ignore[misc]
    def __class__(self):
        raise AssertionError("it was asked for its class")

    def __getattr__(self, name):
        raise AssertionError(f"it was asked for {name}")

    def __call__(self, *args):
        raise AssertionError("it was called")


class Lazily(dict[str, int]):
    def values(self):
        raise AssertionError("it was asked for its values")


class LazyList(list[int]):
    def __iter__(self):
        raise AssertionError("it was asked for its items")


class Slotted:
    __slots__ = ("secret",)


class Overridden(Slotted):
    secret = property(lambda self: pytest.fail("its property was asked"))


LAZY = {
    "proxy": Untouchable,
    "argument": lambda: partial(handle_reply, Untouchable()),
    "dict": lambda: Lazily(a=1),
    "list": lambda: LazyList([1]),
    "slot": Overridden,
}


@pytest.mark.parametrize("make", LAZY.values(), ids=LAZY)
def test_a_search_evaluates_nothing_that_is_lazy(make):
    """A middleware's send() may refer to anything: what queries would do so on the loop."""
    found = cycle()
    link, _ = link_of(closure([make(), make(), closure(found.send)]), None, SCOPE)
    assert link._cycle is found
    assert link_of(closure(make()), None, SCOPE)[0].server == "an unknown server"


def test_a_search_that_fails_leaves_the_stream_without_guards(caplog):
    class Broken:
        transport = None

        async def send(self, message):
            pass

    Broken.__module__ = "uvicorn.protocols.http.new"
    for _ in range(2):
        link, is_direct = link_of(closure(Broken().send), None, SCOPE)
        assert (link.server, is_direct) == ("an unknown server", False)
    assert caplog.text.count("the search for the server's objects failed") == 1


async def test_a_guard_that_a_server_does_not_have_is_logged_once(caplog):
    async def send(message):
        pass

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await Response(send).write(b"1", True)
    found, missing = [one for one in caplog.records if "guards" in one.getMessage()]
    assert (found.levelno, missing.levelno) == (logging.INFO, logging.WARNING)
    for guard in ("back-pressure", "cut", "dark links", "recycling"):
        assert guard in missing.getMessage()
        assert guard not in found.getMessage()


async def test_an_object_that_a_new_version_of_a_server_lacks_is_named(caplog):
    """The fake has neither a transport that can be cut, nor a socket, nor a Server."""
    for _ in range(2):
        await Response(cycle().send).write(b"1", True)
    (missing,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "missing='cut, dark links, recycling'" in missing.getMessage()


def test_a_server_whose_private_objects_are_gone_is_used_without_them():
    """The names that hypercorn, Twisted and gunicorn may change with any version."""

    class Gone:
        def __init__(self, **found):
            self.__dict__.update(found)

    http2 = hypercorn.HTTP2Link(Gone(stream_id=1), Gone(stream_buffers={1: Gone()}))
    assert http2.missing() == {"back-pressure", "cut", "recycling"}
    assert http2.full() is None
    assert http2.stopping() is None
    request = TwistedRequest()
    request.streamID, request._conn = 1, Gone()
    twisted = daphne.HTTP2Link(request)
    assert twisted.missing() == {"back-pressure", "cut"}
    assert twisted.full() is None
    worker = gunicorn.GunicornLink(Gone(transport=None), None)
    assert worker.missing() == {"recycling"}
    assert worker.stopping() is None


async def test_a_server_of_a_projects_own_class_is_found():
    class Server(real_uvicorn.Server):
        async def main_loop(self):
            await asyncio.sleep(60)

    server = Server(real_uvicorn.Config(None))
    running = asyncio.create_task(server.main_loop())
    await asyncio.sleep(0)
    stopping = uvicorn.UvicornLink(cycle()).stopping()
    assert not stopping()
    server.should_exit = True
    assert stopping()
    running.cancel()


def rows_of_private_objects():
    page = (ROOT / "docs" / "deployment.md").read_text()
    table = page.split("| object | of |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def test_each_private_object_is_used_and_has_a_test_that_notices():
    sources = [one.read_text() for one in (ROOT / "eric_sse_django").rglob("*.py")]
    for names, *_, test in rows_of_private_objects():
        for name in re.findall(r"`(\w+)`", names):
            assert any(name in source for source in sources), name
        assert (ROOT / test.strip("` ")).exists(), test


def test_each_module_of_a_server_names_its_private_objects_in_the_docs():
    documented = " ".join(names for names, *_ in rows_of_private_objects())
    for module in (daphne, uvicorn, hypercorn, gunicorn):
        for name in re.findall(r"`(\w+)`", module.__doc__.split("Private: ")[1]):
            assert f"`{name}`" in documented, (module.__name__, name)


def test_each_private_object_of_a_library_is_in_the_docs():
    documented = " ".join(names for names, *_ in rows_of_private_objects())
    sources = "".join(one.read_text() for one in (ROOT / "eric_sse_django").rglob("*.py"))
    for name in PRIVATE:
        assert name in sources, f"{name} is not used any more"
        assert f"`{name}`" in documented, name


class Evaluated(Exception):
    """A lazy object of the project's was asked what it is."""


@pytest.mark.parametrize("kind", ["closure", "argument", "keyword", "attribute", "in a dict"])
def test_the_search_evaluates_no_lazy_object(kind):
    """Such as scope["user"]: that is a query, or an error while it is not ready."""

    def fail():
        raise Evaluated

    lazy = SimpleLazyObject(fail)
    wraps_it = {
        "closure": lambda: closure(lazy),
        "argument": lambda: with_argument(lazy),
        "keyword": lambda: with_keyword(lazy),
        "attribute": lambda: Sender(lazy),
        "in a dict": lambda: closure({"user": lazy, "more": [lazy]}),
    }
    assert link_of(wraps_it[kind](), None, SCOPE)[0].server == "an unknown server"
