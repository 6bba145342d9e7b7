"""Listeners that were offline for a long time are counted and removed, and no others."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from eric_sse_django import runs
from eric_sse_django.contrib.webhooks.endpoints import register
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Listener, OpenStream, QueuedMessage, ServerProcess
from eric_sse_django.shortcuts import listen


def run(*options):
    out = StringIO()
    call_command("eric_listeners", *options, stdout=out)
    return out.getvalue()


def age(name, **days):
    """Set how many days ago a listener was created, and last seen."""
    fields = {
        "created_at" if field == "made" else "last_seen": timezone.now() - timedelta(days=count)
        for field, count in days.items()
    }
    Listener.objects.filter(name=name).update(**fields)


@pytest.fixture
def names(database):
    """Return a function that returns the names of all listeners."""
    for channel, name in [*(("orders", each) for each in "abcde"), ("news", "f")]:
        DatabaseChannel.get_or_create(channel).add_listener(listener_id=name)
    age("a", made=40)
    age("b", made=40, seen=31)
    age("c", made=40, seen=29)
    age("d", made=29)
    age("e", made=40)
    age("f", made=40)
    e = Listener.objects.get(name="e")
    now = timezone.now()
    process = ServerProcess.objects.create(started_at=now, renewed_at=now)
    OpenStream.objects.create(id=1, process=process, listener=e, opened_at=now)
    return lambda: "".join(Listener.objects.order_by("name").values_list("name", flat=True))


def test_they_are_counted_and_nothing_is_removed(names):
    assert run("--away", "30d").startswith("3 listeners were offline")
    assert run("--away", "30d", "--channel", "news").startswith("1 listeners were offline")
    assert names() == "abcdef"


def test_a_missing_channel_is_an_error(names):
    for options in ([], ["--remove"]):
        with pytest.raises(CommandError, match="There is no channel 'order'"):
            run("--away", "30d", "--channel", "order", *options)
    assert names() == "abcdef"


def test_they_are_removed_and_their_streams_end(names):
    assert run("--away", "30d", "--channel", "orders", "--remove") == "2 listeners removed.\n"
    assert names() == "cdef"
    stops = QueuedMessage.objects.filter(type__startswith="eric-")
    assert stops.count() == 2
    assert run("--away", "720h", "--remove") == "1 listeners removed.\n"
    assert names() == "cde"


def test_runs_and_webhooks_are_not_removed_with_unused_listeners(names):
    """A run with its result is kept until it is removed itself; so is an endpoint."""
    made = runs.start(), register("orders", "https://shop.example/")
    for each in made:
        age(each.listener.name, made=400)
    run("--away", "30d", "--remove")
    for each in made:
        each.refresh_from_db()
    assert Listener.objects.count() == 3 + len(made)


def test_a_listener_that_a_page_has_just_asked_for_is_kept(names):
    listen("orders", listener_id="a")
    run("--away", "30d", "--remove")
    assert names() == "acde"


@pytest.mark.parametrize("wrong", ["30", "d", "0d", "-1d", "30 days", ""])
def test_a_duration_that_cannot_be_read_is_an_error(database, wrong):
    with pytest.raises(CommandError, match="--away"):
        run("--away", wrong)
