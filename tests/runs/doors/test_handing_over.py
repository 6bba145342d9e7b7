"""Views hand over to streams: within the process, or by a redirect where it serves none."""

import asyncio

import pytest
from django.core.checks import Tags, run_checks
from django.core.exceptions import BadRequest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseForbidden

from eric_sse_django import runs
from eric_sse_django.hub import End, Hub
from eric_sse_django.routing import with_streams
from eric_sse_django.runs.doors import ai_sdk
from eric_sse_django.runs.doors.handing_over import body_of, hand_over
from tests.databases import sqlite_only
from tests.runs.doors.client import Visitor

# What a door writes does not depend on the database: test_plain has all.
pytestmark = sqlite_only


async def test_without_streams_in_the_process_the_client_is_redirected(visitor, produced):
    run = await produced("a", thread="c")
    alone = Visitor(ASGIHandler(), visitor.cookie)
    response = await alone.get(f"/api/chat/c/stream?run={run.id}")
    assert (response.status, response.body) == (303, b"")
    assert response.headers["cache-control"] == "no-store"
    location = response.headers["location"]
    assert location.startswith(f"/events/runs/{run.id}/ai-sdk/?")
    # By its ticket, which is the session's: no other request has the door's access.
    assert (await visitor.get(location)).values[-1] == {"type": "finish"}


async def test_the_views_headers_are_the_streams(visitor, produced, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.runs.doors.test_handing_over.middleware"]
    run = await produced("a", thread="c")
    visitor.application = with_streams(ASGIHandler())
    response = await visitor.get(f"/api/chat/c/stream?run={run.id}")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    cookies = [value for name, value in response.sent if name == b"set-cookie"]
    assert any(value.startswith(b"seen=1") for value in cookies)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "x-eric-stream" not in response.headers


def middleware(get_response):
    def answer(request):
        response = get_response(request)
        response["Access-Control-Allow-Origin"] = "https://app.example"
        response.set_cookie("seen", "1")
        return response

    return answer


async def test_below_a_script_name(visitor, produced, settings):
    settings.FORCE_SCRIPT_NAME = "/site"
    run = await produced("a", thread="c")
    response = await visitor.get(f"/site/api/chat/c/stream?run={run.id}")
    assert response.values[-1] == {"type": "finish"}


async def test_a_page_of_another_origin_is_refused_by_the_plain_door_alone(visitor, produced):
    """The view has checked its request, as its CSRF middleware does."""
    run = await produced("a", thread="c")
    foreign = {"origin": "https://other.example"}
    assert (await visitor.get(f"/events/runs/{run.id}/", **foreign)).status == 403
    assert (await visitor.get(f"/api/chat/c/stream?run={run.id}", **foreign)).status == 200


async def test_a_function_that_starts_runs_may_be_a_coroutine_or_refuse(database, ana, rf, call):
    async def start(request, body):
        return await runs.astart(ana)

    def refuse(request, body):
        return HttpResponseForbidden()

    for function, status in ((start, 303), (refuse, 403)):
        view = ai_sdk.urls(function)[0][0].callback
        request = rf.post("/", "{}", content_type="application/json")
        assert (await call(view, request)).status_code == status
        assert (await call(view, rf.get("/"))).status_code == 405


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b"[]", b"{", b'{"n": NaN}', b'{"n": 1e999}', b"\xff\xfe\x00{"]
)
def test_a_body_that_is_no_json_object_is_refused(database, rf, body):
    with pytest.raises(BadRequest):
        body_of(rf.post("/", body, content_type="application/json"))


def test_routes_of_doors_are_no_warnings(database, settings):
    settings.ROOT_URLCONF = "tests.runs.doors.site"
    assert not run_checks(tags=[Tags.urls])


async def test_a_ticket_of_a_session_ends_with_it(visitor, ana, call):
    run = await call(lambda: runs.start(ana, thread="c"))
    async with visitor.open("/api/chat/c/stream") as response:
        hub = Hub.for_running_loop()
        await until(lambda: len(hub.streams) == 1)
        (stream,) = hub.streams
        from eric_sse_django.authorization import arevoke

        await arevoke(user=ana)
        await until(lambda: stream.reason is not None)
        assert stream.reason is End.REVOKED
        await response._communicator.wait(5)
    assert not response.complete
    assert run.thread == "c"


async def until(condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 5)


# An incomplete stream ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_complete"),
    [
        ("/events/runs/{run}/", True),
        ("/api/workflow/{run}/stream", True),
        ("/api/chat/c/stream", False),
        ("/events/runs/{run}/ag-ui/", False),
    ],
)
async def test_a_client_that_takes_an_end_for_the_runs_is_cut(
    visitor, ana, call, path, is_complete
):
    run = await call(lambda: runs.start(ana, thread="c"))
    async with runs.aproduce(run) as out:
        out.write("a")
        await out.flush()
        async with visitor.open(path.format(run=run.id)) as response:
            while b'"a"' not in response.body:
                await response.more()
            (stream,) = Hub.for_running_loop().streams
            stream.end(End.AGE)
            if is_complete:
                await response.end()
            else:
                await response._communicator.wait(5)
            assert response.complete is is_complete
            assert b"finish" not in response.body


async def test_a_client_that_does_not_reconnect_is_asked_to_by_the_status(
    visitor, produced, settings
):
    run = await produced("a", thread="c")
    settings.ERIC_SSE = {**settings.ERIC_SSE, "MAX_STREAMS": 1}
    other = await runs.astart(run.owner_id)
    async with visitor.open(f"/events/runs/{other.id}/") as response:
        await response.more()
        refused = await visitor.get(f"/api/chat/c/stream?run={run.id}")
        assert (refused.status, refused.body) == (503, b"")
        assert int(refused.headers["retry-after"]) > 0
        plain = await visitor.get(f"/events/runs/{run.id}/")
        assert plain.status == 200
        assert plain.body.startswith(b"retry: ")


def test_a_redirect_has_what_the_door_needs(database, ana, rf):
    run = runs.start(ana)
    request: HttpRequest = rf.get("/")
    found = hand_over(request, run, "workflow", startIndex=3)
    assert "/workflow/?startIndex=3&ticket=" in found["Location"]


async def test_a_router_of_the_projects_own_serves_the_doors(visitor, produced):
    from channels.routing import URLRouter
    from django.urls import path

    from eric_sse_django import routing

    application = URLRouter([path("events/", URLRouter(routing.urlpatterns))])
    routed = Visitor(application, visitor.cookie)
    run = await produced("a")
    for door in ("", "ai-sdk/", "ag-ui/", "workflow/"):
        response = await routed.get(f"/events/runs/{run.id}/{door}")
        assert response.status == 200
        assert b'"a"' in response.body
    assert (await routed.get(f"/events/runs/{run.id}/no-door/")).status == 404
