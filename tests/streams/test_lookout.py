"""When the log is looked at: on a ring, when SQLite's files change, else at the poll."""

import asyncio
import os
import time

import pytest
from django.db import connections

from eric_sse_django.hub import lookout
from eric_sse_django.hub.lookout import Lookout

LONG_S = 50


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Files of a database that a commit changes: its log, which is not there yet, and itself."""
    log, itself = tmp_path / "db-wal", tmp_path / "db"
    itself.write_bytes(b"1")
    monkeypatch.setattr(lookout, "_files", lambda: (str(log), str(itself)))
    return log, itself


@pytest.fixture
def no_files(monkeypatch):
    """Another database than SQLite."""
    monkeypatch.setattr(lookout, "_files", tuple)


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


def test_a_ring_ends_the_wait(no_files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": LONG_S}
    out = Lookout()
    out._poll_at = time.monotonic() + LONG_S
    assert asyncio.run(returns(out, out.ring))


def test_a_ring_before_the_wait_is_kept_for_it(no_files):
    out = Lookout()
    out._poll_at = time.monotonic() + LONG_S
    out.ring()
    asyncio.run(asyncio.wait_for(out.wait(), LONG_S / 2))


def test_without_files_the_log_is_polled_for_ever(no_files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Lookout()
    out._changed_at = time.monotonic() - 1_000
    assert max(polls(out)) <= 0.5


def test_a_commit_by_others_ends_the_wait(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": LONG_S, "SQLITE_LOOK_INTERVAL_S": 0.02}
    out = Lookout()
    out._changed(lookout._files())
    out._poll_at = time.monotonic() + LONG_S
    assert asyncio.run(returns(out, lambda: files[0].write_bytes(b"2")))


def test_files_that_have_changed_lately_are_no_reason_to_poll_less(files, settings):
    # Within the unit of its clock a file system shows two commits of one size as one.
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Lookout()
    out._changed(lookout._files())
    assert max(polls(out)) <= 0.5


def test_a_database_whose_files_stand_still_is_asked_less_often(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Lookout()
    out._changed(lookout._files())
    out._changed_at -= lookout.COARSE_S
    assert min(polls(out)) > 0.9 * lookout.STILL_S


def test_it_is_asked_often_again_once_they_change(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    out = Lookout()
    out._changed(lookout._files())
    out._changed_at -= lookout.COARSE_S
    os.utime(files[1], ns=(1, 1))
    out._changed(lookout._files())
    assert max(polls(out)) <= 0.5


def test_a_commit_is_seen_within_the_poll_interval_also_where_files_are_looked_at_less_often(
    files, settings
):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.05, "SQLITE_LOOK_INTERVAL_S": LONG_S}
    out = Lookout()
    out._changed(lookout._files())
    out._poll_at = time.monotonic() + LONG_S  # it is still
    assert asyncio.run(returns(out, lambda: files[0].write_bytes(b"2")))


def test_files_that_are_not_found_tell_nothing(files, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 0.5}
    files[1].unlink()
    out = Lookout()
    out._changed(lookout._files())
    out._changed_at -= lookout.COARSE_S
    assert max(polls(out)) <= 0.5


def test_a_database_by_a_symbolic_link_is_looked_at_where_it_is(monkeypatch, tmp_path):
    (tmp_path / "real").mkdir()
    itself = tmp_path / "real" / "db"
    itself.write_bytes(b"1")
    link = tmp_path / "link"
    link.symlink_to(itself)
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(link))
    assert lookout._files() == (f"{itself}-wal", str(itself))
