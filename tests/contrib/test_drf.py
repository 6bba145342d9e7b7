"""Django REST framework: rules as permissions, a viewset of channels, events as a format."""

import asyncio
import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from eric_sse_django.authorization import Authorizer
from eric_sse_django.contrib.drf.permissions import MayListen, MayPublish, MayWatch
from eric_sse_django.contrib.drf.renderers import EventStreamRenderer
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.shortcuts import listen, publish
from tests.databases import sqlite_rolled_back
from tests.sse import SSEReader

pytestmark = sqlite_rolled_back


class SlowRules(Authorizer):
    async def can_watch(self, user, channel):
        await asyncio.sleep(60)
        return True


class GroupRules(Authorizer):
    async def can_watch(self, user, channel):
        return user.get_username() == channel.name


@pytest.fixture(autouse=True)
def site(settings, database):
    settings.ROOT_URLCONF = "tests.contrib.urls"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    settings.ALLOWED_HOSTS = ["testserver"]
    DatabaseChannel.create("orders", access="users")


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def client(ada):
    made = APIClient()
    made.force_login(ada)
    return made


def events(response):
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    return SSEReader().feed(response.content)


def test_a_channel_that_may_be_watched_is_shown(client):
    response = client.get("/api/channels/orders/")
    assert response.status_code == 200
    assert response.json()["id"] == "orders"


def test_unknown_and_forbidden_channels_have_the_same_answer(client):
    DatabaseChannel.create("secret")
    unknown, forbidden = (client.get(f"/api/channels/{each}/") for each in ("no", "secret"))
    assert unknown.status_code == forbidden.status_code == 404
    assert unknown.json() == forbidden.json()
    client.logout()
    unknown, forbidden = (client.get(f"/api/channels/{each}/") for each in ("no", "secret"))
    assert unknown.status_code == forbidden.status_code == 403
    assert unknown.json() == forbidden.json()


def test_the_rules_of_the_project_decide_also_coroutines(settings, client):
    settings.ERIC_SSE = {"AUTHORIZER": "tests.contrib.test_drf.GroupRules"}
    DatabaseChannel.create("ada")
    assert client.get("/api/channels/ada/").status_code == 200
    assert client.get("/api/channels/orders/").status_code == 404


def test_a_rule_that_does_not_answer_is_503(settings, client):
    settings.ERIC_SSE = {
        "AUTHORIZER": "tests.contrib.test_drf.SlowRules",
        "HOOK_TIMEOUT_S": 0.05,
    }
    assert client.get("/api/channels/orders/").status_code == 503


def test_a_ticket_watches_the_channel(client):
    response = client.post("/api/channels/orders/ticket/", {"max_age_s": 60}, format="json")
    assert response.status_code == 201
    assert response.json()["url"].startswith("/events/orders/?ticket=")
    response = client.post("/api/channels/orders/ticket/", {"max_age_s": 10**6}, format="json")
    assert response.status_code == 400
    assert "max_age_s" in response.json()


def test_listening_returns_the_callers_listener_for_a_device(client, ada):
    first, again, other = (
        client.post("/api/channels/orders/listen/", {"device": device}, format="json")
        for device in ("phone", "phone", "laptop")
    )
    assert first.status_code == 201
    assert first.json()["listener"] == again.json()["listener"] != other.json()["listener"]
    row = listen("orders", ada, device="phone").row
    assert (row.name, row.owner_id) == (first.json()["listener"], ada.pk)
    client.logout()
    assert client.post("/api/channels/orders/listen/").status_code == 403


def test_a_full_channel_is_an_error_of_the_request(settings, client):
    settings.ERIC_SSE = {"MAX_LISTENERS_PER_CHANNEL": 1}
    listen("orders")
    response = client.post("/api/channels/orders/listen/", {"device": "phone"}, format="json")
    assert response.status_code == 400


def test_publishing_needs_the_permission_and_a_message(client, ada):
    message = {"type": "paid", "payload": {"id": 7}}
    path = "/api/channels/orders/publish/"
    assert client.post(path, message, format="json").status_code == 404
    ada.user_permissions.add(Permission.objects.get(codename="publish_channel"))
    listener = listen("orders")
    assert client.post(path, message, format="json").status_code == 202
    found = DatabaseChannel.load("orders").deliver_next(listener.id)
    assert (found.type, found.payload) == ("paid", {"id": 7})
    for bad in ({}, {"type": "eric-stop"}, {"type": "a\nb"}, {"type": "x", "expires_in_s": 0}):
        response = client.post(path, bad, format="json")
        assert response.status_code == 400, response.content


