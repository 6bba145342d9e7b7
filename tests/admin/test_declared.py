"""Channels that the settings declare are shown as such."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from eric_sse_django.database import DatabaseChannel


@pytest.fixture
def page(client, db):
    """Return a function that returns the text of a page of a channel, or of their list."""
    client.force_login(get_user_model().objects.create_superuser("root", password=""))

    def get(name, *arguments):
        url = reverse(f"admin:eric_sse_django_channel_{name}", args=arguments)
        return client.get(url).content.decode()

    return get


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ([], "no"),
        (["orders"], "yes, as it is here"),
        ({"orders": {"access": "users"}}, "yes, but with access=&#x27;users&#x27;"),
    ],
)
def test_a_channels_page_shows_whether_the_settings_declare_it(page, settings, declared, text):
    settings.ERIC_SSE = {"CHANNELS": declared}
    row = DatabaseChannel.create("orders").row
    found = page("change", row.pk)
    assert "Declared in the settings" in found
    assert f'<div class="readonly">{text}</div>' in found


def test_the_list_marks_them(page, settings):
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    for name in ("orders", "news"):
        DatabaseChannel.create(name)
    found = page("changelist")
    assert found.count("icon-yes") == 1
    assert found.count("icon-no") == 1


def test_removing_one_shows_that_it_comes_again(page, settings):
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    found = page("delete", DatabaseChannel.create("orders").row.pk)
    assert "the next migrate creates it" in found
