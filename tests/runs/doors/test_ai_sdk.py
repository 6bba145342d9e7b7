"""The doors of the AI SDK: what its transports get for each run."""

import asyncio
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from eric_sse_django import runs
from eric_sse_django.hub import Hub
from eric_sse_django.runs.doors import consumer, handing_over, ui_message
from tests.databases import sqlite_only

# What a door writes does not depend on the database: test_plain has all.
pytestmark = sqlite_only

START = {"type": "start"}


async def test_a_post_is_answered_with_the_runs_events(visitor, call):
    async with visitor.open("/api/chat", "POST", {"id": "c1", "messages": []}) as response:
        assert response.status == 200
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "location" not in response.headers
        (run,) = [each async for each in runs.Run.objects.filter(thread="c1")]
        async with runs.aproduce(run) as out:
            out.write("Hello ")
            await out.flush()
            assert await response.until(3) == [
                {"type": "start", "messageId": run.id},
                {"type": "text-start", "id": "text"},
                {"type": "text-delta", "id": "text", "delta": "Hello "},
            ]
            out.progress(1, 2)
            out.write("world")
        await response.end()
    assert (
        response.values[3:]
        == [
            {
                "type": "data-progress",
                "data": {"done": 1, "total": 2, "text": ""},
                "transient": True,
            },
            {"type": "text-delta", "id": "text", "delta": "world"},
            {"type": "text-end", "id": "text"},
            {"type": "finish"},
        ]
        or response.values[3]["type"] == "text-delta"
    )
    assert b"\n\ndata: [DONE]\n\n" in response.body


async def test_a_chat_resumes_from_the_first_chunk_while_it_is_active(visitor, ana, call):
    assert (await visitor.get("/api/chat/c1/stream")).status == 204
    run = await call(lambda: runs.start(ana, thread="c1"))
    async with runs.aproduce(run) as out:
        out.write("a")
        await out.flush()
        async with visitor.open("/api/chat/c1/stream") as response:
            assert (await response.until(3))[0] == {"type": "start", "messageId": run.id}
    assert (await visitor.get("/api/chat/c1/stream")).status == 204
    ended = await visitor.get(f"/api/chat/c1/stream?run={run.id}")
    assert [each["type"] for each in ended.values] == [
        *("start", "text-start", "text-delta", "text-end", "finish")
    ]
    visitor.cookie = None
    assert (await visitor.get(f"/api/chat/c1/stream?run={run.id}")).status == 204


async def test_runs_of_others_with_the_same_thread_hide_none(visitor, ana, call, monkeypatch):
    """As in a project that names the chat of each user `main`."""
    monkeypatch.setattr(handing_over, "MAX_RUNS", 2)
    await call(lambda: runs.start(ana, thread="main"))
    mine = await call(lambda: runs.start(ana, thread="main"))
    for _ in range(2):
        await call(lambda: runs.start(thread="main"))
    async with visitor.open("/api/chat/main/stream") as response:
        assert response.status == 200
        async with runs.aproduce(mine) as out:
            out.write("mine")
        await response.end()
    assert response.values[0]["messageId"] == mine.id


async def test_chunks_of_the_protocol_pass_as_they_are(visitor, produced):
    chunks = [
        {"type": "start", "messageMetadata": {"model": "m"}},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "Hm"},
        {"type": "reasoning-end", "id": "r"},
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "find", "input": {}},
        {"type": "tool-output-available", "toolCallId": "t", "output": [1]},
        {"type": "data-weather", "data": 3},
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "ß\u2028\x00"},
        {"type": "text-end", "id": "1"},
        {"type": "finish", "finishReason": "stop"},
    ]
    run = await produced(*chunks, thread="c")
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert found == [{**chunks[0], "messageId": run.id}, *chunks[1:]]


async def test_other_values_are_data(visitor, produced):
    run = await produced({"type": "mine"}, [1], thread="c")
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert found[1:3] == [
        {"type": "data-value", "data": {"type": "mine"}},
        {"type": "data-value", "data": [1]},
    ]


