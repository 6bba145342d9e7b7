"""Sentry: no payload and no ticket is in an event, whatever Sentry collects."""

import json

import pytest
import sentry_sdk
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.urls import include, path
from ninja import NinjaAPI
from sentry_sdk.transport import Transport

from eric_sse_django.contrib.ninja import mount
from eric_sse_django.contrib.sentry import FILTERED, scrub
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests.databases import sqlite_only, sqlite_rolled_back

SECRET = "4111-1111"
api = NinjaAPI(urls_namespace="sentry")
mount(api)
urlpatterns = [
    path("api/", include("eric_sse_django.api.urls")),
    path("own/", api.urls),
    path("channels/", include("tests.contrib.urls")),
]


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self, options=None):
        super().__init__(options)
        self.events = []

    def capture_envelope(self, envelope):
        self.events += [item.payload.json for item in envelope.items]

    @property
    def text(self):
        return json.dumps(self.events)


def collected(before_send):
    """Return a client of Sentry that collects as much as it can."""
    return sentry_sdk.Client(
        dsn="https://key@localhost/1",
        transport=Kept,
        before_send=before_send,
        before_send_transaction=before_send,
        max_request_body_size="always",
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[],
    )


@pytest.fixture(params=[None, scrub], ids=["without", "with"])
def sentry(request):
    """Return Sentry's transport, without and with scrub(): a test sees that it is needed."""
    client = collected(request.param)
    with sentry_sdk.isolation_scope() as isolation, sentry_sdk.new_scope() as scope:
        isolation.set_client(client)
        scope.set_client(client)
        client.transport.is_scrubbed = request.param is not None
        yield client.transport
    client.close(timeout=0)


@sqlite_rolled_back
def test_variables_of_the_apps_functions_are_removed(database, sentry):
    DatabaseChannel.create("orders")
    try:
        publish("orders", "paid", {"card": SECRET, "when": object()})
    except InvalidMessageFormat:
        sentry_sdk.capture_exception()
    assert (f"{SECRET}" in without_own_frame(sentry.events)) is not sentry.is_scrubbed
    assert "InvalidMessageFormat" in sentry.text


@sqlite_only
def test_variables_of_what_caused_a_failure_are_removed(database, sentry):
    """The driver's exception: its stack begins below this app, with the statement's parameters."""
    DatabaseChannel.create("orders")
    table = QueuedMessage._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            publish("orders", "paid", {"card": SECRET})
        except OperationalError:
            sentry_sdk.capture_exception()
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert (SECRET in without_own_frame(sentry.events)) is not sentry.is_scrubbed
    assert "no such table" in sentry.text


def test_values_of_a_refused_row_are_removed(sentry):
    frame = {"module": "eric_sse_django.log.publishing"}
    text = f"null value in column\nDETAIL:  Failing row contains (1, paid, {SECRET})."
    value = {"type": "IntegrityError", "value": text, "stacktrace": {"frames": [frame]}}
    scope = sentry_sdk.get_current_scope()
    scope.add_event_processor(lambda event, hint: {**event, "exception": {"values": [value]}})
    sentry_sdk.capture_message("failed")
    assert (SECRET in sentry.text) is not sentry.is_scrubbed
    assert "null value in column" in sentry.text


def test_variables_of_what_a_failure_of_this_app_caused_stay():
    def value(module):
        return {"stacktrace": {"frames": [{"module": module, "vars": {"a": 1}}]}}

    event = {
        "exception": {"values": [value("psycopg"), value("eric_sse_django.log"), value("shop")]}
    }
    scrubbed = scrub(event)["exception"]["values"]
    assert ["vars" in each["stacktrace"]["frames"][0] for each in scrubbed] == [False, False, True]


def without_own_frame(events):
    """Return the events as text, without this module's own variables and code."""
    for event in events:
        for value in event.get("exception", {}).get("values", ()):
            frames = value["stacktrace"]["frames"]
            value["stacktrace"]["frames"] = [
                frame for frame in frames if not frame["module"].startswith("tests.")
            ]
    return json.dumps(events)


def test_tickets_are_removed_from_urls_and_breadcrumbs(sentry):
    url = f"/events/?channel=a&ticket={SECRET}&ticket=b{SECRET}&cursor=7"
    sentry_sdk.add_breadcrumb(category="http", data={"url": url})
    scope = sentry_sdk.get_current_scope()
    scope.add_event_processor(
        lambda event, hint: {**event, "request": {"query_string": url, "url": "https://x/events/"}}
    )
    sentry_sdk.capture_message("a page failed")
    try:
        raise ConnectionError(f"no answer from https://x{url}")
    except ConnectionError:
        sentry_sdk.capture_exception()
    assert (SECRET in without_own_frame(sentry.events)) is not sentry.is_scrubbed
    assert "cursor=7" in sentry.text
    if sentry.is_scrubbed:
        assert f"ticket={FILTERED}&ticket={FILTERED}&cursor=7" in sentry.text


@sqlite_rolled_back
@pytest.mark.parametrize(
    "where",
    ["/api/channels/orders/broadcast", "/own/events/channels/orders/broadcast"],
)
def test_bodies_of_requests_that_publish_are_removed(settings, database, sentry, where):
    settings.ROOT_URLCONF = "tests.contrib.test_sentry"
    request = RequestFactory().post(where, {"payload": SECRET}, "application/json")
    event = {"request": {"url": request.build_absolute_uri(), "data": {"payload": SECRET}}}
    scope = sentry_sdk.get_current_scope()
    scope.add_event_processor(lambda found, hint: {**found, **event})
    sentry_sdk.capture_message("slow")
    assert (SECRET in sentry.text) is not sentry.is_scrubbed


def test_bodies_of_other_requests_stay(settings):
    settings.ROOT_URLCONF = "tests.contrib.test_sentry"
    for url in ("https://x/channels/pay/", "https://x/nowhere/", "https://[/"):
        assert scrub({"request": {"url": url, "data": 1}})["request"]["data"] == 1
    of_drf = {"request": {"url": "https://x/channels/api/channels/a/publish/", "data": 1}}
    assert "data" not in scrub(of_drf)["request"]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"exception": None, "request": None, "threads": {}},
        {"exception": {"values": [{"stacktrace": None}, {}]}},
        {"breadcrumbs": {"values": [{"message": None, "data": {"n": 1}}]}},
    ],
)
def test_an_event_that_lacks_parts_stays(event):
    assert scrub(dict(event)) == event
