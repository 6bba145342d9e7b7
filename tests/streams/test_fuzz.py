"""Whatever a client sends: no error, and no message for another recipient."""

import asyncio
import logging
import os
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.signing import TimestampSigner
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eric_sse_django import notifier
from eric_sse_django.authorization import make_ticket
from eric_sse_django.authorization.tickets import SALT
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from tests.streams.asgi import Response, session_of

# Requests of each kind in a usual run: a few seconds; ERIC_SSE_TEST_FUZZ=10000 for more.
CASES = int(os.environ.get("ERIC_SSE_TEST_FUZZ", "300"))
ANSWERS = {200, 204, 400, 403, 404, 405, 406}
SECRETS = (b"for bob alone", b"in the vault")
CHANNELS = ["orders", "vault", "news"]
LISTENERS = ["hers", "bobs", "nobodys"]


class Mallory:
    """A user with a session, a listener and tickets, who tries to read the messages of others."""

    def __init__(self):
        orders, vault, news = (DatabaseChannel.create(name) for name in CHANNELS)
        mallory, bob = (get_user_model().objects.create(username=name) for name in ("m", "bob"))
        for owner, name in ((mallory, "hers"), (bob, "bobs"), (None, "nobodys")):
            orders.add_listener(owner, name).start()
        vault.add_listener(bob, "bobs").start()
        orders.dispatch("bobs", Message("n", "for bob alone"))
        orders.dispatch_to_owner(bob, Message("n", "for bob alone"))
        vault.broadcast(Message("n", "in the vault"))
        orders.dispatch("hers", Message("n", "for mallory"))
        news.broadcast(Message("n", "news"))
        notifier.flush()
        self.channels = orders, vault, news
        self.cookie = async_to_sync(session_of)(mallory)
        self.tickets = [
            make_ticket("orders", "hers"),
            make_ticket("news"),
            make_ticket("orders", "gone"),
            make_ticket("orders", "hers", -1),
            # Well formed, and not ours: another salt, another key, another shape.
            signing.dumps(["vault", None, 9e9, 9e9, None, None], salt="other"),
            signing.dumps(["vault", None, 9e9, 9e9, None, None], salt=SALT, key="guessed"),
            TimestampSigner().sign("vault"),
        ]
        self._marks = 0

    def mark(self):
        """Publish a message to all clients of all channels; return its payload."""
        self._marks += 1
        payload = f"mark {self._marks}."
        with transaction.atomic():  # one commit: it is done for each request
            for channel in self.channels:
                channel.broadcast(Message("n", payload))
        return payload.encode()


TEXT = st.text(max_size=20)
ODD = st.sampled_from(["", ".", "..", "%", "\0", "a" * 200, "ORDERS", "orders/hers", "é", "٣"])
NUMBERS = st.integers(-(2**70), 2**70).map(str)


def tickets(mallory):
    """Draw a ticket: one of hers, a changed one, or any text."""
    own = st.sampled_from(mallory.tickets)
    cut = st.tuples(own, st.integers(0, 90)).map(lambda of: of[0][: of[1]])
    put = st.tuples(own, st.integers(0, 90), st.characters()).map(
        lambda of: of[0][: of[1]] + of[2] + of[0][of[1] + 1 :]
    )
    joined = st.tuples(own, own).map(lambda of: ":".join([*of[0].split(":")[:1], of[1][-60:]]))
    return st.one_of(own, own, cut, put, joined, TEXT)


def queries(mallory):
    """Draw a query string, as bytes."""
    names = st.sampled_from(["channel", "channel", "listener", "ticket", "last_event_id"])
    ids = st.sampled_from([*CHANNELS, *LISTENERS])
    values = st.one_of(ids, ids, tickets(mallory), NUMBERS, TEXT, ODD)
    pairs = st.lists(st.tuples(names | TEXT, values), max_size=8)
    joined = pairs.map(
        lambda found: "&".join(
            f"{quote(name, errors='replace')}={quote(value, errors='replace')}"
            for name, value in found
        ).encode()
    )
    return st.one_of(joined, joined, joined, st.binary(max_size=60))


def paths():
    """Draw a path below the prefix, decoded as servers do it."""
    ids = st.one_of(st.sampled_from([*CHANNELS, *LISTENERS]), ODD, TEXT)
    known = st.sampled_from(["", "orders/hers/", "orders/bobs/", "vault/", "news/", "vault/bobs/"])
    made = st.lists(ids, max_size=4).map(lambda parts: "/".join(parts))
    return st.one_of(known, known, made, made.map(lambda path: path + "/"))


def headers(mallory):
    """Draw a list of headers, names in lower case as ASGI has them."""
    cookies = st.one_of(
        st.just(mallory.cookie), st.binary(max_size=40), st.just(mallory.cookie[:-1] + b"x")
    )
    of_name = {
        b"cookie": cookies,
        b"last-event-id": NUMBERS.map(str.encode) | st.binary(max_size=30),
        b"accept": st.sampled_from([b"text/event-stream", b"*/*", b"text/html", b"\xff"]),
        b"origin": st.sampled_from([b"null", b"http://testserver", b"https://evil.example"]),
        b"host": st.sampled_from([b"testserver", b"evil.example", b"", b"a b", b"\xff"]),
        b"authorization": st.binary(max_size=30),
        b"x-forwarded-for": st.binary(max_size=30),
    }
    one = st.sampled_from(sorted(of_name)).flatmap(
        lambda name: st.tuples(st.just(name), of_name[name])
    )
    return st.one_of(
        st.lists(one, max_size=5), st.just([(b"cookie", mallory.cookie)]), st.just([])
    )


METHODS = st.sampled_from(["GET"] * 12 + ["HEAD", "OPTIONS", "POST", "DELETE", "get", "\0", ""])


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(Hub.close_all())
    loop.close()


async def all_that_is_there(mallory, application, path, method, query, headers):
    """Return the response with all that the log has for its client."""
    response = Response(application, "", method, query_string=query, headers=headers)
    response.scope["path"] = path  # as it is, with a "?" in it
    async with response:
        if response.status == 200 and method == "GET":
            await response.more()  # the opening, or the farewell
            # Messages keep their order: what was there before the mark comes before it.
            mark = await sync_to_async(mallory.mark)()
            while mark not in response.body and not response.complete:
                await response.more()
    return response


def test_no_request_for_a_stream_makes_an_error_or_shows_what_is_not_for_it(
    application, loop, caplog
):
    mallory = Mallory()
    seen = []

    @settings(
        max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(paths(), METHODS, queries(mallory), headers(mallory))
    # These reach a stream, and one that is not hers, however few are drawn.
    @example("orders/hers/", "GET", b"", [(b"cookie", mallory.cookie)])
    @example("orders/bobs/", "GET", b"", [(b"cookie", mallory.cookie)])
    def ask(below, method, query, sent):
        response = loop.run_until_complete(
            all_that_is_there(mallory, application, f"/events/{below}", method, query, sent)
        )
        assert response.status in ANSWERS, (below, method, query, sent, response.body)
        for secret in SECRETS:
            assert secret not in response.body, (below, method, query, sent)
        seen.append(response)

    with caplog.at_level(logging.WARNING):
        ask()
    assert "Traceback" not in caplog.text
    # What is hers came: the cases do reach the streams.
    assert {200, 403} <= {response.status for response in seen}
    assert any(b"for mallory" in response.body for response in seen)
