"""Servers of the version before, on the schema of this one: as between `migrate` and restart."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django.authorization import read_ticket, revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import Message
from tests import databases
from tests.tickets import ids_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
# Seconds that one line of the other process may take.
PATIENCE_S = 30.0

OTHER = """
import asyncio, json
import django
django.setup()
from django.contrib.auth.models import User
import eric_sse_django
from eric_sse_django.authorization import make_ticket
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message

def send(value):
    print(json.dumps(value), flush=True)

send(eric_sse_django.__file__)
send(make_ticket("orders", "till-7"))
channel = DatabaseChannel.load("orders")
added = channel.add_listener(listener_id="added")
added.start()
channel.broadcast(Message("count", "other 1"))
channel.dispatch("screen", Message("count", "other 2"))
channel.dispatch_to_owner(User.objects.get(), Message("count", "other 3"))
DatabaseChannel.create("bills").add_listener(listener_id="clerk")

async def main():
    listener = await channel.aget_listener("screen")
    stream = channel.message_stream(listener)
    async for event in stream:
        send(event["data"])
        if event["data"] == "end":
            break
    await stream.aclose()
    await Hub.close_all()

asyncio.run(main())
taken = []
try:
    while True:
        taken.append(channel.deliver_next("till-7").payload)
except NoMessagesException:
    send(taken)
added.stop()
"""


def git(*arguments: str) -> str | None:
    """Return git's output for this checkout, None where there is none."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return None if done.returncode else done.stdout.strip()


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the code as it was before the newest migration was added."""
    newest = sorted((ROOT / "eric_sse_django" / "migrations").glob("0*.py"))[-1]
    added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest))
    before = git("rev-parse", "--verify", f"{added}^" if added else "HEAD")
    if added is None or before is None:
        # Also where everything is asked for: a shallow clone lacks nothing that can be installed.
        pytest.skip("The code before the newest migration is in git's history, which is not here")
    where = tmp_path_factory.mktemp("before")
    archive = where / "archive.tar"
    assert git("archive", "-o", str(archive), before, "eric_sse_django", "tests") is not None
    subprocess.run(["tar", "-xf", str(archive), "-C", str(where)], timeout=60, check=True)
    assert not (where / newest.relative_to(ROOT)).exists()
    return where


class Other:
    """The other version's process, with its output line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def receive(self) -> Any:
        assert self.process.stdout
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        return json.loads(line) if line else pytest.fail(await self.errors(), pytrace=False)

    async def errors(self) -> str:
        _, errors = await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        return errors.decode()


@contextlib.asynccontextmanager
async def running(where: Path, alias: str) -> AsyncIterator[Other]:
    """Run OTHER with the code in a directory, on the test database `alias`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OTHER,
        cwd=where,
        env={
            **os.environ,
            "PYTHONPATH": str(where),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": databases.address(alias),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Other(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def prepare(owner: Any) -> DatabaseChannel:
    channel = DatabaseChannel.create("orders")
    for name in ("till-7", "screen", "mirror"):
        channel.add_listener(owner, listener_id=name).start()
    return channel


def publish(channel: DatabaseChannel) -> None:
    """Publish in each way that there is."""
    channel.broadcast(Message("count", "this 2"))
    channel.broadcast(Message("count", "this 3"), expires_in_s=600)
    revoke(session="of nobody")
    channel.broadcast(Message("count", "end"))


async def test_both_publish_stream_and_pop_what_either_publishes(
    database, version_before, django_user_model
):
    owner = await django_user_model.objects.acreate(username="ada")
    channel = await sync_to_async(prepare)(owner)
    await channel.abroadcast(Message("count", "this 1"))
    seen: list[str] = []

    async def follow() -> None:
        async for event in channel.message_stream(await channel.aget_listener("mirror")):
            seen.append(event["data"])
            if event["data"] == "end":
                return

    following = asyncio.create_task(follow())
    async with running(version_before, database) as other:
        assert Path(await other.receive()).is_relative_to(version_before)
        ticket = read_ticket(await other.receive())
        assert ids_of(ticket) == ("orders", "till-7")
        received = [await other.receive() for _ in range(4)]
        assert received == ["this 1", "other 1", "other 2", "other 3"]
        await sync_to_async(publish)(channel)
        received += [await other.receive() for _ in range(3)]
        assert received[4:] == ["this 2", "this 3", "end"]
        assert await other.receive() == [each for each in received if each != "other 2"]
        assert await other.errors() == ""
        assert other.process.returncode == 0
    await asyncio.wait_for(following, PATIENCE_S)
    assert seen == [each for each in received if each != "other 2"]  # to "screen" alone
    assert not (await channel.aget_listener("added")).is_running()
    clerk = (await DatabaseChannel.aload("bills")).adeliver_next("clerk")
    with pytest.raises(NoMessagesException):
        await clerk
