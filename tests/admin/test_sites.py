"""Several admin sites: each page links to its own site, and a site may have a few pages only."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from eric_sse_django.message import Message
from eric_sse_django.models import QueuedMessage
from tests.admin.conftest import settle

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def sites():
    with override_settings(ROOT_URLCONF="tests.admin.two_sites"):
        yield


def pages(listener, message):
    channel = listener.channel_id
    return {
        "monitor": ["monitor/"],
        "queuedmessage": ["queuedmessage/", f"queuedmessage/{message}/change/"],
        "listener": [
            "listener/",
            "listener/add/",
            f"listener/{listener.pk}/change/",
            f"listener/{listener.pk}/delete/",
            f"listener/{listener.pk}/send/",
            f"listener/{listener.pk}/stream-url/",
            f"listener/{listener.pk}/operate/stop/",
        ],
        "channel": [
            "channel/",
            "channel/add/",
            f"channel/{channel}/change/",
            f"channel/{channel}/delete/",
            f"channel/{channel}/broadcast/",
        ],
        "apitoken": ["apitoken/", "apitoken/add/"],
    }


@pytest.mark.parametrize("site", ["admin", "second", "third"])
def test_no_page_of_a_site_leads_into_another(superuser, channel, listener, site):
    listener.owner = get_user_model().objects.get()
    listener.save()
    channel.broadcast(Message("paid", 1))
    channel.dispatch("till-7", Message("paid", 1))
    channel.dispatch_to_owner(listener.owner, Message("paid", 1))
    settle()
    found = pages(listener, QueuedMessage.objects.filter(listener=listener).get().pk)
    names = ["monitor", "queuedmessage"] if site == "third" else found
    for path in [path for name in names for path in found[name]]:
        response = superuser.get(f"/{site}/eric_sse_django/{path}")
        assert response.status_code == 200, path
        source = response.content.decode()
        links = re.findall(r"""(?:href|action|data-\w+)=["']?(/\w+/)""", source)
        assert set(links) <= {f"/{site}/", "/static/", "/events/"}, path


def test_an_operation_ends_on_the_site_where_it_began(superuser, listener):
    where = f"/second/eric_sse_django/listener/{listener.pk}/"
    assert superuser.post(f"{where}operate/stop/")["Location"] == f"{where}change/"
    sent = superuser.post(f"{where}send/", {"type": "note", "payload": ""})
    assert sent["Location"] == f"{where}change/"
    channel = f"/second/eric_sse_django/channel/{listener.channel_id}/"
    sent = superuser.post(f"{channel}broadcast/", {"type": "note", "payload": ""})
    assert sent["Location"] == f"{channel}change/"
