"""django-unfold: the pages of the admin have its form fields."""

import re

import pytest
from django.contrib import admin
from django.contrib.admin import helpers
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import path, reverse

from eric_sse_django.contrib.webhooks.endpoints import register
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Channel, Listener
from tests.databases import sqlite_only

pytest.importorskip("unfold")

from unfold.sites import UnfoldAdminSite

from eric_sse_django.contrib.unfold.sites import use_unfold

pytestmark = sqlite_only

# A class of unfold's text fields, which have no border without it.
STYLED = "border-base-200"


@pytest.fixture
def site(settings, database, monkeypatch):
    """Return a site with the admins of this app and others, as unfold shows it."""
    for name in ("AdminForm", "Fieldline"):  # unfold replaces them when a page is shown
        monkeypatch.setattr(helpers, name, getattr(helpers, name))
    settings.INSTALLED_APPS = ["unfold.apps.BasicAppConfig", *settings.INSTALLED_APPS]
    made = UnfoldAdminSite(name="admin")
    for model, found in admin.site._registry.items():
        made.register(model, type(found))
    use_unfold(made)
    settings.ROOT_URLCONF = (path("admin/", made.urls),)
    return made


@pytest.fixture
def client(site):
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client


def fields(page):
    """Return the visible text fields of the page's own form."""
    form = page[page.index('id="content-main"') :] if 'id="content-main"' in page else page
    return re.findall(r'<input[^>]*type="(?:text|number|url)"[^>]*>', form)


# Of unfold itself on Django 6.1.
@pytest.mark.filterwarnings("ignore:Overriding get_action_choices")
def test_each_page_opens_and_its_fields_have_the_themes_look(client):
    channel = DatabaseChannel.create("orders")
    listener = channel.add_listener(listener_id="till-7")
    endpoint = register(channel, "https://shop.example/")
    for app, model, key in (
        ("eric_sse_django", "channel", channel.row.pk),
        ("eric_sse_django", "listener", listener.row.pk),
        ("eric_sse_django", "apitoken", None),
        ("eric_sse_django", "queuedmessage", None),
        ("eric_sse_django", "monitor", None),
        ("eric_sse_webhooks", "endpoint", endpoint.pk),
        ("eric_sse_webhooks", "deadletter", None),
    ):
        name = f"admin:{app}_{model}"
        pages = [reverse(f"{name}_changelist")]
        if key is not None:
            pages += [reverse(f"{name}_add"), reverse(f"{name}_change", args=[key])]
        for each in pages:
            assert client.get(each).status_code == 200, each
    form = client.get(reverse("admin:eric_sse_django_channel_add")).content.decode()
    found = fields(form)
    assert len(found) >= 3
    assert [field for field in found if STYLED not in field] == []
    values = {"name": "news", "format": "json", "access": "ticket"}
    response = client.post(reverse("admin:eric_sse_django_channel_add"), values)
    assert response.status_code == 302
    assert Channel.objects.filter(name="news").exists()
    page = reverse("admin:eric_sse_django_listener_changelist")
    data = {"action": "start_listeners", "_selected_action": [listener.row.pk]}
    client.post(page, data)
    assert Listener.objects.filter(name="till-7").exists()


def test_the_admins_of_others_stay(site):
    user_admin = site._registry[get_user_model()]
    assert type(user_admin).__module__.startswith("django.contrib.auth")
