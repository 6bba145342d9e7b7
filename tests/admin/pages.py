"""The URLs of the admin's pages, and what they show."""

from html import unescape

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.urls import reverse


def url(model, page="changelist", *args):
    return reverse(f"admin:eric_sse_django_{model}_{page}", args=args)


def act(client, action, rows, **data):
    """Post an action of the listeners' list for these rows, confirmed."""
    keys = [row.pk for row in rows]
    chosen = {"action": action, ACTION_CHECKBOX_NAME: keys, "confirmed": "yes"}
    return client.post(url("listener"), {**chosen, **data})


def shown_messages(response):
    """Return the texts of the response's messages."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def history(row):
    """Return the texts of an object's history, oldest first."""
    entries = LogEntry.objects.filter(
        object_id=str(row.pk), content_type__model=row._meta.model_name
    )
    return [entry.get_change_message() for entry in entries.order_by("pk")]


def text(response):
    return unescape(response.content.decode())
