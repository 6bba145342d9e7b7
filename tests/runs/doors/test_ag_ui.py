"""The doors of AG-UI, and of CopilotKit's runtime: what their clients get for each run."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore

from eric_sse_django import runs
from eric_sse_django.runs.doors import ag_ui
from tests.databases import sqlite_only

# What a door writes does not depend on the database: test_plain has all.
pytestmark = sqlite_only

INPUT = {
    "threadId": "t",
    "runId": "r1",
    "messages": [{"id": "m1", "role": "user", "content": "Why?"}],
    "tools": [],
    "context": [],
    "state": {},
    "forwardedProps": {},
}


async def answered(visitor, run_id, *values, thread="t", path="/api/agent", messages=None):
    """Return the events that a POST gets for a run which writes these values."""
    body = {**INPUT, "runId": run_id, "threadId": thread}
    body["messages"] = INPUT["messages"] if messages is None else messages
    async with visitor.open(path, "POST", body) as response:
        assert response.status == 200
        found = runs.Run.objects.filter(thread=thread).order_by("-created_at", "-pk")
        async with runs.aproduce(await found.afirst()) as out:
            for value in values:
                out.write(value) if isinstance(value, str) else out.send(value)
            out.result = {"n": 1}
        await response.end()
        return response.values


async def test_text_is_one_message_of_a_run(visitor):
    found = await answered(visitor, "r1", "Because ", "so.")
    message_id = found[1]["messageId"]
    assert found[0]["type"] == "RUN_STARTED"
    assert (found[0]["threadId"], found[0]["runId"]) == ("t", "r1")
    assert found[0]["input"] == INPUT
    assert found[1:] == [
        {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"},
        *(each for each in found[2:-2]),
        {"type": "TEXT_MESSAGE_END", "messageId": message_id},
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1", "result": {"n": 1}},
    ]
    assert "".join(each["delta"] for each in found[2:-2]) == "Because so."


async def test_events_of_the_protocol_pass_as_they_are(visitor):
    events = [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r1"},
        {"type": "STEP_STARTED", "stepName": "s"},
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "find"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {"type": "STEP_FINISHED", "stepName": "s"},
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"},
    ]
    assert await answered(visitor, "r1", *events) == events


async def test_what_a_stopped_run_left_open_is_closed(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="t"))
    async with visitor.open("/api/copilotkit/agent/default/connect", "POST", INPUT) as response:
        async with runs.aproduce(run) as out:
            out.send({"type": "STEP_STARTED", "stepName": "s"})
            out.send({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "find"})
            out.write("half")
            await out.flush()
            stopped = await visitor.post("/api/copilotkit/agent/default/stop/t")
            assert stopped.json["stopped"] is True
            await out.stopped()
            # Its producer ends it quietly once it writes.
            out.write("more")
        await response.end()
    types = [each["type"] for each in response.values]
    assert types[-4:] == ["TEXT_MESSAGE_END", "TOOL_CALL_END", "STEP_FINISHED", "RUN_FINISHED"]


async def test_a_failed_run_is_an_error(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="t"))
    with pytest.raises(runs.RunFailed):
        async with runs.aproduce(run):
            raise runs.RunFailed("No credit.")
    found = (await visitor.post("/api/copilotkit/agent/default/connect", INPUT)).values
    assert found[-1] == {"type": "RUN_ERROR", "message": "No credit."}


async def test_connect_gives_the_thread_so_far_with_deltas_joined_and_then_what_comes(visitor):
    await answered(visitor, "r1", "one ", "two")
    more = [*INPUT["messages"], {"id": "m2", "role": "user", "content": "And?"}]
    body = {**INPUT, "runId": "r2", "messages": more}
    async with visitor.open("/api/copilotkit/agent/default/run", "POST", body):
        run = await runs.Run.objects.aget(status="waiting")
        async with runs.aproduce(run) as out:
            out.write("three ")
            await out.flush()
            async with visitor.open(
                "/api/copilotkit/agent/default/connect", "POST", INPUT
            ) as response:
                await response.until(8)
                out.write("four")
                await out.flush()
                await response.until(9)
        await_end = response
    found = await_end.values
    deltas = [each["delta"] for each in found if each["type"] == "TEXT_MESSAGE_CONTENT"]
    assert deltas == ["one two", "three ", "four"]
    starts = [each for each in found if each["type"] == "RUN_STARTED"]
    assert [each["runId"] for each in starts] == ["r1", "r2"]
    # Each message of the user once: with the run that it began.
    assert [[m["id"] for m in each["input"]["messages"]] for each in starts] == [["m1"], ["m2"]]


async def test_the_thread_of_another_user_is_empty(visitor):
    await answered(visitor, "r1", "secret")
    visitor.cookie = None
    response = await visitor.post("/api/copilotkit/agent/default/connect", INPUT)
    assert (response.status, response.body) == (200, b"")
    stopped = await visitor.post("/api/copilotkit/agent/default/stop/t")
    assert stopped.json["stopped"] is False


async def test_the_same_ids_are_the_same_run_for_the_same_visitor_only(database, ana, rf, call):
    def started(user, session_key):
        request = rf.post("/")
        request.user, request.session = user, SessionStore(session_key)
        return ag_ui.start(request, {"threadId": "t", "runId": "r"}).id

    ids = {}
    visitors = (ana, "a" * 32), (AnonymousUser(), "b" * 32), (AnonymousUser(), "c" * 32)
    for user, key in visitors:
        ids[key] = await call(started, user, key)
        assert await call(started, user, key) == ids[key]
    assert len(set(ids.values())) == 3
    none = [await call(started, AnonymousUser(), None) for _ in range(2)]
    assert none[0] != none[1]


async def test_the_history_cannot_be_asked_for_by_the_address(visitor, produced, ana, call):
    await produced("of another thread", thread="other")
    run = await call(lambda: runs.start(ana, thread="t"))
    others = [each.pk async for each in runs.Run.objects.filter(thread="other")]
    async with runs.aproduce(run) as out:
        out.write("mine")
    response = await visitor.get(f"/events/runs/{run.id}/ag-ui/?before={others[0]}")
    assert b"another thread" not in response.body


async def test_copilotkits_info_and_its_transport_with_one_url(visitor):
    info = await visitor.get("/api/copilotkit/info")
    assert info.json["agents"] == {
        "default": {"name": "default", "description": "Answers.", "className": "DjangoAgent"}
    }
    assert (await visitor.post("/api/copilotkit", {"method": "info"})).json == info.json
    await answered(visitor, "r1", "a")
    params = {"agentId": "default"}
    body = {"method": "agent/connect", "params": params, "body": INPUT}
    assert (await visitor.post("/api/copilotkit", body)).values[0]["type"] == "RUN_STARTED"
    stop = {"method": "agent/stop", "params": {**params, "threadId": "t"}}
    assert (await visitor.post("/api/copilotkit", stop)).json["stopped"] is False
    assert (await visitor.post("/api/copilotkit", {"method": "other"})).status == 400
    assert (await visitor.post("/api/copilotkit/agent/nobody/run", INPUT)).status == 404


async def test_a_body_that_is_no_input_is_refused(visitor):
    long, half = "t" * 256, "\ud800"
    wrong = [{"threadId": each} for each in (1, "", long, half, "\0")] + [{"messages": "m"}]
    for body in ({}, *({**INPUT, **each} for each in wrong)):
        assert (await visitor.post("/api/agent", body)).status == 400
    assert not await runs.Run.objects.aexists()


async def test_an_envelope_of_other_types_is_refused(visitor):
    run = {"method": "agent/run", "params": {"agentId": "default"}}
    for body in ({**run, "params": [1]}, {**run, "body": "x"}, {**run, "body": [1]}):
        assert (await visitor.post("/api/copilotkit", body)).status == 400
    for thread in ("\0", "\ud800", "t" * 256):
        path = "/api/copilotkit/agent/default/connect"
        assert (await visitor.post(path, {"threadId": thread})).body == b""