async def test_a_failed_run_shows_no_secret_and_closes_its_parts(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="c"))

    async def produce():
        async with runs.aproduce(run) as out:
            out.send({"type": "reasoning-start", "id": "r"})
            out.write("a")
            raise ValueError("a secret")

    with pytest.raises(ValueError, match="secret"):
        await produce()
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert found[-4:] == [
        {"type": "text-end", "id": "text"},
        {"type": "reasoning-end", "id": "r"},
        {"type": "error", "errorText": "The run failed."},
        {"type": "finish"},
    ]


async def test_a_stop_is_for_the_run_that_it_names(visitor, ana, call):
    old = await call(lambda: runs.start(ana, thread="c"))
    assert (await visitor.post("/api/chat/c/stop", {"run": old.id})).json == {"stopped": True}
    new = await call(lambda: runs.start(ana, thread="c"))
    assert (await visitor.post("/api/chat/c/stop", {"run": old.id})).json == {"stopped": False}
    assert (await visitor.post("/api/chat/c/stop", {})).status == 400
    assert (await visitor.post("/api/chat/other/stop", {"run": new.id})).status == 404
    async with visitor.open("/api/chat/c/stream") as response:
        async with runs.aproduce(new) as out:
            out.write("a")
            await out.flush()
            assert (await visitor.post("/api/chat/c/stop", {"run": new.id})).json["stopped"]
            await asyncio.wait_for(out.stopped(), 5)
            out.write("never")
        await response.end()
    assert [each["type"] for each in response.values][-3:] == ["text-end", "abort", "finish"]
    visitor.cookie = None
    assert (await visitor.post("/api/chat/c/stop", {"run": new.id})).status == 404


# Lost runs ----------------------------------------------------------------------------------


def produce_and_die(run, *words):
    with runs.produce(run) as out:
        for word in words:
            out.write(word)
        raise KeyboardInterrupt


async def die(call, run, *words):
    with pytest.raises(KeyboardInterrupt):
        await call(produce_and_die, run, *words)


ERROR = [
    {"type": "text-end", "id": "text"},
    {"type": "error", "errorText": "The answer was interrupted."},
    {"type": "finish"},
]


async def test_a_stream_waits_for_another_producer_of_a_lost_run_and_then_ends(
    visitor, ana, call, monkeypatch
):
    monkeypatch.setattr(consumer, "LOST_WAIT_S", 0.3)
    run = await call(lambda: runs.start(ana, thread="c"))
    async with visitor.open("/api/chat/c/stream") as response:
        await die(call, run, "half")
        await response.until(3)
        began = time.monotonic()
        await response.end()
        assert time.monotonic() - began > 0.2
    assert response.values[3:] == ERROR
    assert b"data: [DONE]" in response.body


async def test_a_stream_of_a_run_that_was_lost_long_ago_ends_at_once(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="c"))
    await die(call, run, "half")
    await runs.Run.objects.filter(pk=run.pk).aupdate(ended_at=timezone.now() - timedelta(hours=1))
    response = await visitor.get(f"/api/chat/c/stream?run={run.id}")
    assert response.values[3:] == ERROR
    assert (await visitor.get("/api/chat/c/stream")).status == 204


async def test_a_lost_run_that_another_producer_has_does_not_end_its_streams(
    visitor, ana, call, monkeypatch
):
    monkeypatch.setattr(consumer, "LOST_WAIT_S", 0.1)
    run = await call(lambda: runs.start(ana, thread="c"))
    async with visitor.open("/api/chat/c/stream") as response:
        await die(call, run, "one ")
        await response.until(3)
        async with runs.aproduce(await call(runs.get, run.id)) as out:
            # Its producer has written nothing yet when the wait is over.
            doors = [each._sender._encode for each in Hub.for_running_loop().streams]
            while any(door.lost for door in doors):
                await asyncio.sleep(0.01)
            out.write("two")
        await response.end()
    types = [each["type"] for each in response.values]
    assert types == ["start", "text-start", "text-delta", "text-delta", "text-end", "finish"]


VALUES = ["one ", "two ", {"type": "data-x", "data": 1}, "three", {"type": "file", "url": "u"}]


