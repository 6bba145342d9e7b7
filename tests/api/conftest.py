"""A client for each kind of caller, and users with permissions."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import ApiToken

pytest.importorskip("ninja")


class Api:
    """Calls the API as one caller. `problem()` checks what every error must be."""

    def __init__(self, secret: str | None = None, client: Client | None = None) -> None:
        self.client = client or Client(enforce_csrf_checks=True)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = "" if body is None else json.dumps(body)
        return self.client.generic(
            method,
            f"/api/{path}",
            data,
            content_type="application/json",
            headers={**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)


def problem(response: Any, status: int, *names: str) -> dict[str, Any]:
    """Check that a response is a problem with that status, which names these values."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:eric-sse-django:problem:")
    assert body["title"]
    assert body["detail"]
    assert [each["name"] for each in body.get("errors", [])] == list(names)
    return body


def user_with(name: str, *permissions: str) -> Any:
    user = get_user_model().objects.create_user(name)
    found = Permission.objects.filter(
        content_type__app_label="eric_sse_django", codename__in=permissions
    )
    assert len(found) == len(permissions)
    user.user_permissions.set(found)
    return user


def api_of(user: Any) -> Api:
    return Api(ApiToken.objects.issue(user, "test")[1])


@pytest.fixture(autouse=True)
def mounted(settings):
    settings.ROOT_URLCONF = "tests.api.urls"
    cache.clear()


@pytest.fixture
def root(db) -> Api:
    """Return the API for a superuser, with a token."""
    return api_of(get_user_model().objects.create_superuser("root"))


@pytest.fixture
def unprivileged(db) -> Api:
    """Return the API for a user without permissions, with a token."""
    return api_of(user_with("nobody"))


@pytest.fixture
def publisher(db) -> Api:
    """Return the API for a user that may publish, and nothing else."""
    return api_of(user_with("publisher", "publish_channel"))


@pytest.fixture
def ada(db):
    return user_with("ada")


@pytest.fixture
def orders(db) -> DatabaseChannel:
    return DatabaseChannel.create("orders")


@pytest.fixture
def till(orders, ada):
    """Return a running listener of "orders" that ada owns."""
    listener = orders.add_listener(ada, "till-7")
    listener.start()
    return listener
