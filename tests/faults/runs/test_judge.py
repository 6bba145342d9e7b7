"""The judge of runs finds what it is there to find."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.faults.runs.clients import AgUiClient, AiSdkClient, PlainClient
from tests.faults.runs.verdict import Row, judge
from tests.live.runs_words import text, word
from tests.sse import Event

WORDS = 4
ROW = Row("chat", "finished", 2, {"words": WORDS}, text(WORDS), range(WORDS))


def plain(*indexes):
    """Return a plain client that got these words, and the end."""
    client = PlainClient(["http://site"], "", "chat", "id")
    for index in indexes:
        data = json.dumps({"i": index, "n": 1, "text": word(index)})
        client.take(Event("run-chunk", data, ""))
    client.take(Event("run-finished", "{}", ""))
    client.answered(204)
    return client


def events(client, *events):
    """Give a client a whole stream."""
    client.begin()
    with suppress(EOFError):
        for event in events:
            client.take(Event("message", event if event == "[DONE]" else json.dumps(event), ""))
    return client


def chat(*texts):
    return events(
        AiSdkClient(["http://site"], "", "chat"),
        {"type": "start", "messageId": "id"},
        {"type": "text-start", "id": "text"},
        *({"type": "text-delta", "id": "text", "delta": each} for each in texts),
        {"type": "text-end", "id": "text"},
        {"type": "finish"},
        "[DONE]",
    )


def agent(*texts):
    return events(
        AgUiClient(["http://site"], "", "chat", "4 0"),
        {"type": "RUN_STARTED"},
        {"type": "TEXT_MESSAGE_START"},
        *({"type": "TEXT_MESSAGE_CONTENT", "delta": each} for each in texts),
        {"type": "TEXT_MESSAGE_END"},
        {"type": "RUN_FINISHED"},
    )


def test_a_run_that_reached_its_clients_has_no_errors():
    clients = [plain(*range(WORDS)), chat(text(WORDS)), agent(text(2), word(2), word(3))]
    assert judge([ROW], clients, WORDS).good


@pytest.mark.parametrize("indexes", [(0, 1, 1, 2, 3), (0, 2, 3), (1, 0, 2, 3)])
def test_a_chunk_that_is_repeated_missing_or_out_of_order_is_found(indexes):
    verdict = judge([ROW], [plain(*indexes)], WORDS)
    assert verdict.doubled
    assert verdict.differs == 1


@pytest.mark.parametrize("client", [chat, agent])
@pytest.mark.parametrize("texts", [(text(3),), (text(4), word(3)), ("another",)])
def test_another_text_is_found(client, texts):
    assert judge([ROW], [client(*texts)], WORDS).differs == 1


def test_a_text_that_changes_on_the_next_connection_is_found():
    client = chat("another")
    client.begin()
    client.take(Event("message", json.dumps({"type": "start", "messageId": "id"}), ""))
    client.take(Event("message", json.dumps({"type": "text-start", "id": "text"}), ""))
    client.take(Event("message", json.dumps({"type": "text-delta", "delta": word(0)}), ""))
    assert judge([ROW], [client], WORDS).doubled


def test_events_out_of_order_are_found():
    client = AgUiClient(["http://site"], "", "chat", "4 0")
    client.begin()
    client.take(Event("message", json.dumps({"type": "TEXT_MESSAGE_START"}), ""))
    assert judge([ROW], [client], WORDS).doubled == 1


def test_a_client_that_waits_is_found():
    client = AiSdkClient(["http://site"], "", "chat")
    assert judge([ROW], [client], WORDS).incomplete == 1


@pytest.mark.parametrize("status", ["running", "lost", "waiting"])
def test_a_run_without_an_end_is_found(status):
    assert judge([replace(ROW, status=status)], [], WORDS).not_ended == 1


def test_a_log_with_other_chunks_is_found():
    assert judge([replace(ROW, indexes=[0, 1, 1, 2])], [], WORDS).doubled == 1
    assert judge([replace(ROW, text=text(3))], [], WORDS).differs == 1
    assert judge([replace(ROW, result=None)], [], WORDS).differs == 1


def test_a_stopped_run_has_its_first_words():
    row = replace(ROW, status="stopped", text=text(2), indexes=[0, 1])
    assert judge([row], [], WORDS).good
    assert judge([replace(row, text=word(1))], [], WORDS).differs == 1


def test_another_number_of_runs_is_found():
    verdict = judge([ROW], [], WORDS)
    verdict.expect_runs(2)
    assert verdict.not_ended == 1
