"""Threads of the demo's process that publish and process messages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
from django.db import connections
from django.utils import timezone

from demo_project.channels import INBOX, SLOW_WORKER, VITALS, overview
from eric_sse_django.database import DatabaseQueue
from eric_sse_django.exception import InvalidListenerException, NoMessagesException
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import publish

logger = logging.getLogger(__name__)

VITALS_INTERVAL_S = 1.0
WORKER_INTERVAL_S = 2.0
# Seconds to wait for a thread to end; at worst, it runs a query.
STOP_S = 2.0


class Background:
    """The demo's threads. They run while the context manager is open."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            self._thread("demo-vitals", VITALS_INTERVAL_S, Vitals().publish),
            self._thread("demo-queues", VITALS_INTERVAL_S, Queues().publish),
            self._thread("demo-slow-worker", WORKER_INTERVAL_S, take_one),
        ]

    def __enter__(self) -> Background:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _thread(self, name: str, every_s: float, work: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._run, args=(every_s, work), name=name, daemon=True)

    def _run(self, every_s: float, work: Callable[[], None]) -> None:
        due = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + every_s, time.monotonic())
                try:
                    work()
                except Exception:  # the loop that owns this thread
                    logger.exception("%s failed; it is retried", threading.current_thread().name)
                    connections.close_all()
        finally:
            connections.close_all()


class Vitals:
    """The machine's load, memory and network, measured between two calls of publish()."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first call returns 0.0
        self._network, self._at = psutil.net_io_counters(), time.monotonic()

    def publish(self) -> None:
        publish(VITALS, "load", self.measure())

    def measure(self) -> dict[str, Any]:
        before, then = self._network, self._at
        now = self._network, self._at = psutil.net_io_counters(), time.monotonic()
        elapsed = max(now[1] - then, 0.001)
        return {
            "at": timezone.now().isoformat(),
            "cpu": psutil.cpu_percent(),
            "memory": psutil.virtual_memory().percent,
            "received": round(max(0, now[0].bytes_recv - before.bytes_recv) / elapsed),
            "sent": round(max(0, now[0].bytes_sent - before.bytes_sent) / elapsed),
        }


class Queues:
    """The inbox's listeners with their queues, published when they have changed."""

    def __init__(self) -> None:
        self._last: list[dict[str, Any]] | None = None

    def publish(self) -> None:
        now = overview()
        if now != self._last:
            publish(VITALS, "queues", now)
            self._last = now


def take_one() -> None:
    """Take the slow worker's oldest message; reply if it was sent only to this listener."""
    row = Listener.objects.select_related("channel").get(channel__name=INBOX, name=SLOW_WORKER)
    try:
        message = DatabaseQueue(row).pop()
    except NoMessagesException:
        return
    note = message.payload
    if not isinstance(note, dict) or note.get("to") != SLOW_WORKER:
        return
    reply = {
        "text": f"Done: {note.get('text')}",
        "from": SLOW_WORKER,
        "to": note.get("from"),
        "at": timezone.now().isoformat(),
    }
    try:
        publish(INBOX, "note", reply, listener_id=str(note.get("from")))
    except InvalidListenerException:
        logger.warning("the listener that sent a message to %s no longer exists", SLOW_WORKER)
