"""The judge of the fault runs finds each kind of error."""

import json
from types import SimpleNamespace

import pytest

from tests.faults.ledger import Ledger
from tests.faults.tally import Tally
from tests.faults.verdict import Row, judge
from tests.sse import Event


def ledger(*attempts):
    """Return a ledger of (keys, what, began at, ended at), each of a separate publisher."""
    made = Ledger()
    for number, (keys, what, began_at, ended_at) in enumerate(attempts):
        made.report(str(number), {"do": "try", "at": began_at, "keys": keys})
        if what is not None:
            made.report(str(number), {"do": what, "at": ended_at, "error": "away"})
    return made


def tally(*events, meaning=None):
    """Return a client's tally of (id, key)."""
    made = Tally({} if meaning is None else meaning)
    for id, key in events:
        event = Event("number", json.dumps({"key": key}), str(id))
        made.append(SimpleNamespace(event=event))
    return made


A_THEN_B = [(["a"], "ok", 1, 2), (["b"], "ok", 3, 4)]
ROWS = [Row(1, "a"), Row(2, "b")]


def kinds(verdict):
    return {
        kind: getattr(verdict, kind)
        for kind in ("lost", "out_of_order", "doubled", "unasked")
        if getattr(verdict, kind)
    }


def test_a_run_as_promised_is_good():
    clients = {tally((1, "a"), (2, "b")): None, tally((1, "a"), (1, "a"), (2, "b")): "one"}
    verdict = judge(ledger(*A_THEN_B), ROWS, clients)
    assert verdict.good
    assert not verdict.findings


def test_a_repeat_under_its_own_id_is_counted_and_allowed():
    assert tally((1, "a"), (2, "b"), (1, "a")).repeats == 1


def test_a_transaction_with_an_unknown_outcome_may_be_in_the_log_or_not():
    known = ledger(*A_THEN_B, (["c"], None, 5, 0))
    assert judge(known, ROWS, {}).good
    assert judge(known, [*ROWS, Row(3, "c")], {}).good
    assert [attempt.keys for attempt in known.maybe()] == [["c"]]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([Row(1, "a")], "lost"),
        ([Row(1, "a"), Row(None, "b")], "lost"),
        ([*ROWS, Row(3, "job:1", for_clients=False)], "lost"),
        ([Row(1, "b"), Row(2, "a")], "out_of_order"),
        ([*ROWS, Row(3, "a")], "doubled"),
    ],
)
def test_a_log_that_is_wrong_is_found(rows, kind):
    assert kinds(judge(ledger(*A_THEN_B), rows, {})) == {kind: 1}


def test_the_order_within_a_transaction_is_judged():
    known = ledger((["a", "b"], "ok", 1, 2))
    assert kinds(judge(known, [Row(1, "b"), Row(2, "a")], {})) == {"out_of_order": 1}


def test_a_rolled_back_message_must_not_be_in_the_log():
    known = ledger(*A_THEN_B, (["c"], "no", 5, 6))
    assert kinds(judge(known, [*ROWS, Row(3, "c")], {})) == {"unasked": 1}


def test_transactions_that_overlap_have_no_order_between_them():
    known = ledger((["a"], "ok", 1, 4), (["b"], "ok", 2, 3))
    assert judge(known, [Row(1, "b"), Row(2, "a")], {}).good


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([(1, "a")], "lost"),
        ([(2, "b"), (1, "a")], "out_of_order"),
        ([(1, "a"), (2, "b"), (3, "c")], "unasked"),
    ],
)
def test_an_error_at_a_client_is_found(events, kind):
    clients = {tally(*events): None}
    assert kinds(judge(ledger(*A_THEN_B), ROWS, clients)) == {kind: 1}


def test_an_id_that_means_two_messages_is_found():
    meaning = {}
    one, other = tally((1, "a"), meaning=meaning), tally((1, "b"), meaning=meaning)
    assert not one.wrong
    assert other.wrong == ["id 1 was a, and arrived again as b"]


def test_a_message_to_one_listener_is_expected_only_there():
    known, rows = ledger(*A_THEN_B), [Row(1, "a", "one"), Row(2, "b")]
    both, second = tally((1, "a"), (2, "b")), tally((2, "b"))
    assert judge(known, rows, {both: "one", second: None}).good
    assert kinds(judge(known, rows, {both: None})) == {"unasked": 1}
    assert kinds(judge(known, rows, {second: "one"})) == {"lost": 1}
