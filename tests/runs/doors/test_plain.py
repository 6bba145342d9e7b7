"""The plain door: state, chunks, progress and end; 204 after it."""

import json

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django import log, notifier, runs
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.entry import Entry
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs import output
from eric_sse_django.runs.doors.plain import Plain
from eric_sse_django.runs.models import Run


def events_of(response):
    return [(each.type, json.loads(each.data)) for each in response.events]


async def test_a_run_is_sent_from_its_beginning_and_ends(visitor, produced):
    run = await produced("one ", "two ", {"a": 1})
    response = await visitor.get(f"/events/runs/{run.id}/")
    assert response.status == 200
    events = events_of(response)
    assert [type for type, _ in events] == ["run", "run-chunk", "run-chunk", "run-finished"]
    assert events[0][1]["status"] == "finished"
    assert events[1][1]["text"] == "one two "
    last = response.events[-1].last_event_id
    assert (await visitor.get(f"/events/runs/{run.id}/", last_event_id=last)).status == 204
    before = response.events[-2].last_event_id
    rest = await visitor.get(f"/events/runs/{run.id}/", last_event_id=before)
    assert [type for type, _ in events_of(rest)] == ["run", "run-finished"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [(0, "onetwothree"), (3, [1, 2])]),
        (1, [(1, "twothree"), (3, [1, 2])]),
        (2, [(2, "three"), (3, [1, 2])]),
        (4, [(4, [2])]),
        (9, []),
    ],
)
async def test_it_begins_at_an_index_within_a_message(visitor, produced, index, expected):
    run = await produced("one", "two", "three", 1, 2)
    response = await visitor.get(f"/events/runs/{run.id}/?index={index}")
    chunks = [data for type, data in events_of(response) if type == "run-chunk"]
    found = [(each["i"], each["data"] if "data" in each else each["text"]) for each in chunks]
    assert found == expected


async def test_what_is_written_later_comes_live_and_the_stream_ends(visitor, ana, call):
    run = await call(runs.start, ana)
    async with visitor.open(f"/events/runs/{run.id}/") as response:
        assert (await response.event()).type == "run"
        async with runs.aproduce(run) as out:
            out.write("now")
            await out.flush()
            assert json.loads((await response.event()).data)["text"] == "now"
            out.progress(1, 2, "half")
            out.result = 7
        assert (await response.event()).type == "run-progress"
        assert json.loads((await response.event()).data) == {"result": 7}
        await response.end()


async def test_progress_does_not_go_back_for_a_client_that_attaches(visitor, ana, monkeypatch):
    monkeypatch.setattr(output, "PROGRESS_S", 0)
    run = await runs.astart(owner=ana)
    path = f"/events/runs/{run.id}/"
    async with runs.aproduce(run) as out, visitor.open(path) as first:
        assert (await first.event()).type == "run"
        for done in (1, 2):
            out.progress(done, 3)
            await out.flush()
            assert json.loads((await first.event()).data)["done"] == done
        async with visitor.open(path) as second:
            assert json.loads((await second.event()).data)["progress"]["done"] == 2
            out.progress(3, 3)
            await out.flush()
            found = await second.event()
            assert (found.type, json.loads(found.data)["done"]) == ("run-progress", 3)


async def test_others_do_not_get_it_nor_learn_that_it_exists(visitor, produced):
    run = await produced("secret")
    visitor.cookie = None
    refused = await visitor.get(f"/events/runs/{run.id}/")
    unknown = await visitor.get("/events/runs/00000000-0000-4000-8000-000000000000/")
    assert (refused.status, refused.body) == (unknown.status, unknown.body)
    assert refused.status == 403


async def test_a_lost_run_is_continued_on_the_same_stream(visitor, ana, call):
    run = await call(runs.start, ana)
    with pytest.raises(KeyboardInterrupt):
        await call(_produce_and_die, run, "a")
    async with visitor.open(f"/events/runs/{run.id}/") as response:
        for type in ("run", "run-chunk", "run-lost"):
            assert (await response.event()).type == type
        run = await call(runs.get, run.id)
        async with runs.aproduce(run) as out:
            out.write("b")
        for type in ("run-chunk", "run-finished"):
            assert (await response.event()).type == type
        await response.end()


