"""django-ninja: the HTTP API's operations within a project's own NinjaAPI."""

import json
import re

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import include, path

from eric_sse_django.models import ApiToken
from tests.databases import sqlite_rolled_back

ninja = pytest.importorskip("ninja")

from eric_sse_django.contrib.ninja import mount  # noqa: E402

pytestmark = sqlite_rolled_back

api = ninja.NinjaAPI(title="shop", urls_namespace="shop")


@api.get("/hello")
def hello(request):
    return {"hello": "shop"}


mount(api, "/sse", tags=["events"])

urlpatterns = [
    path("shop/", api.urls),
    path("api/", include("eric_sse_django.api.urls")),
]


@pytest.fixture
def call(settings, database):
    settings.ROOT_URLCONF = "tests.contrib.test_ninja"
    settings.ALLOWED_HOSTS = ["testserver"]
    root = get_user_model().objects.create_superuser("root")
    secret = ApiToken.objects.issue(root, "test")[1]
    client = Client(headers={"Authorization": f"Bearer {secret}"})

    def call(method, where, body=None):
        return client.generic(method, where, json.dumps(body or {}), "application/json")

    return call


def test_the_operations_work_beside_those_of_the_project(call):
    assert call("GET", "/shop/hello").json() == {"hello": "shop"}
    assert call("POST", "/shop/sse/channels", {"id": "orders"}).status_code == 201
    response = call("POST", "/shop/sse/channels/orders/broadcast", {"type": "paid"})
    assert response.status_code == 202
    ticket = call("POST", "/shop/sse/channels/orders/ticket", {})
    assert ticket.json()["url"].startswith("/events/orders/?ticket=")


def test_the_apps_own_api_works_beside_it(call):
    assert call("POST", "/shop/sse/channels", {"id": "orders"}).status_code == 201
    assert call("GET", "/api/channels/orders").json()["id"] == "orders"


def test_errors_are_problems_and_the_projects_own_stay(call):
    unknown = call("GET", "/shop/sse/channels/unknown")
    assert unknown.status_code == 404
    assert unknown["Content-Type"] == "application/problem+json"
    call("POST", "/shop/sse/channels", {"id": "orders"})
    assert call("POST", "/shop/sse/channels", {"id": "orders"}).status_code == 409
    assert "detail" in call("POST", "/shop/sse/channels", {"id": 7}).json()


def test_it_needs_a_token_or_a_session(call):
    assert Client().get("/shop/sse/channels").status_code == 401
    assert Client().get("/shop/hello").status_code == 200


def test_its_openapi_document_is_complete(call):
    document = call("GET", "/shop/openapi.json").json()
    assert "/shop/sse/channels/{channel_id}/broadcast" in document["paths"]
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named - document["components"]["schemas"].keys() == set()
