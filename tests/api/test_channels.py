"""Channels over HTTP."""

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Channel
from tests.api.conftest import api_of, problem, user_with

pytestmark = pytest.mark.django_db


def test_a_channel_is_created_with_the_given_values(root):
    settings = {"format": "text", "access": "users", "retention_s": 60, "expires_in_s": 5}
    body = {"id": "orders", **settings}
    answer = root.post("channels", body)
    assert answer.status_code == 201
    assert {**answer.json(), "created_at": None} == {**body, "created_at": None}
    assert Channel.objects.get().access == "users"


def test_a_channel_without_an_id_gets_one(root):
    assert len(root.post("channels", {}).json()["id"]) == 36


def test_an_existing_id_is_a_conflict(root, orders):
    problem(root.post("channels", {"id": "orders"}), 409, "body.id")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"id": "a/b"}, "body.id"),
        ({"id": ""}, "body.id"),
        ({"id": 7}, "body.id"),
        ({"id": "\0"}, "body.id"),
        ({"id": "x" * 129}, "body.id"),
        ({"format": "xml"}, "body.format"),
        ({"access": "nobody"}, "body.access"),
        ({"retention_s": 59}, "body.retention_s"),
        ({"retention_s": 10**30}, "body.retention_s"),
        ({"retention_s": "60"}, "body.retention_s"),
        ({"expires_in_s": 0}, "body.expires_in_s"),
        ({"expires_in_s": 0.5}, "body.expires_in_s"),
        ({"expires_in_s": 10**30}, "body.expires_in_s"),
        ({"nmae": "orders"}, "body.nmae"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_a_wrong_value_is_named(root, body, name):
    problem(root.post("channels", body), 422, name)


def test_channels_are_listed_in_pages(root):
    for name in ("c", "a", "b"):
        DatabaseChannel.create(name)
    first = root.get("channels?limit=2").json()
    assert [each["id"] for each in first["channels"]] == ["a", "b"]
    second = root.get(f"channels?limit=2&after={first['next']}").json()
    assert ([each["id"] for each in second["channels"]], second["next"]) == (["c"], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=%00", "after="])
def test_a_wrong_page_is_refused(root, query):
    problem(root.get(f"channels?{query}"), 422, f"query.{query.split('=')[0]}")


def test_a_channel_is_shown_and_deleted(root, orders, till):
    assert root.get("channels/orders").json()["id"] == "orders"
    assert root.delete("channels/orders").status_code == 204
    problem(root.get("channels/orders"), 404, "channel_id")
    problem(root.delete("channels/orders"), 404, "channel_id")


@pytest.mark.parametrize("name", ["nowhere", "%00", "ORDERS", "..%2e", "%ff"])
def test_another_name_is_an_unknown_channel(root, orders, name):
    problem(root.get(f"channels/{name}"), 404, "channel_id")


@pytest.mark.parametrize("name", ["orders", "nowhere"])
@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("POST", "channels", "add_channel"),
        ("GET", "channels", "view_channel"),
        ("GET", "channels/{}", "view_channel"),
        ("DELETE", "channels/{}", "delete_channel"),
    ],
)
def test_each_verb_needs_its_permission_whatever_exists(
    unprivileged, orders, method, path, permission, name
):
    body = {} if method == "POST" else None
    answer = problem(unprivileged.call(method, path.format(name), body), 403)
    assert permission in answer["detail"]
    assert Channel.objects.count() == 1
    allowed = api_of(user_with("allowed", permission))
    assert allowed.call(method, path.format("orders"), body).status_code < 300