async def test_a_run_whose_producer_is_gone_is_lost_for_a_client_that_attaches(visitor, ana, call):
    run = await call(runs.start, ana)
    async with runs.aproduce(run) as out:
        out.write("half")
        await out.flush()
        await Run.objects.filter(pk=run.pk).aupdate(lease_until=1)
        async with visitor.open(f"/events/runs/{run.id}/") as response:
            assert json.loads((await response.event()).data)["status"] == "lost"
            for type in ("run-chunk", "run-lost"):
                assert (await response.event()).type == type


def _produce_and_die(run, text):
    with runs.produce(run) as out:
        out.write(text)
        raise KeyboardInterrupt


async def test_the_end_of_a_run_whose_messages_expired_is_sent_from_its_row(visitor, produced):
    run = await produced("gone", result=3)
    await sync_to_async(QueuedMessage.objects.filter(listener=run.pk).delete)()
    response = await visitor.get(f"/events/runs/{run.id}/")
    assert events_of(response)[-1] == ("run-finished", {"result": 3})
    assert response.complete


async def test_head_and_a_wrong_path(visitor, produced):
    run = await produced("a")
    async with visitor.open(f"/events/runs/{run.id}/", "HEAD") as response:
        await response.end()
    assert (response.status, response.body) == (200, b"")
    assert (await visitor.get(f"/events/runs/{run.id}/no-door/")).status == 404
    assert (await visitor.get(f"/events/runs/{run.id}")).status == 404


async def test_a_listener_of_the_channel_that_is_no_run_is_served_as_any_other(visitor, ana, call):
    from eric_sse_django.shortcuts import listen, publish

    await call(runs.start, ana)
    listener = await call(listen, "runs", ana)
    async with visitor.open(f"/events/runs/{listener.id}/") as response:
        await response.more()
        await call(publish, "runs", "hello", 1)
        assert (await response.event()).type == "hello"


async def test_a_run_that_was_removed_ends_its_streams(visitor, ana, call):
    run = await call(runs.start, ana)
    async with visitor.open(f"/events/runs/{run.id}/") as response:
        await response.event()
        await sync_to_async((await Run.objects.aget(pk=run.pk)).listener.delete)()
        await call(notifier.flush)
        await response.end()
    assert (await visitor.get(f"/events/runs/{run.id}/")).status == 403


@pytest.mark.parametrize("index", ["", "?index=1"])
def test_several_entries_at_once_have_the_bytes_of_each(index):
    scope = {"method": "GET", "path": "/", "query_string": index[1:].encode(), "headers": []}
    request = StreamRequest({"type": "http", **scope})
    one, all_at_once = Plain(Run(), request), Plain(Run(), request)
    entries = [
        Entry(1, 7, 3, None, "run-chunk", '{"i":0,"n":2,"text":"a\\u00e9b","l":[2,1]}'),
        Entry(2, 7, 3, None, "run-progress", '{"done":1,"total":2,"text":""}'),
        Entry(3, 7, 3, None, "run-finished", '{"result":null}'),
        Entry(4, 7, 3, None, "later", "1"),
    ]
    assert all_at_once.joined(entries) == b"".join(map(one, entries))
    assert all_at_once.over_at == one.over_at == 3


async def test_a_run_of_many_messages_is_read_by_full_pages(visitor, ana, call, monkeypatch):
    run = await call(runs.start, ana)
    async with runs.aproduce(run) as out:
        for number in range(70):
            out.write(str(number))
            await out.flush()
    await sync_to_async(notifier.flush)()  # on MariaDB they get their positions later
    pages, original = [], log.DATABASE.read

    def read(recipients, upto, limit):
        page = original(recipients, upto, limit)
        pages.append(len(page))
        return page

    monkeypatch.setattr(log.DATABASE, "read", read)
    response = await visitor.get(f"/events/runs/{run.id}/")
    assert sum(type == "run-chunk" for type, _ in events_of(response)) == 70
    assert pages == [71]
