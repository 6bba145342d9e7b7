"""What the viewset of channels takes and returns."""

from __future__ import annotations

import json
from typing import Any

from rest_framework import serializers

from eric_sse_django import conf
from eric_sse_django.entry import Entry
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel

MAX_DEVICE_CHARACTERS = 200


class ChannelSerializer(serializers.ModelSerializer):
    """A channel that the caller may watch."""

    id = serializers.CharField(source="name")

    class Meta:
        model = Channel
        fields = ("id", "format", "access", "created_at")
        read_only_fields = fields


class MessageSerializer(serializers.Serializer):
    """A message that is published."""

    type = serializers.CharField(max_length=TYPE_MAX_LENGTH, trim_whitespace=False)
    payload = serializers.JSONField(default=None)
    expires_in_s = serializers.FloatField(default=None, allow_null=True, min_value=0.001)


class TicketSerializer(serializers.Serializer):
    """What is wanted of a ticket that watches a channel."""

    max_age_s = serializers.IntegerField(default=None, allow_null=True, min_value=1)

    def validate_max_age_s(self, value: int | None) -> int | None:
        """Raise ValidationError for more than TICKET_MAX_AGE_S."""
        most = int(conf.get("TICKET_MAX_AGE_S"))
        if value is not None and value > most:
            raise serializers.ValidationError(f"A ticket is valid for {most} s at most.")
        return value


class ListenSerializer(serializers.Serializer):
    """Which of the caller's listeners is wanted: one for each device, or one for all."""

    device = serializers.CharField(default=None, allow_null=True, max_length=MAX_DEVICE_CHARACTERS)


def shown(entry: Entry) -> dict[str, Any]:
    """Return a message of a queue."""
    at = entry.created_at
    return {
        "position": entry.position,
        "type": entry.type,
        "payload": json.loads(entry.payload),
        "created_at": None if at is None else at.isoformat(),
    }
