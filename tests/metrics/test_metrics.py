"""Prometheus reads what the hubs and the notifier count, and reading it starts nothing."""

import os

import pytest
from django.urls import reverse
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from eric_sse_django import notifier
from eric_sse_django.counters import BOUNDS_S
from eric_sse_django.hub import End, all_hubs, totals
from eric_sse_django.metrics import EricSseCollector
from tests.streams.conftest import site

__all__ = ["site"]

PID = str(os.getpid())


def sample(name, **labels):
    """Return a sample's value as Prometheus would read it, 0.0 without one."""
    registry = CollectorRegistry()
    registry.register(EricSseCollector())
    return registry.get_sample_value(f"eric_sse_{name}", {"pid": PID, **labels}) or 0.0


def handed_on():
    """Return how many segments were passed on, whatever was done with them."""
    outcomes = ("taken", "passed", "known", "looked")
    return sum(sample("segments_total", outcome=outcome) for outcome in outcomes)


class Growth:
    """The growth of counters since this was made."""

    def __init__(self, *names):
        self._before = {name: sample(name) for name in names}

    def of(self, name):
        return sample(name) - self._before[name]


def test_the_answer_is_what_prometheus_reads(client):
    assert reverse("eric_sse_metrics:metrics") == "/metrics/"
    response = client.get("/metrics/")
    assert response["Content-Type"].startswith("text/plain")
    families = {family.name for family in text_string_to_metric_families(response.text)}
    assert {"eric_sse_streams", "eric_sse_delivery_delay_seconds"} <= families
    assert all(name.startswith("eric_sse_") for name in families)
    assert "no-store" in response["Cache-Control"]


def test_the_answer_is_openmetrics_when_accept_names_it(client):
    response = client.get("/metrics/", headers={"Accept": "application/openmetrics-text"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(response.text)} >= {"eric_sse_streams"}


def test_only_get_and_head_are_answered(client):
    assert client.post("/metrics/").status_code == 405


def test_reading_the_metrics_starts_no_thread_and_makes_no_query(client):
    notifier.close()
    assert client.get("/metrics/").status_code == 200  # no django_db mark: a query would raise
    assert notifier.started() is None
    assert all_hubs() == []


@pytest.mark.django_db(transaction=True)
async def test_the_metrics_count_what_streams_do(site):
    names = ("streams_opened_total", "messages_delivered_total", "messages_sequenced_total")
    delays = ("delivery", "wake", "sequencing")
    growth = Growth(*names, *(f"{name}_delay_seconds_count" for name in delays))
    before = sample("streams_ended_total", reason="age")
    segments, looks = handed_on(), sample("looks_total")
    reader = await site.read(await site.listener())
    await site.at_head()  # a look that began before the stream would not deliver to it
    await site.publish(1, 2, 3)
    await reader.count(3)
    assert sample("streams") == 1
    reader.stream.end(End.AGE)
    await reader.ended()
    assert sample("streams") == 0
    assert sample("streams_ended_total", reason="age") - before == 1
    assert growth.of("streams_opened_total") == 1
    assert growth.of("messages_delivered_total") == 3
    assert handed_on() > segments
    assert sample("looks_total") > looks
    for name in delays:
        assert growth.of(f"{name}_delay_seconds_count") >= 1
    assert sample("works", part="hub") == sample("works", part="notifier") == 1


def test_buckets_add_up_as_prometheus_wants_them():
    counters = totals.of_new_hub()
    before = [sample("delivery_delay_seconds_bucket", le=str(bound)) for bound in BOUNDS_S]
    total = sample("delivery_delay_seconds_bucket", le="+Inf")
    for delay_s in (0.0005, 0.3, 100):
        counters.delivers(delay_s)
    after = [sample("delivery_delay_seconds_bucket", le=str(bound)) for bound in BOUNDS_S]
    grown = [later - earlier for earlier, later in zip(before, after, strict=True)]
    assert grown == [1 if bound < 0.3 else 2 for bound in BOUNDS_S]
    assert sample("delivery_delay_seconds_bucket", le="+Inf") - total == 3
    totals.retire(counters)


def test_refused_requests_are_counted_by_reason():
    before = sample("requests_refused_total", why="403")
    totals.refused("403")
    assert sample("requests_refused_total", why="403") - before == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("part", ["hub", "notifier"])
async def test_a_part_that_does_not_work_is_0(site, monkeypatch, part):
    await site.read(await site.listener())
    troubled = site.hub.follower if part == "hub" else notifier.current()
    monkeypatch.setattr(troubled, "trouble", lambda: "has failed for 7 s")
    assert sample("works", part=part) == 0


def test_the_collector_can_join_a_registry_of_the_project():
    registry = CollectorRegistry(auto_describe=True)
    registry.register(EricSseCollector())
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(EricSseCollector())
