"""What becomes of a run's output later: one message, and in the end nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from eric_sse_django import log, notifier, runs
from eric_sse_django.entry import RESET
from eric_sse_django.log import Recipient
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs import compaction, reading
from eric_sse_django.runs.models import Run
from tests.runs.tools import fresh, text_of, types_of


def produced(*words, result=None):
    """Return a run with a message for each word."""
    run = runs.start()
    with runs.produce(run) as out:
        for word in words:
            out.write(word)
            out.flush()
        out.progress(1, 1)
        out.result = result
    return run


def ended_long_ago(run):
    Run.objects.filter(pk=run.pk).update(ended_at=timezone.now() - timedelta(hours=2))


def after(run, position):
    """Return what a client gets that has a position."""
    notifier.flush()
    to = Recipient(run.listener.channel_id, run.pk, None, position)
    return [(entry.type, entry.payload) for entry in log.read([to], None, 1_000)]


def test_the_output_of_a_run_that_ended_long_ago_is_one_message(database):
    run = produced("one ", "two ", "three", result=5)
    assert compaction.compact_due() == 0
    ended_long_ago(run)
    assert compaction.compact_due() == 1
    assert compaction.compact_due() == 0
    assert types_of(run) == [RESET, "run-chunk", "run-finished"]
    assert [(each.index, each.value) for each in runs.read(run)] == [
        (0, "one "),
        (1, "two "),
        (2, "three"),
    ]
    assert [each.index for each in runs.read(run, after=2)] == [2]
    assert fresh(run).result == 5


def test_a_client_within_the_output_gets_a_reset_and_the_whole(database):
    run = produced("one ", "two ", "three")
    positions = [entry.position for entry in reading.entries(run)]
    ended_long_ago(run)
    compaction.compact_due()
    for position in positions[:-1]:
        found = after(run, position)
        assert [type for type, _ in found] == [RESET, "run-chunk", "run-finished"]
        assert '"one two three"' in found[1][1]
    assert fresh(run).end_position == positions[-1]


def test_a_client_of_the_new_messages_continues_in_the_new_messages(database):
    run = produced("one ", "two ")
    ended_long_ago(run)
    compaction.compact_due()
    chunk = next(entry for entry in reading.entries(run) if entry.type == "run-chunk")
    assert [type for type, _ in after(run, chunk.position)] == ["run-finished"]


def test_texts_and_values_stay_apart_and_in_order(database):
    run = runs.start()
    with runs.produce(run) as out:
        for number in range(3):
            out.write(f"{number}")
            out.send(number)
            out.flush()
    before = list(runs.read(run))
    ended_long_ago(run)
    compaction.compact_due()
    assert list(runs.read(run)) == before


def test_no_message_is_larger_than_the_setting_allows(database, settings):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 10_000}
    run = produced(*["é" * 500 for _ in range(20)])
    ended_long_ago(run)
    compaction.compact_due()
    payloads = [entry.payload for entry in reading.entries(run) if entry.type == "run-chunk"]
    assert max(map(len, payloads)) <= 10_000
    assert len(payloads) == 7
    assert text_of(run) == "é" * 10_000


def test_runs_that_failed_or_are_lost_stay_as_they_are(database):
    run = runs.start()
    with pytest.raises(ZeroDivisionError), runs.produce(run) as out:
        out.write(f"{1 / 0}")
    ended_long_ago(run)
    before = types_of(run)
    assert compaction.compact_due() == 0
    assert types_of(run) == before


def test_the_setting_can_turn_it_off(database, settings):
    settings.ERIC_SSE = {"RUNS_COMPACT_AFTER_S": 0}
    run = produced("one ", "two ")
    ended_long_ago(run)
    assert compaction.compact_due() == 0


def test_a_cursor_that_a_client_acknowledged_is_no_obstacle(database):
    run = produced("one ", "two ")
    positions = [entry.position for entry in reading.entries(run)]
    run.listener.cursor = positions[0]
    run.listener.save(update_fields=["cursor"])
    ended_long_ago(run)
    compaction.compact_due()
    assert text_of(run) == "one two "


def test_output_expires_by_the_channels_retention_and_the_result_stays(database):
    run = produced("one ", "two ", result={"tokens": 2})
    notifier.flush()
    QueuedMessage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    while log.trim():
        pass
    assert list(runs.read(run)) == []
    assert types_of(run) == [RESET]
    assert (fresh(run).status, fresh(run).result) == ("finished", {"tokens": 2})
    ended_long_ago(run)
    assert compaction.compact_due() == 0
    assert list(runs.follow(run)) == []