def test_a_queue_is_read_as_json_and_acknowledged_by_the_last_event_id(client, ada):
    listener = listen("orders", ada)
    path = f"/api/channels/orders/listeners/{listener.id}/messages/"
    for number in range(3):
        publish("orders", "number", number)
    found = client.get(path).json()
    assert [each["payload"] for each in found] == [0, 1, 2]
    left = client.get(path, headers={"Last-Event-ID": str(found[1]["position"])}).json()
    assert [each["payload"] for each in left] == [2]
    assert client.get(path, headers={"Last-Event-ID": "9" * 40}).status_code == 200
    assert [each["payload"] for each in client.get(path).json()] == [2]


@pytest.mark.parametrize("accepted", ["application/json", "text/html", "text/event-stream"])
def test_every_payload_that_was_published_can_be_read(client, ada, accepted):
    """File names that are not UTF-8 become halves of surrogate pairs: JSON has these."""
    listener = listen("orders", ada)
    publish("orders", "file", "\udcff")
    path = f"/api/channels/orders/listeners/{listener.id}/messages/"
    response = client.get(path, HTTP_ACCEPT=accepted)
    assert response.status_code == 200
    assert "\\udcff" in response.content.decode()


def test_an_event_source_reads_a_queue_as_events(client, ada):
    listener = listen("orders", ada)
    path = f"/api/channels/orders/listeners/{listener.id}/messages/"
    publish("orders", "paid", {"name": "a\nb", "id": 7})
    response = client.get(path, headers={"Accept": "text/event-stream"})
    [event] = events(response)
    assert (event.type, json.loads(event.data)) == ("paid", {"name": "a\nb", "id": 7})
    last = {"Accept": "text/event-stream", "Last-Event-ID": event.last_event_id}
    assert events(client.get(path, headers=last)) == []


def test_a_queue_of_another_user_is_not_found(client):
    other = listen("orders", get_user_model().objects.create_user("bob"))
    path = f"/api/channels/orders/listeners/{other.id}/messages/"
    response = client.get(path)
    assert response.status_code == 404
    error = client.get(path, headers={"Accept": "text/event-stream"})
    assert error.status_code == 404
    assert [event.type for event in events(error)] == ["error"]
    assert client.get("/api/channels/orders/listeners/no/messages/").status_code == 404


def test_the_renderer_forges_no_event():
    renderer = EventStreamRenderer()
    frames = renderer.render([{"type": "a", "payload": "x\n\nevent: b", "position": 1}])
    assert [event.type for event in SSEReader().feed(frames)] == ["a"]
    with pytest.raises(Exception, match="breaks the stream"):
        renderer.render([{"type": "a\nevent: b", "payload": 1, "position": 1}])


def test_each_page_of_the_browsable_api_opens(client, ada):
    ada.user_permissions.add(Permission.objects.get(codename="publish_channel"))
    listener = listen("orders", ada)
    publish("orders", "paid", "<script>")
    for path in ("", "ticket/", "listen/", "publish/", f"listeners/{listener.id}/messages/"):
        response = client.get(f"/api/channels/orders/{path}", headers={"Accept": "text/html"})
        assert response.status_code in (200, 405), path
        text = response.content.decode()
        assert "Django REST framework" in text
        assert "<script>&quot;" not in text
    form = client.post(
        "/api/channels/orders/publish/", {"type": "paid"}, headers={"Accept": "text/html"}
    )
    assert form.status_code == 202


def test_the_permissions_serve_views_of_a_project(rf, ada):
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class Prices(APIView):
        channel_id = "orders"
        permission_classes = [MayWatch]

        def get(self, request):
            return Response("prices")

    for rule, status in ((MayWatch, 200), (MayPublish, 404), (MayListen, 404)):
        request = rf.get("/")
        request.user = request._force_auth_user = ada
        view = Prices.as_view(permission_classes=[rule])
        assert view(request).status_code == status
