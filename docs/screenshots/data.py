"""The data of the screenshots: people, channels, listeners and a day of messages."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage

CHANNELS: dict[str, dict[str, Any]] = {
    "alerts": {"retention_s": 30 * 86_400},
    "chat.general": {"format": "text", "access": "users"},
    "kitchen": {"retention_s": 3_600},
    "orders": {},
    "prices": {"retention_s": 600, "access": "everyone"},
}
PEOPLE = ("ada", "grace", "katherine", "margaret", "radia")
DEVICES = ("till", "phone", "laptop", "display", "worker")
# The listener whose page is shown. It is offline, so messages wait for it.
SHOWN = ("alerts", "phone-7")
HISTORY = 400
# The largest number of messages that wait for an offline listener.
MAX_BEHIND = 60


def fill(choose: random.Random) -> None:
    """Create all data."""
    people = [get_user_model().objects.create_user(name) for name in PEOPLE]
    for name, given in CHANNELS.items():
        Channel.objects.create(name=name, **given)
    channels = [DatabaseChannel.load(name) for name in CHANNELS]
    for channel in channels:
        for number in range(1, 10):
            name = f"{choose.choice(DEVICES)}-{number}"
            if (channel.id, number) == ("alerts", 7):
                name = SHOWN[1]
            owner = choose.choice([*people, None])
            channel.add_listener(owner, name).start()
    for _ in range(HISTORY):
        channel = choose.choice(channels)
        channel.broadcast(message(choose, channel.id))
    shown = DatabaseChannel.load(SHOWN[0])
    shown.dispatch(SHOWN[1], Message("reminder", {"text": "Shift starts at 18:00"}))
    while log.sequence():
        pass
    _spread()


def message(choose: random.Random, channel: str) -> Message:
    """Return a typical message of a channel."""
    if channel == "prices":
        cents = choose.randint(120, 950)
        return Message("price", {"sku": f"A-{choose.randint(10, 99)}", "cents": cents})
    if channel == "alerts":
        warning = choose.choice(("Fridge above 8 degrees", "Till offline", "Stock low: flour"))
        return Message("alert", {"text": warning, "level": choose.choice(("info", "warning"))})
    if channel == "chat.general":
        words = choose.choice(
            ("Good morning!", "Who takes table 4?", "On my way.", "Coffee, anyone?")
        )
        return Message("posted", f"<p><b>{choose.choice(PEOPLE)}</b> {words}</p>")
    order = choose.randint(4_000, 4_999)
    if channel == "kitchen":
        return Message(choose.choice(("started", "ready")), {"order": order})
    total = round(choose.uniform(4, 90), 2)
    type = choose.choice(("order.placed", "order.paid"))
    return Message(type, {"order": order, "total": total, "table": choose.randint(1, 20)})


def _spread() -> None:
    """Distribute the messages over the last day, more of them near its end."""
    now = timezone.now()
    rows = list(QueuedMessage.objects.order_by("-position"))
    for number, row in enumerate(rows):
        row.created_at = now - timedelta(seconds=20 + number * 3 + number**2 / 2)
    QueuedMessage.objects.bulk_update(rows, ["created_at"], 200)
    # The log is recognised by the time of its last message.
    LogHead.objects.update(marked_at=rows[0].created_at)


def serve(choose: random.Random) -> None:
    """Move the cursors of the listeners, and stop some of the listeners."""
    head, _ = log.head()
    now = timezone.now()
    rows = Listener.objects.filter(channel__name__in=CHANNELS, webhook=None)
    for row in rows.select_related("channel"):
        is_shown = (row.channel.name, row.name) == SHOWN
        is_offline = is_shown or choose.random() < 0.4
        row.cursor = head - choose.randint(1, MAX_BEHIND) if is_offline else head
        row.last_seen = now - timedelta(seconds=choose.choice((40, 400, 4_000, 70_000)))
        row.running = is_shown or choose.random() > 0.15
        row.save(update_fields=["cursor", "last_seen", "running"])


def connected(choose: random.Random) -> list[Listener]:
    """Return the listeners to connect: most of those without waiting messages."""
    head, _ = log.head()
    rows = Listener.objects.filter(channel__name__in=CHANNELS, running=True, cursor=head)
    rows = rows.filter(webhook=None).select_related("channel")
    return [row for row in rows for _ in range(choose.choice((0, 1, 1, 1, 2)))]


def log_in() -> dict[str, str]:
    """Return the session cookie of a new superuser."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("operator"))
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value}


def pages() -> dict[str, str]:
    """Return the paths of the pages by the names of their screenshots."""
    channel, name = SHOWN
    shown = Listener.objects.get(channel__name=channel, name=name)
    admin = "admin:eric_sse_django_"
    return {
        "monitor": reverse(f"{admin}monitor"),
        "listeners": reverse(f"{admin}listener_changelist"),
        "listener": reverse(f"{admin}listener_change", args=[shown.pk]),
        "channels": reverse(f"{admin}channel_changelist"),
        "messages": reverse(f"{admin}queuedmessage_changelist"),
    }
