"""What payloads may contain, and the errors for what they may not."""

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import lazystr

from eric_sse_django import checks, log
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.message import Message
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import databases

KEY = UUID("12345678123456781234567812345678")
VALUES = {
    "datetime": (datetime(2026, 11, 27, 8, 15, tzinfo=timezone.utc), "2026-11-27T08:15:00Z"),
    "date": (date(2026, 11, 27), "2026-11-27"),
    "timedelta": (timedelta(minutes=1), "P0DT00H01M00S"),
    "Decimal": (Decimal("9.90"), "9.90"),
    "UUID": (KEY, str(KEY)),
    "lazy": (lazystr("paid"), "paid"),
}


class Encoder(json.JSONEncoder):
    def default(self, o):
        return f"<{o.pk}>" if hasattr(o, "pk") else super().default(o)


class Pretty(json.JSONEncoder):
    def encode(self, o):
        return json.dumps(o, indent=1)


@pytest.mark.parametrize("kind", VALUES)
@databases.sqlite_rolled_back
def test_values_that_django_encodes_may_be_published(channel, listener, kind):
    value, text = VALUES[kind]
    publish("orders", "paid", {"value": value, "all": [value]})
    assert channel.deliver_next(listener.id).payload == {"value": text, "all": [text]}


@databases.sqlite_rolled_back
def test_a_model_is_refused_and_its_place_is_named(channel):
    with pytest.raises(
        InvalidMessageFormat,
        match=r"payload\['order'\]\['channel'\] is of type eric_sse_django.models.channel.Channel",
    ):
        publish("orders", "paid", {"order": {"total": Decimal(3), "channel": channel.row}})
    assert not QueuedMessage.objects.exists()


@databases.sqlite_rolled_back
def test_the_setting_names_another_encoder(channel, listener, settings):
    settings.ERIC_SSE = {"JSON_ENCODER": f"{__name__}.Encoder"}
    assert checks.check_encoder() == []
    publish("orders", "paid", {"channel": channel.row})
    assert channel.deliver_next(listener.id).payload == {"channel": f"<{channel.row.pk}>"}
    with pytest.raises(InvalidMessageFormat, match=r"of type decimal\.Decimal"):
        channel.broadcast(Message("paid", Decimal(1)))


@pytest.mark.parametrize(
    "path", ["nowhere.Encoder", "decimal.Decimal", "json.dumps", f"{__name__}.Pretty"]
)
def test_an_encoder_that_cannot_be_used_is_an_error_of_check(settings, path):
    settings.ERIC_SSE = {"JSON_ENCODER": path}
    [error] = checks.check_encoder()
    assert error.id == "eric_sse_django.E020"
    assert path in error.msg
    with pytest.raises((ImproperlyConfigured, ImportError)):
        log.payload_text(None)
