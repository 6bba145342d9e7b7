"""A channel with a listener, and staff users with some permissions."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import OpenStream, ServerProcess

VIEWS = ("view_listener", "view_channel", "view_queuedmessage")


@pytest.fixture
def channel(database):
    return DatabaseChannel.create("orders")


@pytest.fixture
def listener(channel):
    """Return the row of a running listener of `channel`."""
    listener = channel.add_listener(listener_id="till-7")
    listener.start()
    return listener.row


@pytest.fixture
def staff(database):
    """Return a function: a client logged in as staff with the views and these permissions."""

    def client(*permissions, views=VIEWS):
        users = get_user_model().objects
        user = users.create_user(f"staff-{users.count()}", password="", is_staff=True)
        allowed = Permission.objects.filter(
            content_type__app_label="eric_sse_django", codename__in=[*views, *permissions]
        )
        assert allowed.count() == len(views) + len(permissions)
        user.user_permissions.set(allowed)
        client = Client()
        client.force_login(user)
        client.user = user
        return client

    return client


@pytest.fixture
def superuser(database):
    """Return a client that is logged in as a superuser."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client


@pytest.fixture
def open_stream(database):
    """Return a function that opens streams of listeners on a server process."""

    def open_stream(row, process="web-1:7", age_s=0):
        renewed_at = timezone.now() - timedelta(seconds=age_s)
        server, _ = ServerProcess.objects.get_or_create(
            name=process, defaults={"started_at": renewed_at, "renewed_at": renewed_at}
        )
        key = OpenStream.objects.count() + 1
        return OpenStream.objects.create(
            pk=key, process=server, listener=row, opened_at=renewed_at
        )

    return open_stream


def settle():
    while log.sequence():
        pass
