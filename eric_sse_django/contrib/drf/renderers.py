"""Messages as events, for clients that ask a view of Django REST framework for an EventSource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer, JSONRenderer

from eric_sse_django import conf, wire
from eric_sse_django.log import payload_text
from eric_sse_django.models import TYPE_MAX_LENGTH

# The event of an answer that is not a list of messages, such as an error.
OTHER = "message"
ERROR = "error"


class EventStreamRenderer(BaseRenderer):
    """
    Renders a list of messages as events: mappings with `type`, `payload` and `position`.

    The response is finite: an EventSource reads it, reconnects after RETRY_MS, and sends the last
    position as `Last-Event-ID`. So it works on any server, also on WSGI, as polling does; a
    stream needs no polling. Other data, such as an error, is one event without an id.
    """

    media_type = "text/event-stream"
    format = "events"
    charset = "utf-8"
    render_style = "text"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the events, after a `retry:`."""
        frames = [f"retry: {conf.get('RETRY_MS')}\n\n".encode()]
        if isinstance(data, list):
            frames += [_frame(each) for each in data]
        elif data is not None:
            response = (renderer_context or {}).get("response")
            is_error = response is not None and response.status_code >= 400
            frames.append(_event(ERROR if is_error else OTHER, data))
        return b"".join(frames)


class ASCIIRenderer(JSONRenderer):
    """JSON in ASCII, as payloads are stored: UTF-8 has no half of a surrogate pair, JSON has."""

    ensure_ascii = True


def _frame(message: Mapping[str, Any]) -> bytes:
    name = wire.check_text("type", message["type"], TYPE_MAX_LENGTH)
    return wire.encode(name, payload_text(message["payload"]), message.get("position"), None)


def _event(name: str, data: Any) -> bytes:
    return wire.encode(name, payload_text(data), None, None)
