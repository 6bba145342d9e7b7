"""When the log is read: on a wake, when SQLite's files change, else at the poll interval."""

import asyncio
import os
import time
from types import SimpleNamespace

import pytest
from django.db import connections

from eric_sse_django.hub import poll
from eric_sse_django.hub.poll import Poll
from eric_sse_django.log import log_dialect

LONG_S = 50


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Files of a database that a commit changes: its log, which is not there yet, and itself."""
    log, itself = tmp_path / "db-wal", tmp_path / "db"
    itself.write_bytes(b"1")
    found = (str(log), str(itself))
    monkeypatch.setattr(poll, "log_dialect", lambda: SimpleNamespace(files=lambda: found))
    return log, itself


@pytest.fixture
def no_files(monkeypatch):
    """Another database than SQLite."""
    monkeypatch.setattr(poll, "log_dialect", lambda: SimpleNamespace(files=tuple))


def polls(out, most=20):
    """Return the seconds until the next polls, without waiting for them."""

    async def run():
        found = []
        for _ in range(most):
            out._poll_at = 0.0
            await out.wait()
            found.append(out._poll_at - time.monotonic())
        return found

    return asyncio.run(run())


async def returns(out, then):
    """Whether wait() returns after `then()`, and not before."""
    waiting = asyncio.ensure_future(out.wait())
    await asyncio.sleep(0)
    before = waiting.done()
    then()
    await asyncio.wait_for(waiting, LONG_S / 2)
    return not before


def test_a_wake_ends_the_wait(no_files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": LONG_S}
    out = Poll()
    out._poll_at = time.monotonic() + LONG_S
    assert asyncio.run(returns(out, out.wake))


def test_a_wake_before_the_wait_is_kept_for_it(no_files):
    out = Poll()
    out._poll_at = time.monotonic() + LONG_S
    out.wake()
    asyncio.run(asyncio.wait_for(out.wait(), LONG_S / 2))


def test_without_files_the_log_is_always_polled(no_files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Poll()
    out._changed_at = time.monotonic() - 1_000
    assert max(polls(out)) <= 0.5


def test_a_commit_by_others_ends_the_wait(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": LONG_S, "SQLITE_LOOK_INTERVAL_S": 0.02}
    out = Poll()
    out._has_changed()
    out._poll_at = time.monotonic() + LONG_S
    assert asyncio.run(returns(out, lambda: files[0].write_bytes(b"2")))


def test_after_a_change_of_the_files_the_log_is_polled_as_often(files, settings):
    # Within the unit of its clock a file system shows two commits of one size as one.
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Poll()
    out._has_changed()
    assert max(polls(out)) <= 0.5


def test_a_database_whose_files_do_not_change_is_polled_less_often(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Poll()
    out._has_changed()
    out._changed_at -= poll.COARSE_S
    assert min(polls(out)) > 0.9 * poll.STILL_S


def test_a_database_is_polled_often_again_once_its_files_change(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Poll()
    out._has_changed()
    out._changed_at -= poll.COARSE_S
    os.utime(files[1], ns=(1, 1))
    out._has_changed()
    assert max(polls(out)) <= 0.5


def test_files_are_checked_each_poll_interval_at_least(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.05, "SQLITE_LOOK_INTERVAL_S": LONG_S}
    out = Poll()
    out._has_changed()
    out._poll_at = time.monotonic() + LONG_S  # it is still
    assert asyncio.run(returns(out, lambda: files[0].write_bytes(b"2")))


def test_files_that_are_not_found_are_ignored(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    files[1].unlink()
    out = Poll()
    out._has_changed()
    out._changed_at -= poll.COARSE_S
    assert max(polls(out)) <= 0.5


def test_a_symbolic_link_to_the_database_is_followed(monkeypatch, tmp_path):
    (tmp_path / "real").mkdir()
    itself = tmp_path / "real" / "db"
    itself.write_bytes(b"1")
    link = tmp_path / "link"
    link.symlink_to(itself)
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(link))
    assert log_dialect().files() == (f"{itself}-wal", str(itself))
