"""Passing on what others encode, and what Pydantic AI does."""

import json

import pytest

from eric_sse_django import runs
from eric_sse_django.runs import producer
from eric_sse_django.runs.doors.relaying import arelay, relay
from tests.databases import sqlite_only

# What a door writes does not depend on the database: test_plain has all.
pytestmark = sqlite_only

FRAMES = [
    'data: {"type":"start"}\n\ndata: {"type":"text-start","id":"1"}\n\n',
    'data: {"type":"text-delta","id":"1",',
    b'"delta":"a\xc3',
    b'\x9f"}\r\n\r\n: a comment\n\n',
    'data: {"type":"text-start","id":"2"}\n\n',
    'data: {"type":"text-delta","id":"1","delta":"late"}\n\n',
    'data: {"type":"text-delta","id":"2","delta":"b","providerMetadata":{}}\n\ndata: [DONE]\n\n',
]


def test_a_text_of_the_last_part_is_text_and_nothing_is_lost(database):
    run = runs.start()
    with runs.produce(run) as out:
        relay(out, FRAMES)
    assert [chunk.value for chunk in runs.read(run)] == [
        {"type": "start"},
        {"type": "text-start", "id": "1"},
        "aß",
        {"type": "text-start", "id": "2"},
        {"type": "text-delta", "id": "1", "delta": "late"},
        {"type": "text-delta", "id": "2", "delta": "b", "providerMetadata": {}},
    ]


async def test_a_source_that_is_faster_than_the_database_waits_for_it(
    database, hub_closes, monkeypatch
):
    monkeypatch.setattr(producer, "MAX_WAITING", 10)

    async def frames():
        yield 'data: {"type":"text-start","id":"1"}\n\n'
        for _ in range(20):
            yield 'data: {"type":"text-delta","id":"1","delta":"12345678"}\n\n'

    run = await runs.astart()
    async with runs.aproduce(run) as out:
        await arelay(out, frames())
    texts = [chunk.value for chunk in await runs.aread(run) if chunk.is_text]
    assert "".join(texts) == "12345678" * 20


# Pydantic AI -----------------------------------------------------------------------------------


@pytest.fixture
def agent():
    pytest.importorskip("pydantic_ai")  # it needs Python 3.11
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    agent = Agent(TestModel(custom_output_text="Hello dear world"))

    @agent.tool_plain
    def find(query: str) -> str:
        return "found"

    return agent


async def relayed(ana, adapter, thread):
    """Return the run that has what an adapter encodes, and the values of that."""
    frames = [each async for each in adapter.encode_stream(adapter.run_stream())]

    async def again():
        for frame in frames:
            yield frame

    run = await runs.astart(ana, thread=thread)
    async with runs.aproduce(run) as out:
        await arelay(out, again())
    texts = [frame.removeprefix("data: ").strip() for frame in frames]
    return run, [json.loads(text) for text in texts if text != "[DONE]"]


def joined(values, kind):
    """Return values with the texts of one part as one."""
    found = []
    for value in values:
        if value["type"] == kind and found and found[-1]["type"] == kind:
            found[-1] = {**found[-1], "delta": found[-1]["delta"] + value["delta"]}
        else:
            found.append({name: value[name] for name in value if name != "timestamp"})
    return found


async def test_a_chat_gets_what_pydantic_ai_encodes(visitor, ana, agent):
    from pydantic_ai.ui.vercel_ai import VercelAIAdapter
    from pydantic_ai.ui.vercel_ai.request_types import SubmitMessage, TextUIPart, UIMessage

    message = UIMessage(id="m", role="user", parts=[TextUIPart(text="Hello?")])
    asked = SubmitMessage(trigger="submit-message", id="c", messages=[message])
    run, encoded = await relayed(ana, VercelAIAdapter(agent=agent, run_input=asked), "c")
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert found[0] == {"type": "start", "messageId": run.id}
    assert joined(found, "text-delta")[1:] == joined(encoded, "text-delta")[1:]
    texts = [chunk.value for chunk in await runs.aread(run) if chunk.is_text]
    assert "".join(texts) == "Hello dear world"


async def test_an_agent_gets_what_pydantic_ai_encodes(visitor, ana, agent):
    from ag_ui.core import RunAgentInput, UserMessage
    from pydantic_ai.ui.ag_ui import AGUIAdapter

    message = UserMessage(id="m", role="user", content="Hello?")
    asked = RunAgentInput(
        thread_id="t",
        run_id="r",
        messages=[message],
        tools=[],
        context=[],
        state={},
        forwarded_props={},
    )
    run, encoded = await relayed(ana, AGUIAdapter(agent=agent, run_input=asked), "t")
    found = (await visitor.get(f"/events/runs/{run.id}/ag-ui/")).values
    kind = "TEXT_MESSAGE_CONTENT"
    assert joined(found, kind) == joined(encoded, kind)
