"""The live tests' own ground: a server process that uses the running test's database."""

import signal

import pytest
from django.contrib.auth.models import User

from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live.asgi_servers import SERVERS


async def get(url: str) -> tuple[int, bytes]:
    async with await StreamClient.open(url, headers={"Connection": "close"}) as client:
        return client.status, await client.read_to_end()


@sqlite_only
@pytest.mark.parametrize("server", SERVERS)
async def test_each_server_answers_and_ends_when_asked(database, serve, server):
    process = serve(server)
    status, _ = await get(f"{process.url}/admin/login/")
    assert status == 200
    process.terminate()
    assert process.wait() < 10


async def test_a_server_process_uses_the_database_of_the_test(database, serve):
    await User.objects.acreate(username="ana", is_staff=True, is_superuser=True)
    process = serve(application="tests.live.who:application", database=database)
    assert await get(f"{process.url}/") == (200, b"ana")
    await User.objects.all().adelete()
    assert await get(f"{process.url}/") == (200, b"")


@sqlite_only
def test_a_killed_server_ends_at_once(database, serve):
    process = serve()
    process.kill()
    assert process.wait() < 0.1
    assert process.process.returncode == -signal.SIGKILL


@sqlite_only
async def test_a_server_process_takes_settings_and_a_channel_layer(database, serve, redis_server):
    process = serve(
        application="tests.live.who:application",
        settings={"POLL_INTERVAL_S": 0.25},
        redis_port=redis_server.port,
    )
    _, body = await get(f"{process.url}/settings")
    assert body == b'{"POLL_INTERVAL_S": 0.25} RedisChannelLayer'
