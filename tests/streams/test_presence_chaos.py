"""Presence of processes that stop, are killed and meet errors of the database, at random."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connections

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import arrivals
from eric_sse_django.hub import presence as module
from eric_sse_django.hub.presence import Presence
from eric_sse_django.models import OpenStream, PresentListener, PresentUser
from eric_sse_django.models import presence as models
from eric_sse_django.signals import (
    listener_joined,
    listener_left,
    user_offline,
    user_online,
)
from tests.databases import on
from tests.patience import PATIENCE_S
from tests.streams.presence_tools import FACTS

PAIRS = {listener_joined: listener_left, user_online: user_offline}
SHORT = {"LEASE_S": 1.5, "RENEW_S": 0.5, "GRACE_S": 0.2, "LATE_S": 0.05}
PROCESSES = 4
CHAOS_S = 8.0
STOPPED_S = 2.0  # longer than a lease


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Make leases short, and connect receivers."""
    for owner in (arrivals, models, module):
        for name, seconds in SHORT.items():
            if hasattr(owner, name):
                monkeypatch.setattr(owner, name, seconds)

    def ignore(**_):
        pass

    signals = [*PAIRS, *PAIRS.values()]
    for signal in signals:
        signal.connect(ignore)
    yield
    for signal in signals:
        signal.disconnect(ignore)


class Process:
    """One that serves streams at random, on a separate connection."""

    def __init__(self, number, database, devices, note):
        self.random, self.database = random.Random(number), database
        self.devices, self.note = devices, note
        self.presence, self.keys = Presence(), []

    def run(self, chaos_until, is_over):
        try:
            while time.monotonic() < chaos_until:
                self.act()
                self.flush(self.random.random() < 0.1)
                time.sleep(self.random.random() * 0.1)
            for key in self.keys:
                self.presence.ended(key)
            while not is_over.wait(0.1):
                self.flush(False)
        finally:
            connections.close_all()

    def flush(self, is_flaky):
        def fail(execute, *arguments):
            if is_flaky and self.random.random() < 0.1:
                raise DatabaseError("at random")
            return execute(*arguments)

        async def run(function, *arguments):
            return function(*arguments)

        coroutine = self.presence.flush(run, time.monotonic(), FACTS)
        try:
            with connections[self.database].execute_wrapper(fail):
                coroutine.send(None)
        except (StopIteration, DatabaseError):
            pass
        self.note(self.presence.changes)
        self.presence.changes = []

    def act(self):
        chance = self.random.random()
        if chance < 0.45:
            self.keys.append(self.presence.opened(self.random.choice(self.devices)))
        elif chance < 0.95 and self.keys:
            self.presence.ended(self.keys.pop(self.random.randrange(len(self.keys))))
        elif chance > 0.985:
            time.sleep(STOPPED_S)
        elif chance > 0.97:  # it was killed, and is started again
            self.presence, self.keys = Presence(), []


def left_over():
    return [
        model for model in (OpenStream, PresentListener, PresentUser) if model.objects.exists()
    ]


@pytest.mark.slow
@on("sqlite", "postgres", "mariadb")
def test_all_who_come_go_and_each_change_has_one_signal(database):
    users = [get_user_model().objects.create(username=f"user {n}") for n in range(4)]
    channel = DatabaseChannel.create("orders")
    devices = [channel.add_listener(users[n % len(users)]).row.pk for n in range(12)]
    found, is_over = [], threading.Event()  # list.extend() is atomic
    processes = [Process(n, database, devices, found.extend) for n in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        until = time.monotonic() + CHAOS_S
        running = [pool.submit(each.run, until, is_over) for each in processes]
        try:
            deadline = until + PATIENCE_S
            while (time.monotonic() < until or left_over()) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            is_over.set()
        for each in running:
            each.result(PATIENCE_S)
    assert left_over() == []
    counts = Counter((change.signal, change.subject.pk) for change in found)
    for came, went in PAIRS.items():
        subjects = {subject for signal, subject in counts if signal in (came, went)}
        assert subjects
        for subject in subjects:
            assert counts[came, subject] == counts[went, subject]
