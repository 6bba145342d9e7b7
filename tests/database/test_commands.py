"""The commands for operators: publish, tail, listeners, stats, export and import."""

import gzip
import io
import json
import os
import stat
import sys
import time
from threading import Thread

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from eric_sse_django import log, notifier, runs
from eric_sse_django.authorization import revoke
from eric_sse_django.database import moving
from eric_sse_django.database.operations import remove_channel
from eric_sse_django.management.command import OperatorCommand
from eric_sse_django.models import (
    Channel,
    Listener,
    LogHead,
    OpenStream,
    QueuedMessage,
    Revocation,
    ServerProcess,
)
from eric_sse_django.shortcuts import channel, publish, stream_url
from eric_sse_django.testing import StreamClient, close_all, make_listener, published
from tests import databases
from tests.databases import on, sqlite_only
from tests.patience import PATIENCE_S
from tests.router import SelectedDatabaseRouter


def run(*arguments, **options):
    """Return the output of a command."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


# eric_publish ---------------------------------------------------------------------------


@sqlite_only
def test_a_message_is_published_to_all_to_a_listener_or_to_an_owner(database):
    get_user_model().objects.create(username="ann")
    make_listener("orders", listener_id="one")
    assert "1 published to orders." in run("eric_publish", "orders", "paid", '{"id": 7}')
    run("eric_publish", "orders", "n", "--listener", "one", "--expires", "60")
    run("eric_publish", "orders", "n", "hello", "--text", "--owner", "ann")
    found = [(each.payload, each.listener, bool(each.owner)) for each in published("orders")]
    assert found == [({"id": 7}, None, False), (None, "one", False), ("hello", None, True)]


@sqlite_only
def test_each_line_of_standard_input_is_a_message(database, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('1\n\n{"a": 2}\n'))
    assert "2 published" in run("eric_publish", "orders", "n", "-", "--create")
    assert [each.payload for each in published("orders")] == [1, {"a": 2}]


@sqlite_only
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere", "n"], "nowhere.*--create"),
        (["orders", "n", "--expires", "0"], "expire"),
        (["orders", "n", "{"], "is not JSON"),
        (["orders", "n", "--listener", "nobody"], "nobody"),
        (["orders", "n", "--owner", "nobody"], "There is no user 'nobody'"),
        (["orders", "eric-stop"], "reserved"),
    ],
)
def test_what_cannot_be_published_is_an_error(database, arguments, problem):
    channel("orders")
    with pytest.raises(CommandError, match=problem):
        run("eric_publish", *arguments)
    assert published() == []


@sqlite_only
def test_an_error_names_what_was_published_before_it(database, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n2\n{\n"))
    with pytest.raises(CommandError, match=r"is not JSON.* 2 were published before"):
        run("eric_publish", "orders", "n", "-", "--create")
    assert len(published("orders")) == 2


@sqlite_only
@pytest.mark.parametrize(
    "command", [["eric_publish", "orders", "n"], ["eric_tail"], ["eric_stats"], ["eric_listeners"]]
)
def test_a_database_that_fails_is_reported_in_one_line(database, command):
    def fails(*arguments):
        raise DatabaseError("no such table: eric_sse_django_channel")

    with connection.execute_wrapper(fails), pytest.raises(CommandError, match=r"no such.*doctor"):
        run(*command)


def test_a_command_ends_quietly_when_nobody_reads_its_output():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    class Talks(OperatorCommand):
        def handle(self, **options):
            self.stdout.write("a line")

    call_command(Talks(), stdout=Closed(), skip_checks=True)


# eric_tail ------------------------------------------------------------------------------


def tail(*options):
    lines = run("eric_tail", "--no-follow", "--since", "1h", "--json", *options).splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def some(database):
    """Publish to two channels, to all, to a listener and to an owner."""
    ann = get_user_model().objects.create(username="ann")
    listener = make_listener("orders", listener_id="one")
    channel("news")
    publish("orders", "paid", {"id": 7})
    publish("orders", "secret", "é", listener_id=listener)
    publish("orders", "n", 3, owner=ann)
    listener.stop()  # a control message
    publish("news", "n", 4)
    notifier.flush()


def test_a_tail_shows_what_was_published(some):
    found = [(each["channel"], each["type"], each["payload"]) for each in tail()]
    assert found == [
        ("orders", "paid", {"id": 7}),
        ("orders", "secret", "é"),
        ("orders", "n", 3),
        ("news", "n", 4),
    ]


@pytest.mark.parametrize(
    ("options", "payloads"),
    [
        (["news"], [4]),
        (["news", "or*"], [{"id": 7}, "é", 3, 4]),
        (["--type", "n"], [3, 4]),
        (["--type", "?aid"], [{"id": 7}]),
        (["--match", "é"], ["é"]),
        (["--listener", "one"], ["é"]),
        (["--owner", "ann"], [3]),
        (["--count", "1"], [{"id": 7}]),
    ],
)
def test_a_tail_has_filters(some, options, payloads):
    assert [each["payload"] for each in tail(*options)] == payloads


@sqlite_only
def test_a_tail_for_people_has_a_line_for_each_message(some):
    lines = run("eric_tail", "--no-follow", "--since", "1h", no_color=True).splitlines()
    assert lines[0].endswith(' orders paid {"id": 7}')
    assert lines[1].endswith(' orders secret →one "é"')
    assert lines[2].endswith(" orders n →@ann 3")


@sqlite_only
def test_a_tail_on_a_terminal_has_colours_by_rich_where_it_is_installed(some, monkeypatch):
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def shown(**options):
        out = Terminal()
        call_command("eric_tail", "--no-follow", "--since", "1h", stdout=out, **options)
        return out.getvalue().splitlines()[0].partition("paid ")[2]

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in shown()
    assert shown(no_color=True) == '{"id": 7}'
    monkeypatch.setattr("eric_sse_django.management.terminal.find_spec", lambda name: None)
    assert shown().endswith('{"id": 7}')  # the prefix may have Django's colours


@sqlite_only
def test_a_tail_lets_no_message_control_the_terminal(database):
    channel("orders")
    publish("orders", "n", "a\x9b31m\u202eb")
    notifier.flush()
    [line] = run("eric_tail", "--no-follow", "--since", "1h", no_color=True).splitlines()
    assert line.endswith('orders n "a\\u009b31m\\u202eb"')


@sqlite_only
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("eric_tail", "--interval", "inf"), "--interval is inf"),
        (("eric_tail", "--since", "999999d"), "more than 36500 days"),
        (("eric_tail", "\udcff"), "not UTF-8"),
        (("eric_stats", "--watch", "nan"), "--watch is nan"),
        (("eric_listeners", "--away", "999999d"), "more than 36500 days"),
        (("eric_publish", "orders", "paid", "[" * 100_000), "is not JSON"),
        (("eric_restored", "--seen", "-1"), "--seen is -1"),
        (("eric_restored", "--seen", str(2**60)), "positions are from 0 to"),
    ],
    ids=lambda value: None,
)
def test_a_value_that_no_command_can_use_is_named(some, arguments, problem):
    with pytest.raises(CommandError, match=problem):
        run(*arguments)


@sqlite_only
def test_a_tail_that_does_not_follow_shows_the_whole_log(some):
    assert len(run("eric_tail", "--no-follow").splitlines()) == 4


@sqlite_only
def test_a_tail_names_channels_that_do_not_exist(some):
    errors = io.StringIO()
    run("eric_tail", "--no-follow", "nowhere", "news", "no*", stderr=errors)
    assert errors.getvalue().count("There is no channel") == 1
    assert "'nowhere' yet" in errors.getvalue()


@sqlite_only
def test_a_tail_follows(database, monkeypatch):
    channel("orders")
    publish("orders", "n", "before")
    notifier.flush()

    def pause(seconds):
        publish("orders", "n", "after")

    monkeypatch.setattr("time.sleep", pause)
    text = run("eric_tail", "orders", "--count", "2", "--json")
    assert [json.loads(line)["payload"] for line in text.splitlines()] == ["after"] * 2


@sqlite_only
def test_a_tail_of_a_long_log_reads_pages(database, monkeypatch):
    monkeypatch.setattr("eric_sse_django.management.commands.eric_tail.ROWS", 2)
    orders = channel("orders")
    for number in range(5):
        publish(orders, "n", number)
    notifier.flush()
    assert [each["payload"] for each in tail()] == list(range(5))


@sqlite_only
@pytest.mark.parametrize("options", [["--since", "10"], ["--interval", "0"], ["--count", "0"]])
def test_a_tail_refuses_what_it_cannot_read(database, options):
    with pytest.raises(CommandError):
        run("eric_tail", "--no-follow", *options)


# eric_listeners ---------------------------------------------------------------------------


@sqlite_only
def test_listeners_are_listed(database):
    ann = get_user_model().objects.create(username="ann")
    one = make_listener("orders", ann, "one", waiting=[1, 2])
    make_listener("orders", listener_id="two", running=False)
    make_listener("news", listener_id="three", away_s=86_400 * 3)
    notifier.flush()
    with StreamClient(stream_url(one, ticket=True)) as stream:
        stream.events(2)
    found = json.loads(run("eric_listeners", "--json"))
    assert [(each["channel"], each["listener"], each["state"]) for each in found] == [
        ("news", "three", "offline"),
        ("orders", "one", "offline"),
        ("orders", "two", "stopped"),
    ]
    lines = run("eric_listeners", "--channel", "news").splitlines()
    assert lines[0].split() == [
        "channel",
        "listener",
        "owner",
        "state",
        "waiting",
        "oldest",
        "last_seen",
    ]
    assert lines[1].split() == ["news", "three", "offline", "0", "3", "d"]
    assert json.loads(run("eric_listeners", "--owner", "ann", "--json"))[0]["owner"] == "ann"
    assert json.loads(run("eric_listeners", "--online", "--json")) == []
    assert "There is no such listener." in run("eric_listeners", "--online")
    assert "2 more: --limit" in run("eric_listeners", "--limit", "1")


@sqlite_only
def test_listeners_are_stopped_started_and_disconnected(database):
    make_listener("orders", listener_id="one")
    make_listener("orders", listener_id="two")
    one = ["--channel", "orders", "--listener", "one"]
    assert "1 listeners stopped." in run("eric_listeners", *one, "--stop")
    assert list(Listener.objects.filter(running=True).values_list("name", flat=True)) == ["two"]
    assert "1 listeners started." in run("eric_listeners", "--channel", "orders", "--start")
    assert "2 listeners disconnected." in run(
        "eric_listeners", "--channel", "orders", "--disconnect"
    )
    assert "1 listeners removed." in run("eric_listeners", *one, "--remove")


@sqlite_only
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--stop"], "Name the listeners"),
        (["--remove"], "Name the listeners"),
        (["--listener", "one"], "needs --channel"),
        (["--owner", "nobody"], "There is no user"),
    ],
)
def test_an_action_needs_names(database, options, problem):
    make_listener("orders")
    with pytest.raises(CommandError, match=problem):
        run("eric_listeners", *options)
    assert Listener.objects.filter(running=True).count() == 1


# eric_stats -------------------------------------------------------------------------------


def test_stats_count_what_there_is(some):
    stats = json.loads(run("eric_stats", "--json"))
    assert stats["head"] == log.head().position
    assert (stats["messages_last_day"], stats["channels"], stats["listeners"]) == (4, 2, 1)
    assert stats["top"][0] == {
        "channel": "orders",
        "last_hour": 3,
        "last_day": 3,
        "listeners": 1,
        "online": 0,
        "watchers": 0,
    }
    text = run("eric_stats", "--top", "1")
    assert "messages last hour" in text
    assert "orders" in text
    assert "news" not in text


@sqlite_only
def test_stats_of_an_empty_log(database):
    assert json.loads(run("eric_stats", "--json"))["top"] == []
    with pytest.raises(CommandError, match="--watch"):
        run("eric_stats", "--watch", "0")


# eric_export and eric_import ---------------------------------------------------------------


def empty():
    for model in (OpenStream, Listener, Channel):
        model.objects.all().delete()
    notifier.flush()  # of the streams that end; later it would begin the log again
    for model in (QueuedMessage, LogHead):
        model.objects.all().delete()


def test_a_log_moves_with_its_positions(some, tmp_path):
    waiting = make_listener("news", listener_id="late", waiting=[5])
    notifier.flush()
    before = [(row.position, row.type, row.payload) for row in in_order() if row.channel_id != -1]
    head, cursor = log.head().position, waiting.row.cursor
    file = str(tmp_path / "log.jsonl.gz")
    assert f"written to {file}" in run("eric_export", file)
    lines = run("eric_export", "-").splitlines()
    assert json.loads(lines[0])["position"] == head
    empty()
    assert "2 channels, 2 listeners, " in run("eric_import", file)
    assert [(row.position, row.type, row.payload) for row in in_order()] == before
    assert log.head().position == head
    row = Listener.objects.get(name="late")
    assert (row.cursor, row.running, row.channel.name) == (cursor, True, "news")
    with StreamClient(stream_url(row, ticket=True)) as stream:
        assert [stream.next().json()] == [5]
        publish("news", "n", 6)
        event = stream.next()
        assert (event.type, event.json()) == ("n", 6)
        assert int(event.last_event_id) == head + 1


def in_order():
    return QueuedMessage.objects.order_by("position")


@sqlite_only
def test_what_is_of_missing_users_stays_out_and_is_named(some, tmp_path):
    make_listener("orders", get_user_model().objects.get(username="ann"), "anns")
    file = str(tmp_path / "log.jsonl")
    run("eric_export", file)
    assert stat.filemode(os.stat(file).st_mode) == "-rw-------"  # it has all payloads
    with pytest.raises(CommandError, match="exists: remove it"):
        run("eric_export", file)
    with pytest.raises(CommandError, match="cannot be written"):
        run("eric_export", str(tmp_path / "nowhere" / "log"))
    get_user_model().objects.all().delete()
    empty()
    errors = io.StringIO()
    run("eric_import", file, stderr=errors)
    assert "there is no such user: orders/anns (ann)" in errors.getvalue()
    assert [each.payload for each in published()] == [{"id": 7}, "é", 4]


def test_what_was_revoked_stays_revoked(some, tmp_path):
    ann = get_user_model().objects.get(username="ann")
    kept, removed = channel("news").add_listener(listener_id="kept"), channel("old")
    revoke(user=ann, listener=kept, session="a-key")
    revoke(channel=channel("news"))
    revoke(channel=removed)
    remove_channel(removed.row)
    before = subjects()
    file = str(tmp_path / "log")
    run("eric_export", file)
    empty()
    Revocation.objects.all().delete()
    run("eric_import", file)
    news = Channel.objects.get(name="news")
    listener = Listener.objects.get(name="kept")
    keys = {f"user:{ann.pk}", f"channel:{news.pk}", f"listener:{listener.pk}"}
    digests = {subject for subject in before if subject.startswith("session:")}
    assert keys | digests == subjects().keys()
    assert len(digests) == 1
    assert subjects()[f"user:{ann.pk}"] == before[f"user:{ann.pk}"]


def subjects():
    rows = Revocation.objects.values_list("subject", "revoked_at", "expires_at")
    return {subject: times for subject, *times in rows}


@sqlite_only
def test_a_log_does_not_move_while_servers_run(some, tmp_path):
    file = str(tmp_path / "log")
    now = timezone.now()
    ServerProcess.objects.create(name="web:7", started_at=now, renewed_at=now)
    errors = io.StringIO()
    run("eric_export", file, stderr=errors)
    assert "Server processes run (web:7)" in errors.getvalue()
    empty()
    with pytest.raises(CommandError, match="stop them"):
        run("eric_import", file)


@sqlite_only
def test_what_is_not_exported_is_named(some, tmp_path):
    runs.start()
    errors = io.StringIO()
    run("eric_export", str(tmp_path / "log"), stderr=errors)
    assert "Not exported" in errors.getvalue()
    assert "runs" in errors.getvalue()


@sqlite_only
def test_a_log_that_is_not_empty_is_not_overwritten(some, tmp_path):
    file = tmp_path / "log.jsonl"
    run("eric_export", str(file))
    with pytest.raises(CommandError, match="is not empty"):
        run("eric_import", str(file))
    assert len(published()) == 4


@sqlite_only
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[:-1], "has no end"),
        (lambda lines: lines[1:], "not what eric_export"),
        (lambda lines: [lines[0], "{"], "Line 2 is not JSON"),
        (lambda lines: [lines[0], '{"listener": "nowhere"}'], "Line 2 is not what eric_export"),
        (lambda lines: ["[]"], "Line 1 is not what eric_export"),
    ],
)
def test_a_file_that_is_no_export_changes_nothing(some, tmp_path, change, problem):
    lines = run("eric_export", "-").splitlines()
    empty()
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(change(lines)))
    with pytest.raises(CommandError, match=problem):
        run("eric_import", str(file))
    assert not Channel.objects.exists()


def changed(key, **fields):
    """Return a function that changes fields of the first line with a key."""

    def change(lines):
        number = next(number for number, line in enumerate(lines) if key in json.loads(line))
        lines[number] = json.dumps(json.loads(lines[number]) | fields)
        return lines

    return change


@sqlite_only
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("format", position=10**30), "position is 1000"),
        (changed("format", position=0), "Line 5 .*from 0 to 0"),
        (changed("message", position=-5), "Line 5 .*position is -5"),
        (changed("message", position=1.5), "position is 1.5"),
        (changed("message", position=True), "position is True"),
        (changed("message", position=None), "position is None"),
        (changed("message", position=3), "the position 2 is not above 3"),
        (changed("message", payload='{"a":\n1}'), "not one line"),
        (changed("message", payload="{'a'}"), "the payload is not JSON"),
        (changed("message", payload={}), "not one line"),
        (changed("message", type="a\nid: 5"), "contains a CR, LF"),
        (changed("message", type="a" * 256), "its type has 256"),
        (changed("message", uid="a" * 256), "its uid has 256"),
        (changed("message", perishable="no"), "perishable"),
        (changed("message", created_at="now"), "isoformat"),
        (changed("listener", cursor="1"), "cursor is '1'"),
        (changed("listener", acknowledgement="never"), "acknowledgement"),
        (changed("listener", owner=["ann"]), "unhashable"),
        (changed("channel", name="../orders"), "Use 1 to 128"),
        (changed("channel", access="all"), "access"),
        (changed("channel", retention_s="long"), "retention_s"),
        (lambda lines: [*lines[:6], *lines[7:]], "has 5 messages, and 6 were exported"),
        (lambda lines: [lines[0], "[" * 100_000], "Line 2 is not JSON"),
    ],
)
def test_a_line_that_this_app_does_not_write_changes_nothing(some, tmp_path, change, problem):
    """Positions, cursors and frames rely on what is in the log."""
    notifier.flush()
    publish("news", "n", 5)
    lines = run("eric_export", "-").splitlines()
    empty()
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(change(lines)))
    with pytest.raises(CommandError, match=problem):
        run("eric_import", str(file))
    assert not Channel.objects.exists()
    assert not log.head().position


@sqlite_only
def test_a_listener_that_was_served_during_the_export_misses_nothing(some, tmp_path):
    """Its cursor is above the head of the file: what is published here comes after that head."""
    lines = run("eric_export", "-").splitlines()
    head = json.loads(lines[0])["position"]
    empty()
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(changed("listener", cursor=head + 9, start=head + 9)(lines)))
    run("eric_import", str(file))
    row = Listener.objects.get(name="one")
    assert (row.cursor, row.start) == (head, head)


@pytest.mark.parametrize("uses_time_zones", [False, True])
@sqlite_only
def test_times_are_those_of_a_project_with_other_time_zones(
    some, tmp_path, settings, uses_time_zones
):
    settings.USE_TZ = not uses_time_zones
    lines = run("eric_export", "-")
    before = QueuedMessage.objects.order_by("position").first().created_at
    empty()
    settings.USE_TZ = uses_time_zones
    file = tmp_path / "log.jsonl"
    file.write_text(lines)
    run("eric_import", str(file))
    after = QueuedMessage.objects.order_by("position").first().created_at
    assert timezone.is_aware(after) == uses_time_zones
    assert after.timestamp() == before.timestamp()


@on("postgres", "mariadb")
def test_what_is_published_during_an_import_comes_after_it(some, tmp_path, monkeypatch):
    file = str(tmp_path / "log.jsonl")
    run("eric_export", file)
    head = log.head().position
    empty()
    others = []

    def publish_elsewhere():
        channel("late")
        publish("late", "n", 6)
        notifier.flush()
        connections.close_all()

    check = moving.Import._check_empty

    def check_empty(self):
        check(self)
        others.append(Thread(target=publish_elsewhere))
        others[0].start()
        while not QueuedMessage.objects.exists():  # it is committed, and waits for its position
            time.sleep(0.01)

    monkeypatch.setattr(moving.Import, "_check_empty", check_empty)
    run("eric_import", file)
    others[0].join(PATIENCE_S)
    notifier.settle()
    late = QueuedMessage.objects.get(channel__name="late")
    assert late.position > head
    positions = list(QueuedMessage.objects.values_list("position", flat=True))
    assert len(positions) == len(set(positions))


@sqlite_only
def test_a_file_that_cannot_be_read_changes_nothing(some, tmp_path):
    text = run("eric_export", "-")
    empty()
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(text.encode())[:-99])
    for path in (tmp_path / "nothing", tmp_path, damaged):
        with pytest.raises(CommandError, match="cannot be read"):
            run("eric_import", str(path))
        assert not Channel.objects.exists()


@sqlite_only
def test_standard_input_is_a_file_too(some, monkeypatch):
    text = run("eric_export", "-")
    empty()
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert "imported." in run("eric_import", "-")
    assert len(published()) == 4


@pytest.mark.skipif(
    databases.absence("postgres") is not None or databases.USERS is not None,
    reason="it needs PostgreSQL, with the users in the same database",
)
@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_a_log_moves_from_sqlite_to_postgresql(tmp_path, database_servers, monkeypatch):
    ann = get_user_model().objects.create(username="ann")
    listener = make_listener("orders", ann, "one", waiting=[1])
    with StreamClient(stream_url(listener, ticket=True)) as stream:
        assert stream.next().json() == 1
    publish("orders", "n", 2, owner=ann)
    notifier.flush()
    file = str(tmp_path / "log.jsonl")
    run("eric_export", file)
    close_all()
    monkeypatch.setattr(SelectedDatabaseRouter, "alias", "postgres")
    # Users have other keys there.
    get_user_model().objects.create(username="bob")
    get_user_model().objects.create(username="ann")
    assert "1 channels, 1 listeners, 2 messages imported." in run("eric_import", file)
    row = Listener.objects.get(name="one")
    assert row.owner.username == "ann"
    with StreamClient(
        stream_url(row, ticket=True), last_event_id=stream.last_event_id
    ) as continued:
        assert continued.next().json() == 2
        publish("orders", "n", 3)
        assert continued.next().json() == 3
    close_all()