# test_translation has many more, without requests.
@pytest.mark.parametrize("values", [VALUES, []])
async def test_every_start_index_gives_what_follows(visitor, produced, values):
    run = await produced(*values)
    path = f"/api/workflow/{run.id}/stream"
    whole = await visitor.get(path)
    assert whole.headers["x-workflow-run-id"] == run.id
    assert [each["type"] for each in whole.values].count("finish") == 1
    for index in range(1, len(whole.values) + 2):
        found = await visitor.get(f"{path}?startIndex={index}")
        assert found.values == whole.values[index:]
        last = await visitor.get(f"{path}?startIndex=-{index}")
        assert last.values == whole.values[-index:]
        assert last.headers["x-workflow-stream-tail-index"] == str(len(whole.values) - 1)


async def test_a_start_index_counts_what_there_is_so_far(visitor, ana, call):
    run = await call(runs.start, ana)
    async with runs.aproduce(run) as out:
        for word in "abcdef":
            out.write(word)
        await out.flush()
        path = f"/api/workflow/{run.id}/stream?startIndex=-2"
        async with visitor.open(path) as response:
            assert response.headers["x-workflow-stream-tail-index"] == "7"
            found = await response.until(2)
    assert [each["delta"] for each in found] == ["e", "f"]


async def test_an_unknown_run_is_not_found(visitor, produced):
    run = await produced("a")
    assert (await visitor.get("/api/workflow/nothing/stream")).status == 404
    visitor.cookie = None
    assert (await visitor.get(f"/api/workflow/{run.id}/stream")).status == 404


# Producing a message -----------------------------------------------------------------------


def write_message(run):
    with ui_message.produce(run) as out:
        out.start_step()
        out.reasoning("Hm")
        out.reasoning(".")
        out.text("I ")
        out.text("look.")
        out.tool_input_delta("c", "find", '{"q":')
        out.tool_input_delta("c", "find", "1}")
        out.tool_input("c", "find", {"q": 1})
        out.tool_output("c", [2])
        out.tool_error("d", "No such tool.")
        out.finish_step()
        out.text("Found.")
        out.source("https://example.com/", "Example")
        out.data("weather", 3, id="w")
        out.result = 1


async def test_a_message_is_written_in_parts_and_its_text_as_text(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="c"))
    await call(write_message, run)
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert [each["type"] for each in found] == [
        *("start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-delta"),
        *("reasoning-end", "text-start", "text-delta", "text-end", "tool-input-start"),
        *("tool-input-delta", "tool-input-delta", "tool-input-available"),
        *(
            "tool-output-available",
            "tool-output-error",
            "finish-step",
            "text-start",
            "text-delta",
            "source-url",
        ),
        *("data-weather", "text-end", "finish"),
    ]
    deltas = [(each["id"], each["delta"]) for each in found if each["type"] == "text-delta"]
    assert [delta for _, delta in deltas] == ["I look.", "Found."]
    assert [part_id for part_id, _ in deltas] == [
        each["id"] for each in found if each["type"] == "text-start"
    ]
    texts = [chunk.value for chunk in await runs.aread(run) if chunk.is_text]
    assert texts == ["I ", "look.", "Found."]
    # Each index of the other transport, too, whose texts are not joined.
    whole = (await visitor.get(f"/api/workflow/{run.id}/stream")).values
    for index in range(len(whole)):
        part = await visitor.get(f"/api/workflow/{run.id}/stream?startIndex={index}")
        assert part.values == whole[index:]


async def test_a_producer_that_continues_a_message_continues_its_parts(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="c"))

    def produce_and_die():
        with ui_message.produce(run) as out:
            out.text("one ")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await call(produce_and_die)
    run = await call(runs.get, run.id)
    async with ui_message.aproduce(run) as out:
        out.text("two")
        out.data("x", 1)
        await out.flush()
    found = (await visitor.get(f"/api/chat/c/stream?run={run.id}")).values
    assert [each["type"] for each in found] == [
        *("start", "text-start", "text-delta", "text-delta", "data-x", "text-end", "finish")
    ]
