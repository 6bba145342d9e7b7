"""The URLs that a load balancer and an orchestrator request, and their answers."""

import logging

import pytest
from django.db import connections
from django.urls import reverse

LIVE, READY = "/health/live/", "/health/ready/"


def test_the_urls_have_names():
    assert reverse("eric_sse_health:live") == LIVE
    assert reverse("eric_sse_health:ready") == READY


def test_live_needs_nothing_but_the_process(client, fake_parts):
    fake_parts.fail("database")
    response = client.get(LIVE)
    assert (response.status_code, response.json()) == (200, {"live": True})
    assert fake_parts.checked["database"] == 0


def test_ready_lists_each_part_and_answers_200(client, fake_parts):
    response = client.get(READY)
    assert response.status_code == 200
    assert response.json()["ready"] is True
    assert list(response.json()["parts"]) == ["hub", "notifier", "database", "layer"]
    assert response.json()["parts"]["database"] == {"works": True, "says": "answers"}
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("name", ["database", "layer"])
def test_a_part_that_fails_is_503_until_it_works(client, fake_parts, name):
    fake_parts.fail(name)
    response = client.get(READY)
    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert response.json()["parts"][name] == {"works": False, "says": "OperationalError"}
    assert b"db.internal" not in response.content
    fake_parts.failures.clear()
    assert client.get(READY).status_code == 200


def test_a_part_can_be_left_out(client, fake_parts):
    fake_parts.fail("layer")
    assert client.get(READY, {"exclude": "layer"}).status_code == 200
    assert client.get(READY, {"exclude": ["hub", "database"]}).status_code == 503
    assert fake_parts.checked == {"database": 1, "layer": 1}


def test_an_unknown_part_is_400_and_the_answer_names_the_parts(client, fake_parts):
    response = client.get(READY, {"exclude": "redis"})
    assert response.status_code == 400
    assert response.json() == {
        "error": "There is no part 'redis': exclude hub, notifier, database, layer."
    }


def test_a_503_is_not_logged_as_an_error_by_django(client, fake_parts, caplog):
    fake_parts.fail("database")
    with caplog.at_level(logging.WARNING, "django"):
        for _ in range(5):
            client.get(READY)
    assert [record.name for record in caplog.records] == ["eric_sse_django.health.parts"]


@pytest.mark.parametrize("path", [LIVE, READY])
def test_only_get_and_head_are_answered(client, fake_parts, path):
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", [LIVE, READY, "/metrics/"])
def test_with_atomic_requests_a_dead_database_does_not_stop_the_answer(
    client, fake_parts, monkeypatch, path
):
    for entry in connections.settings.values():
        monkeypatch.setitem(entry, "ATOMIC_REQUESTS", True)
    # There is no django_db mark here: a transaction would be refused.
    assert client.get(path).status_code == 200
