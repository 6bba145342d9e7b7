"""The admin of runs, and the command."""

from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from eric_sse_django import log, runs
from eric_sse_django.models import Listener
from eric_sse_django.runs.models import Run
from tests.runs.tools import fresh, late, text_of, types_of


def url(page="changelist", *args):
    return reverse(f"admin:eric_sse_runs_run_{page}", args=args)


def shown(response):
    assert response.status_code == 200
    return unescape(response.content.decode())


@pytest.fixture
def staff(database):
    """Return a function: a client logged in as staff with these permissions."""

    def client(*names):
        user = get_user_model().objects.create_user("staff", password="", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        found = Client()
        found.force_login(user)
        return found

    return client


@pytest.fixture
def superuser(database):
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client


@pytest.fixture
def answered(ana):
    run = runs.start(ana, "answer", title="Why?", thread="chat-7", meta={"model": "small"})
    with runs.produce(run) as out:
        out.progress(1, 2, "half")
        out.write("Because <b>")
        out.send({"tool": "search"})
        out.result = {"tokens": 2}
    return run


def test_the_list_shows_the_state_of_runs(superuser, answered):
    runs.start(kind="export")
    with runs.produce(runs.start()) as out:
        out.progress(1_234_567, 2_345_678)
    text = shown(superuser.get(url()))
    for each in (
        "Why?",
        "finished",
        "answer",
        "ana",
        "1/2 half",
        "waiting",
        "1234567/2345678",
        "export",
    ):
        assert each in text


def test_the_list_costs_the_same_for_many_runs(
    superuser, answered, database, django_assert_max_num_queries
):
    for _ in range(20):
        runs.start(answered.listener.owner)
    from django.db import connections

    with django_assert_max_num_queries(8, connection=connections[log.database()]):
        superuser.get(url())


@pytest.mark.parametrize("term", ["chat-7", "ana", None])
def test_a_search_finds_by_thread_owner_and_id(superuser, answered, term):
    runs.start(title="Another")
    text = shown(superuser.get(url(), {"q": term or answered.id}))
    assert "Why?" in text
    assert "Another" not in text
    assert 'id="searchbar"' in text


def test_a_filter_selects_by_status(superuser, answered):
    runs.start(title="Another")
    text = shown(superuser.get(url(), {"status": "waiting"}))
    assert "Another" in text
    assert "Why?" not in text


def test_the_page_shows_producer_output_and_result(superuser, answered):
    text = shown(superuser.get(url("change", answered.pk)))
    for each in ('Because <b>\n{"tool": "search"}', '"tokens": 2', '"model": "small"', "chat-7"):
        assert each in text
    assert answered.producer in text
    assert "Stop" not in text.split('class="eric-actions"')[0].split("<main")[-1]


def test_output_is_for_users_who_may_view_messages(staff, answered):
    text = shown(staff("view_run").get(url("change", answered.pk)))
    assert "Because" not in text
    assert "You do not have permission to view messages." in text


def test_a_stop_is_confirmed_and_recorded(superuser, database):
    run = runs.start(title="Long")
    page = url("operate", run.pk, "stop")
    assert "The producer is asked to stop." in shown(superuser.get(page))
    assert fresh(run).status == "waiting"
    superuser.post(page)
    assert (fresh(run).status, types_of(run)) == ("stopped", ["run-stopped"])
    assert LogEntry.objects.get(object_id=str(run.pk)).change_message == "Asked to stop."


def test_runs_are_stopped_from_the_list(superuser, database):
    both = [runs.start(), runs.start()]
    keys = [run.pk for run in both]
    data = {"action": "stop", ACTION_CHECKBOX_NAME: keys, "confirmed": "yes"}
    superuser.post(url(), data)
    assert {fresh(run).status for run in both} == {"stopped"}


def test_a_run_that_is_taken_over_waits_for_its_next_producer(superuser, database):
    run = runs.start()

    def work():
        with runs.produce(run) as out:
            out.write("a")
            out.flush()
            superuser.post(url("operate", run.pk, "take_over"))
            assert fresh(run).status == "waiting"
            out.write("b")

    with pytest.raises(runs.RunTaken):
        work()
    assert text_of(run) == "a"


def test_operations_need_their_permission(staff, answered):
    run = runs.start()
    client = staff("view_run")
    assert client.post(url("operate", run.pk, "stop")).status_code == 403
    assert "eric-actions" not in shown(client.get(url("change", run.pk)))
    assert fresh(run).status == "waiting"


def test_a_run_is_deleted_with_its_listener(superuser, answered):
    superuser.post(url("delete", answered.pk), {"post": "yes"})
    assert not Run.objects.exists()
    assert not Listener.objects.exists()


def test_runs_are_neither_added_nor_changed(superuser, answered):
    assert superuser.get(url("add")).status_code == 403
    superuser.post(url("change", answered.pk), {"title": "Other"})
    assert fresh(answered).title == "Why?"


# The command ------------------------------------------------------------------------------


def test_the_command_reaps_compacts_and_removes(database, answered, capsys):
    gone = runs.start()
    Run.objects.filter(pk=gone.pk).update(status="running")
    late(gone)
    kept = runs.start()
    long_ago = timezone.now() - timedelta(days=40)
    Run.objects.filter(pk=answered.pk).update(ended_at=long_ago)
    call_command("eric_runs")
    assert "1 runs were lost; the output of 1 is compact now." in capsys.readouterr().out
    assert Run.objects.count() == 3
    call_command("eric_runs", remove="30d")
    assert "1 runs were removed." in capsys.readouterr().out
    assert {*Run.objects.values_list("pk", flat=True)} == {gone.pk, kept.pk}
    with pytest.raises(CommandError):
        call_command("eric_runs", remove="soon")
