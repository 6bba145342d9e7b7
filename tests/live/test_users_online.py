"""user_online and user_offline of real processes, one of which is killed: once for each change."""

from collections import Counter
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import presence as models
from eric_sse_django.shortcuts import ausers_online
from tests.client import StreamClient
from tests.databases import postgres_only
from tests.live import site
from tests.patience import PATIENCE_S

APPLICATION = "tests.live.presence_asgi:application"
LEASE_S = 3.0


@pytest.fixture
def notes(tmp_path):
    """Return a function that returns what the processes have noted, and how often."""
    file = tmp_path / "notes"
    file.touch()

    def noted():
        return Counter(file.read_text().splitlines())

    noted.environment = {"ERIC_SSE_TEST_NOTES": str(file)}
    return noted


@postgres_only
async def test_users_of_processes_one_of_which_is_killed(database, serve, notes, monkeypatch):
    monkeypatch.setattr(models, "LEASE_S", LEASE_S)
    channel = await DatabaseChannel.acreate("orders")
    create = get_user_model().objects.acreate
    ann, bob, cleo = [await create(username=name) for name in ("ann", "bob", "cleo")]
    one, two = [
        serve("uvicorn", database=database, application=APPLICATION, environment=notes.environment)
        for _ in range(2)
    ]

    async def comes(server, user, stack):
        path = await site.new_listener(channel, user)
        client = await stack.enter_async_context(await StreamClient.open(server.url + path))
        await client.until_body_has(b"ok")

    async def until_noted(*lines):
        await site.until(lambda: notes() == Counter(lines), PATIENCE_S)

    async with AsyncExitStack() as on_one, AsyncExitStack() as on_two:
        for server, stack, users in ((one, on_one, (ann, bob)), (two, on_two, (ann, cleo))):
            for user in users:
                await comes(server, user, stack)
        came = ["online ann", "online bob", "online cleo"]
        await until_noted(*came)
        one.kill()
        came.append("offline bob")
        await until_noted(*came)  # ann has another device
        assert await ausers_online() == [ann, cleo]
        await comes(two, bob, on_two)
        came.append("online bob")
        await until_noted(*came)
    await until_noted(*came, "offline ann", "offline bob", "offline cleo")
    assert await sync_to_async(two.process.poll)() is None
