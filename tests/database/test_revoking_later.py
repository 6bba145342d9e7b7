"""While the log's database is unavailable, callers do not fail; access is revoked later."""

import time
from contextlib import suppress

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from eric_sse_django import retry_thread
from eric_sse_django.authorization import events, revocation
from eric_sse_django.database import orphans
from eric_sse_django.models import Channel, Revocation

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 10


class Router:
    """The log in its own database, which may be unavailable."""

    alias = "default"

    def db_for_read(self, model, **_):
        return self.alias if model._meta.app_label == "eric_sse_django" else "default"

    db_for_write = db_for_read


@pytest.fixture
def away(settings, tmp_path, monkeypatch, django_db_blocker):
    """Return a function that sets whether the log's database is unavailable."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    nowhere = {**connections.settings["default"], "NAME": str(tmp_path / "none" / "log.sqlite3")}
    connections.settings["broken"] = nowhere
    # As outside of tests, so that it fails as a database does.
    connect = django_db_blocker._real_ensure_connection
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", connect)

    def put(is_away):
        Router.alias = "broken" if is_away else "default"

    yield put
    put(False)
    revocation.retries.close()
    with suppress(AttributeError):
        del connections["broken"]
    del connections.settings["broken"]


def until_written():
    deadline = time.monotonic() + PATIENCE_S
    while revocation.retries.waiting():
        assert time.monotonic() < deadline, "nothing was written later"
        time.sleep(0.01)


def subjects():
    return {
        subject.partition(":")[0]
        for subject in Revocation.objects.values_list("subject", flat=True)
    }


def test_logging_out_saving_and_deleting_work_and_their_access_ends_later(away, caplog):
    users = get_user_model().objects
    ada, bob, eve = (users.create_user(name, password="old") for name in ("ada", "bob", "eve"))
    client = Client()
    client.force_login(ada)
    key = client.session.session_key
    away(True)
    client.logout()
    assert not client.session.exists(key)
    ada.set_password("new")
    ada.save()
    bob.is_active = False
    bob.save()
    users.filter(pk=eve.pk).delete()
    assert not users.filter(username="eve").exists()
    assert revocation.retries.waiting() == 5
    away(False)
    until_written()
    assert subjects() == {"session", "login", "auth", "user"}
    errors = [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "ERROR" and record.name == revocation.__name__
    ]
    assert errors == ["revoking access failed, trying again until it works"]
    assert "unable to open database file" in caplog.text


def test_a_call_does_not_wait_for_a_database_that_is_known_to_fail(away, monkeypatch):
    away(True)
    revocation.revoke_subjects_later({"listener:1": 60})
    deadline = time.monotonic() + PATIENCE_S
    while not revocation.retries.is_failing():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    tries = []
    monkeypatch.setattr(events, "revoke_subjects", lambda *subjects: tries.append(subjects))
    bob = get_user_model().objects.create_user("bob")
    bob.is_active = False
    bob.save()
    assert tries == []
    away(False)
    until_written()
    assert Revocation.objects.count() == 2


def test_a_revocation_postponed_at_once_waits_for_the_callers_commit(monkeypatch):
    """Before it a client would get access again, by the rows that the caller is changing."""
    revocation.retries._outage.failed()
    bob = get_user_model().objects.create_user("bob")
    with transaction.atomic():
        bob.is_active = False
        bob.save()
        assert revocation.retries.waiting() == 0
    until_written()
    assert subjects() == {"user"}


def test_a_subject_revoked_again_during_the_write_is_written_again(monkeypatch):
    """A stream may have been opened in between."""
    written, write = [], revocation.revoke_subjects

    def twice(kept, also):
        written.append((dict(kept), list(also)))
        if len(written) == 1:
            revocation.revoke_subjects_later({"user:1": 60}, ["watchers:1"])
        write(kept, also)

    monkeypatch.setattr(revocation, "revoke_subjects", twice)
    revocation.revoke_subjects_later({"user:1": 60}, ["watchers:1"])
    until_written()
    assert written == [({"user:1": 60}, ["watchers:1"])] * 2


def test_revocations_whose_write_fails_are_retried_with_newer_ones(monkeypatch):
    written, write = [], revocation.revoke_subjects

    def fails_first(kept, also):
        written.append(dict(kept))
        if len(written) == 1:
            revocation.revoke_subjects_later({"user:1": 60, "user:2": 30})
            raise OperationalError("unavailable")
        write(kept, also)

    monkeypatch.setattr(revocation, "revoke_subjects", fails_first)
    revocation.revoke_subjects_later({"user:1": 30})
    until_written()
    assert written == [{"user:1": 30}, {"user:1": 60, "user:2": 30}]


def test_a_failure_after_the_commit_does_not_reach_the_caller(away, monkeypatch, caplog):
    """Django itself failed: with robust=True it reads `__qualname__`, which partials lack."""

    def fails(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(events, "_revoke_now", fails)
    monkeypatch.setattr(orphans, "remove_soon", fails)
    bob = get_user_model().objects.create_user("bob")
    away(True)  # the log is in another database than users
    bob.is_active = False
    bob.save()
    bob.delete()
    assert caplog.text.count("Error calling") == 3
    assert not get_user_model().objects.exists()


def test_a_rolled_back_revocation_is_not_retried(db, monkeypatch):
    def fails(*_):
        raise OperationalError("unavailable")

    monkeypatch.setattr(events, "revoke_subjects", fails)
    bob = get_user_model().objects.create_user("bob")
    with transaction.atomic():
        bob.is_active = False
        bob.save()
        transaction.set_rollback(True)
    assert revocation.retries.waiting() == 0
    with transaction.atomic():
        bob.save()
    until_written()
    assert subjects() == {"user"}


def test_a_failing_comparison_fails_no_save(monkeypatch, caplog):
    channel = Channel.objects.create(name="orders", access=Channel.Access.EVERYONE)
    monkeypatch.setattr(events, "_record", lambda *_: 1 / 0)
    channel.access = Channel.Access.TICKET
    channel.save()
    channel.refresh_from_db()
    assert channel.access == Channel.Access.TICKET
    assert "ZeroDivisionError" in caplog.text


def test_when_no_thread_can_be_started_the_next_one_writes_all(db, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(retry_thread.threading.Thread, "start", start)
        revocation.revoke_subjects_later({"listener:1": 60})
    assert revocation.retries.waiting() == 1
    revocation.revoke_subjects_later({"listener:2": 60})
    until_written()
    assert Revocation.objects.count() == 2
