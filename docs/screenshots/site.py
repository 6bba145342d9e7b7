"""The running site of the screenshots: its servers, clients and publisher."""

from __future__ import annotations

import contextlib
import math
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import connections

from docs.screenshots.data import CHANNELS, PEOPLE, message
from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.models import Listener, ServerProcess
from eric_sse_django.shortcuts import stream_url
from tests.server import free_port

ROOT = Path(__file__).parents[2]
START_S, STOP_S = 30.0, 10.0
# The names of the servers in the screenshots, instead of this machine's name.
NAMES = ("web-1:4117", "web-2:3980")
# The traffic oscillates between these messages per second, with this period.
MIN_PER_S, MAX_PER_S, PERIOD_S = 4.0, 14.0, 47.0
# The share of messages to the listeners of one owner.
TO_OWNER = 0.15


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run a server process with the environment's settings; yield its URL when it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "daphne", "-v", "0", "-p", str(port), "demo_project.asgi:application"]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=os.environ, stdin=subprocess.DEVNULL
    )
    try:
        _wait_for(f"{url}/admin/login/", process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=START_S).close()
            return
        time.sleep(0.1)
    raise SystemExit("The server did not start: see its errors above.")


def listen(urls: Sequence[str], rows: Sequence[Listener]) -> None:
    """Open a stream of each listener, on the servers in turn, until the servers stop."""
    for number, row in enumerate(rows):
        url = urls[number % len(urls)] + stream_url(DatabaseListener(row), ticket=True)
        threading.Thread(target=_read, args=(url,), daemon=True).start()
        time.sleep(0.05)


def _read(url: str) -> None:
    with contextlib.suppress(OSError), urllib.request.urlopen(url) as response:
        for _line in response:
            pass


def rename() -> None:
    """Name the server processes when both have their rows in the database."""
    deadline = time.monotonic() + START_S
    while len(rows := ServerProcess.objects.order_by("pk")) < len(NAMES):
        if time.monotonic() > deadline:
            raise SystemExit("The servers recorded no streams in the database.")
        time.sleep(0.1)
    for row, name in zip(rows, NAMES, strict=True):
        # Only the name: a server writes the other columns again, but not this one.
        ServerProcess.objects.filter(pk=row.pk).update(name=name)


@contextlib.contextmanager
def traffic(choose: random.Random) -> Iterator[None]:
    """Publish to the channels, at a rate that oscillates, until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=_publish, args=(choose, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _publish(choose: random.Random, stop: threading.Event) -> None:
    channels = [DatabaseChannel.load(name) for name in CHANNELS if name != "alerts"]
    people = list(get_user_model().objects.filter(username__in=PEOPLE))
    began = time.monotonic()
    try:
        while True:
            level = (1 + math.sin((time.monotonic() - began) * 2 * math.pi / PERIOD_S)) / 2
            per_s = MIN_PER_S + (MAX_PER_S - MIN_PER_S) * level
            if stop.wait(choose.expovariate(per_s)):
                return
            channel = choose.choice(channels)
            text = message(choose, channel.id)
            if choose.random() < TO_OWNER:
                channel.dispatch_to_owner(choose.choice(people), text)
            else:
                channel.broadcast(text)
    finally:
        connections.close_all()
