"""Access that one process revokes ends streams on the others, with and without Redis."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model

from eric_sse_django import conf
from eric_sse_django.authorization import make_ticket, revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from eric_sse_django.shortcuts import listen, stream_url
from tests.client import StreamClient
from tests.databases import on
from tests.live import site

COOKIE = project_settings.SESSION_COOKIE_NAME
# Streams of one user on each process.
STREAMS = 20


async def opened(stack, process, path, count):
    clients = [
        await stack.enter_async_context(await StreamClient.open(process.url + path))
        for _ in range(count)
    ]
    for client in clients:
        await client.until_body_has(b"ok")
    return clients


@pytest.mark.parametrize("redis", [False, True], ids=["polling", "redis"])
@on("sqlite", "postgres", "mariadb")
async def test_streams_on_every_process_end_and_later_messages_are_not_sent(
    database, serve, redis_server, redis, record_property, capsys
):
    channel = await DatabaseChannel.acreate("orders")
    owner = await get_user_model().objects.acreate(username="ada")
    mine = await site.new_listener(channel, owner)
    others = await site.new_listener(channel)
    watching = f"/events/orders/?ticket={make_ticket('orders', user=owner)}"
    port = redis_server.port if redis else None
    processes = [serve(name, database=database, redis_port=port) for name in ("daphne", "uvicorn")]
    async with AsyncExitStack() as stack:
        ending, staying = [], []
        for process in processes:
            ending += await opened(stack, process, mine, STREAMS // 2)
            ending += await opened(stack, process, watching, STREAMS // 2)
            staying += await opened(stack, process, others, 1)
        began = time.monotonic()
        await sync_to_async(revoke)(user=owner)
        await channel.abroadcast(Message("n", "later"))

        async def end(client):
            body = await client.read_to_end()
            return time.monotonic() - began, body

        ends = await asyncio.gather(*map(end, ending))
        for client in staying:
            assert (await client.event()).data == '"later"'
        for path in (mine, watching):
            again = await StreamClient.open(processes[0].url + path)
            assert again.status == 403
            await again.__aexit__(None, None, None)
    assert not any(b"later" in body for _, body in ends)
    slowest = max(seconds for seconds, _ in ends)
    record_property("slowest_s", round(slowest, 3))
    with capsys.disabled():
        print(f" [{len(ends)} streams ended within {slowest:.2f} s]", end="")


def log_in(browser, name, password):
    """Log in by the admin's own page, as a person does."""
    browser.get("/admin/login/")
    token = browser.cookies["csrftoken"]
    data = {"username": name, "password": password, "csrfmiddlewaretoken": token}
    assert browser.post("/admin/login/?next=/admin/", data=data).status_code == 302
    return f"{COOKIE}={browser.cookies[COOKIE]}"


def log_out(browser):
    data = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    assert browser.post("/admin/logout/", data=data).status_code == 200


async def keep_reconnecting(url, headers, opened):
    """Reconnect at once whenever the stream ends, as a client might; return when refused."""
    while True:
        async with await StreamClient.open(url, headers=headers) as client:
            if client.status == 403:
                return
            opened.append(client)
            await client.read_to_end()


@on("sqlite", "postgres", "mariadb")
async def test_a_logout_on_one_process_ends_access_on_the_other(database, serve):
    """The stream, its page's ticket and the monitor, on processes that poll."""
    channel = await DatabaseChannel.acreate("orders")
    ada = await sync_to_async(get_user_model().objects.create_superuser)("ada", password="a")
    listener = await sync_to_async(listen)(channel.id, ada)
    path = await sync_to_async(stream_url)(listener)
    pages, streams = (serve(name, database=database) for name in ("daphne", "uvicorn"))
    monitor = f"/{conf.get('URL_PREFIX')}{PATH}"
    with httpx.Client(base_url=pages.url) as here, httpx.Client(base_url=pages.url) as there:
        mine = {"Cookie": await sync_to_async(log_in)(here, "ada", "a")}
        other = {"Cookie": await sync_to_async(log_in)(there, "ada", "a")}
        opened = []
        clients = [
            asyncio.ensure_future(keep_reconnecting(streams.url + each, mine, opened))
            for each in [path] * 10 + [monitor]
        ]
        async with await StreamClient.open(streams.url + path, headers=other) as stays:
            await site.until(lambda: len(opened) == 11)
            await sync_to_async(log_out)(here)
            began = time.monotonic()
            await asyncio.wait_for(asyncio.gather(*clients), 20)
            # The clients of the monitor are asked to reconnect after a second.
            assert time.monotonic() - began < 10
            await channel.abroadcast(Message("n", "later"))
            assert (await stays.event()).data == '"later"'
        assert not any(b"later" in client.body for client in opened)
