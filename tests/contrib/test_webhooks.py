"""Webhooks: posted in order, signed, at least once, and never to internal addresses."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
import standardwebhooks
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.contrib.webhooks import checks, delivery, endpoints, sending
from eric_sse_django.contrib.webhooks.addresses import Refused, places_of, target_of
from eric_sse_django.contrib.webhooks.admin import EndpointAdmin
from eric_sse_django.contrib.webhooks.delivery import delay_of, take_turn
from eric_sse_django.contrib.webhooks.endpoints import register
from eric_sse_django.contrib.webhooks.models import DeadLetter, Endpoint
from eric_sse_django.contrib.webhooks.worker import Worker, find
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.database.operations import away
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import certificates, databases
from tests.contrib.receiver import receiving
from tests.databases import on, sqlite_only
from tests.patience import PATIENCE_S

LOOPBACK = {"ALLOW_HTTP": True, "ALLOWED_NETWORKS": ["127.0.0.0/8"]}


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def endpoint(settings, channel, receiver):
    settings.ERIC_SSE_WEBHOOKS = {**LOOPBACK, "FIRST_DELAY_S": 10.0, "MAX_ATTEMPTS": 3}
    return register(channel, receiver.url)


def turn(endpoint):
    """Serve it once, if it is due."""
    due = find(None).due
    return take_turn(endpoint.pk) if endpoint.pk in due else 0


def later(endpoint):
    """Let the time of its next attempt come."""
    Endpoint.objects.filter(pk=endpoint.pk).update(next_attempt_at=timezone.now())


def payloads_to_be(channel, count):
    channel.broadcast_many(Message("number", number) for number in range(count))


# Requests ---------------------------------------------------------------------------


@on("sqlite", "postgres", "mariadb")
def test_messages_are_posted_in_order_and_once(endpoint, receiver, channel):
    payloads_to_be(channel, 60)  # more than one page
    assert turn(endpoint) == 60
    assert receiver.payloads == list(range(60))
    assert turn(endpoint) == 0
    assert len(receiver.requests) == 60


@sqlite_only
def test_the_signature_is_valid_for_standard_webhooks(endpoint, receiver, channel):
    publish(channel, "paid", {"id": 7, "name": "Zoë"})
    turn(endpoint)
    [request] = receiver.requests
    body = standardwebhooks.Webhook(endpoint.secret).verify(request.body, request.headers)
    assert body["type"] == "paid"
    assert body["channel"] == "orders"
    assert body["data"] == {"id": 7, "name": "Zoë"}
    assert request.headers["webhook-id"] == f"msg_{body['position']}"
    assert request.headers["content-type"] == "application/json"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(endpoint.secret).verify(request.body + b" ", request.headers)


@sqlite_only
def test_after_a_renewal_both_secrets_are_valid(endpoint, receiver, channel):
    before = endpoint.secret
    after = endpoint.renew_secret()
    endpoint.save()
    publish(channel, "paid")
    turn(endpoint)
    [request] = receiver.requests
    assert before != after
    for secret in (before, after):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)


@sqlite_only
def test_only_the_types_that_it_wants_are_posted(settings, channel, receiver):
    settings.ERIC_SSE_WEBHOOKS = LOOPBACK
    endpoint = register(channel, receiver.url, types=["paid"])
    publish(channel, "typing")
    publish(channel, "paid", 1)
    publish(channel, "typing")
    assert turn(endpoint) == 1
    assert receiver.payloads == [1]
    assert find(None).due == []


@sqlite_only
def test_an_owners_messages_and_its_own_are_posted_too(settings, channel, receiver):
    settings.ERIC_SSE_WEBHOOKS = LOOPBACK
    ada, bob = (get_user_model().objects.create_user(name) for name in ("ada", "bob"))
    endpoint = register(channel, receiver.url, owner=ada, listener_id="partner")
    publish(channel, "paid", "ada's", owner=ada)
    publish(channel, "paid", "bob's", owner=bob)
    publish(channel, "paid", "its own", listener_id="partner")
    assert turn(endpoint) == 2
    assert receiver.payloads == ["ada's", "its own"]


@sqlite_only
def test_a_stopped_listener_is_not_served(endpoint, receiver, channel):
    publish(channel, "paid")
    operations.stop([endpoint.listener])
    assert turn(endpoint) == 0
    operations.start([endpoint.listener])
    assert turn(endpoint) == 1


@sqlite_only
def test_the_certificate_is_checked(settings, channel, tmp_path, monkeypatch):
    settings.ERIC_SSE_WEBHOOKS = {"ALLOWED_NETWORKS": ["127.0.0.1"]}
    files = certificates.make(tmp_path)
    with receiving(files) as receiver:
        endpoint = register(channel, receiver.url)
        publish(channel, "paid", 1)
        assert turn(endpoint) == 0
        endpoint.refresh_from_db()
        assert "CERTIFICATE_VERIFY_FAILED" in endpoint.last_error
        trusting = ssl.create_default_context(cafile=str(files[0]))
        monkeypatch.setattr(sending, "_tls", lambda: trusting)
        later(endpoint)
        assert turn(endpoint) == 1
        assert receiver.payloads == [1]


# Retries ----------------------------------------------------------------------------


@sqlite_only
def test_a_refused_message_is_sent_again_later_with_the_same_id_before_the_next_one(
    endpoint, receiver, channel
):
    payloads_to_be(channel, 2)
    receiver.answers(500, 204)
    assert turn(endpoint) == 0
    assert turn(endpoint) == 0  # not before its time
    assert len(receiver.requests) == 1
    endpoint.refresh_from_db()
    assert (endpoint.attempts, endpoint.last_status) == (1, 500)
    wait = endpoint.next_attempt_at - timezone.now()
    assert timedelta(seconds=3) < wait <= timedelta(seconds=10)
    later(endpoint)
    assert turn(endpoint) == 2
    assert receiver.payloads == [0, 0, 1]
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids[0] == ids[1] != ids[2]
    endpoint.refresh_from_db()
    assert (endpoint.attempts, endpoint.last_error, endpoint.next_attempt_at) == (0, "", None)
    assert endpoint.accepted_at is not None


def test_delays_double_with_jitter_up_to_a_limit(settings):
    settings.ERIC_SSE_WEBHOOKS = {"FIRST_DELAY_S": 8.0, "MAX_DELAY_S": 100.0}
    for attempts, bound in ((1, 8), (2, 16), (3, 32), (5, 100), (2_000, 100)):
        delays = {delay_of(attempts) for _ in range(50)}
        assert len(delays) > 40
        assert bound / 2 <= min(delays) <= max(delays) <= bound


@sqlite_only
def test_retry_after_is_waited_for(endpoint, receiver, channel):
    publish(channel, "paid")
    receiver.answers(503, Retry_After="1200")
    turn(endpoint)
    endpoint.refresh_from_db()
    wait = (endpoint.next_attempt_at - timezone.now()).total_seconds()
    assert 1_190 < wait <= 1_200


@sqlite_only
def test_after_the_last_attempt_it_is_a_dead_letter_and_the_next_one_follows(
    endpoint, receiver, channel, caplog
):
    payloads_to_be(channel, 2)
    receiver.respond = lambda request: (400 if request.data == 0 else 204, {})
    for _ in range(3):
        later(endpoint)
        turn(endpoint)
    assert receiver.payloads == [0, 0, 0, 1]
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.last_status, letter.type) == (3, 400, "number")
    assert "dead letter" in caplog.text
    assert '"data": 0' not in caplog.text  # no payload is logged
    # An operator sends it again: with the same id and body.
    receiver.answers(204)
    assert endpoints.send_again(DeadLetter.objects.all()) == 1
    assert turn(endpoint) == 1
    first, last = receiver.requests[0], receiver.requests[-1]
    assert first.body == last.body
    assert first.headers["webhook-id"] == last.headers["webhook-id"]
    assert not DeadLetter.objects.exists()


@sqlite_only
def test_a_dead_letter_that_fails_again_stays(endpoint, receiver, channel):
    publish(channel, "paid")
    receiver.answers(400)
    for _ in range(3):
        later(endpoint)
        turn(endpoint)
    endpoints.send_again(DeadLetter.objects.all())
    turn(endpoint)
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.again_at) == (4, None)
    assert turn(endpoint) == 0


@sqlite_only
def test_410_stops_the_listener(endpoint, receiver, channel):
    payloads_to_be(channel, 2)
    receiver.answers(410)
    assert turn(endpoint) == 0
    endpoint.refresh_from_db()
    assert endpoint.last_status == 410
    assert not Listener.objects.get(pk=endpoint.listener_id).running
    assert len(receiver.requests) == 1


@sqlite_only
def test_a_receiver_that_does_not_answer_costs_the_timeout(settings, endpoint, receiver, channel):
    settings.ERIC_SSE_WEBHOOKS = {**LOOPBACK, "TIMEOUT_S": 0.3}
    answered = threading.Event()

    def hang(request):
        answered.wait(PATIENCE_S)
        return 204, {}

    receiver.respond = hang
    publish(channel, "paid")
    began = time.monotonic()
    assert turn(endpoint) == 0
    assert time.monotonic() - began < 5
    answered.set()
    endpoint.refresh_from_db()
    assert endpoint.last_error == "no answer within 0.3 s"


@sqlite_only
def test_a_receiver_that_drips_its_answer_costs_the_timeout_too(settings, channel):
    settings.ERIC_SSE_WEBHOOKS = {**LOOPBACK, "TIMEOUT_S": 0.5}
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            peer, _ = server.accept()
            with peer:
                try:
                    peer.sendall(b"HTTP/1.1 200 OK\r\n")
                    for _ in range(200):  # each within the timeout of one read
                        peer.sendall(b"x")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        endpoint = register(channel, f"http://127.0.0.1:{server.getsockname()[1]}/")
        publish(channel, "paid")
        began = time.monotonic()
        assert turn(endpoint) == 0
        assert time.monotonic() - began < 5
        thread.join(PATIENCE_S)
    endpoint.refresh_from_db()
    assert endpoint.last_error == "no answer within 0.5 s"


@contextmanager
def answering(answer):
    """Serve any bytes on a port of loopback, also those that are no answer; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 a\x00b\x1b[2J\r\n\r\n", b"\x00\x00\r\n\r\n"])
@on("sqlite", "postgres", "mariadb")
def test_an_answer_that_no_database_stores_counts_as_an_attempt_too(settings, channel, answer):
    settings.ERIC_SSE_WEBHOOKS = LOOPBACK
    with answering(answer) as url:
        endpoint = register(channel, url)
        publish(channel, "paid")
        assert turn(endpoint) == 0
    endpoint.refresh_from_db()
    assert endpoint.attempts == 1
    assert endpoint.last_error.isprintable()


@sqlite_only
def test_what_retention_removed_is_reported_whatever_types_are_wanted(settings, channel, receiver):
    settings.ERIC_SSE_WEBHOOKS = LOOPBACK
    endpoint = register(channel, receiver.url, types=["paid"])
    publish(channel, "paid", 1)
    notifier.settle()
    QueuedMessage.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert log.trim() == 1
    publish(channel, "paid", 2)
    assert turn(endpoint) == 2
    assert [json.loads(each.body)["type"] for each in receiver.requests] == ["eric-reset", "paid"]


@sqlite_only
def test_a_replay_during_a_request_is_sent(endpoint, receiver, channel):
    payloads_to_be(channel, 3)
    replayed = []

    def replay_once(request):
        if request.data == 1 and not replayed:
            replayed.append(request)
            listener = Listener.objects.get(pk=endpoint.listener_id)
            operations.replay([listener], timezone.now() - timedelta(hours=1))
            connections.close_all()  # of the receiver's thread
        return 204, {}

    receiver.respond = replay_once
    assert turn(endpoint) == 2
    assert turn(endpoint) == 3
    assert receiver.payloads == [0, 1, 0, 1, 2]


@sqlite_only
def test_a_clock_that_was_set_back_delays_nothing(endpoint, receiver, channel):
    publish(channel, "paid", 1)
    assert endpoints.claim(endpoint.pk, "of a worker that was killed") is not None
    tomorrow = timezone.now() + timedelta(days=1)
    Endpoint.objects.update(lease_until=tomorrow, next_attempt_at=tomorrow)
    assert turn(endpoint) == 1


@sqlite_only
def test_a_worker_whose_lease_has_ended_decides_nothing(settings, endpoint, receiver, channel):
    settings.ERIC_SSE_WEBHOOKS = {**LOOPBACK, "MAX_ATTEMPTS": 1}
    publish(channel, "paid", 1)
    statuses = iter((400, 410))

    def taken(request):
        Endpoint.objects.update(lease="another")
        connections.close_all()  # of the receiver's thread
        return next(statuses), {}

    receiver.respond = taken
    for _ in range(2):
        turn(endpoint)
        Endpoint.objects.update(lease="")
    assert len(receiver.requests) == 2
    assert not DeadLetter.objects.exists()
    assert Listener.objects.get(pk=endpoint.listener_id).running


@sqlite_only
def test_a_dead_letter_that_was_removed_while_it_is_sent_again_stays_removed(endpoint, receiver):
    DeadLetter.objects.create(endpoint=endpoint, position=7, type="paid", body='{"data": 1}')
    endpoints.send_again(DeadLetter.objects.all())

    def removed(request):
        DeadLetter.objects.all().delete()
        connections.close_all()  # of the receiver's thread
        return 500, {}

    receiver.respond = removed
    turn(endpoint)
    assert len(receiver.requests) == 1
    assert not DeadLetter.objects.exists()


# Where requests go ------------------------------------------------------------------


@sqlite_only
def test_a_redirect_is_not_followed(endpoint, receiver, channel):
    with receiving() as other:
        publish(channel, "paid")
        receiver.answers(302, Location=other.url)
        assert turn(endpoint) == 0
        assert other.requests == []
    endpoint.refresh_from_db()
    assert endpoint.last_error == "302: a redirect, which is not followed: change the URL"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fd00::1]"),
        *("[fe80::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]"),
        *("[fec0::1]", "[64:ff9b:1::a00:1]", "[2001:0:1::1]", "[3fff::1]", "[::ffff:0:a00:1]"),
        *("192.0.0.8", "192.88.99.1", "198.18.0.1", "240.0.0.1", "[5f00::1]", "[::a00:1]"),
        *("2130706433", "0x7f.1", "localhost"),
    ],
)
def test_private_addresses_are_refused(host):
    with pytest.raises((Refused, OSError)):
        places_of(target_of(f"https://{host}/"))


@pytest.mark.parametrize("host", ["93.184.216.34", "[2606:2800:220:1::1]"])
def test_public_addresses_are_allowed(host):
    assert places_of(target_of(f"https://{host}/"))


def test_a_network_of_the_settings_is_allowed(settings):
    settings.ERIC_SSE_WEBHOOKS = {"ALLOWED_NETWORKS": ["10.0.0.0/8"]}
    assert places_of(target_of("https://10.1.2.3/"))
    assert places_of(target_of("https://[::ffff:10.1.2.3]/"))
    with pytest.raises(Refused, match=r"192\.168"):
        places_of(target_of("https://192.168.1.1/"))


@sqlite_only
def test_the_address_that_was_checked_is_connected_to(endpoint, receiver, channel, monkeypatch):
    """A second look-up could give another address (DNS rebinding)."""
    looked_up = []
    real = socket.getaddrinfo

    def once(host, port, *args, **options):
        looked_up.append(host)
        return real("127.0.0.1" if len(looked_up) == 1 else "192.0.2.1", port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    Endpoint.objects.update(url=receiver.url.replace("127.0.0.1", "rebound.example"))
    publish(channel, "paid", 1)
    assert turn(endpoint) == 1
    assert looked_up == ["rebound.example"]
    assert receiver.requests[0].headers["host"].startswith("rebound.example:")


@sqlite_only
def test_an_address_that_became_private_is_refused_when_it_is_sent(
    settings, endpoint, receiver, channel
):
    settings.ERIC_SSE_WEBHOOKS = {"ALLOW_HTTP": True}
    publish(channel, "paid")
    assert turn(endpoint) == 0
    assert receiver.requests == []
    endpoint.refresh_from_db()
    assert "not public" in endpoint.last_error


@pytest.mark.parametrize(
    "url",
    [
        *("http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "https://"),
        *("https://user:secret@shop.example/", "https://shop.example:99999/", "shop.example"),
        *("https://shop.example/a b", "https://shop.example/\r\nX: 1", "https://shöp.example/"),
    ],
)
@sqlite_only
def test_a_url_that_cannot_be_posted_to_is_refused_when_it_is_registered(channel, url):
    with pytest.raises(ValidationError):
        register(channel, url)
    assert not Listener.objects.exists()


# Workers ----------------------------------------------------------------------------


@on("sqlite", "postgres", "mariadb")
def test_one_worker_at_a_time_has_the_lease(endpoint, receiver, channel):
    payloads_to_be(channel, 3)
    held = endpoints.claim(endpoint.pk, "another")
    assert held is not None
    assert find(None).due == []
    assert take_turn(endpoint.pk) == 0
    assert receiver.requests == []
    # That worker was killed: its lease ends by time.
    Endpoint.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert turn(endpoint) == 3
    assert not endpoints.renew(held)


@sqlite_only
def test_a_worker_whose_lease_has_ended_sends_nothing_more(endpoint, receiver, channel):
    payloads_to_be(channel, 2)

    def taken(request):
        Endpoint.objects.update(lease="another", lease_until=timezone.now() + timedelta(hours=1))
        connections.close_all()  # of the receiver's thread
        return 204, {}

    receiver.respond = taken
    assert turn(endpoint) == 1
    assert receiver.payloads == [0]
    endpoint.refresh_from_db()
    assert endpoint.lease == "another"


@sqlite_only
def test_a_message_whose_answer_was_lost_is_sent_again_with_the_same_id(
    endpoint, receiver, channel, monkeypatch
):
    """At least once: the worker died after the request, and before it was recorded."""
    publish(channel, "paid", 1)
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "acknowledge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            turn(endpoint)
    assert turn(endpoint) == 0  # an error is not tried again at once
    later(endpoint)
    assert turn(endpoint) == 1
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@sqlite_only
async def test_a_running_worker_sends_at_once_and_ends_when_it_is_stopped(
    settings, database, tmp_path
):
    settings.ERIC_SSE_WEBHOOKS = LOOPBACK
    with receiving() as receiver, receiving() as slow:
        slow.answers(500)
        call = sync_to_async(lambda: [register("orders", each.url) for each in (receiver, slow)])
        await DatabaseChannel.acreate("orders")
        await call()
        worker = Worker(2)
        running = asyncio.ensure_future(worker.run())
        while not worker._undo:  # it has begun to be woken
            await asyncio.sleep(0.01)
        for number in range(3):
            await sync_to_async(publish)("orders", "number", number)
            await sync_to_async(receiver.wait_for)(number + 1)
        assert receiver.payloads == [0, 1, 2]
        worker.stop()
        await asyncio.wait_for(running, PATIENCE_S)
        assert worker.accepted == 3
        await Hub.close_all()


@sqlite_only
def test_the_command_serves_until_sigterm(settings, endpoint, receiver, channel, tmp_path):
    publish(channel, "paid", 1)
    program = (
        "import django; from django.conf import settings; django.setup(); "
        f"settings.ERIC_SSE_WEBHOOKS = {LOOPBACK!r}; "
        "from django.core.management import call_command; call_command('eric_webhooks')"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "ERIC_SSE_TEST_DB": databases.address("default"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert receiver.wait_for(1) == [1]
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
    assert process.returncode == 0
    assert "1 messages were accepted." in output


@sqlite_only
def test_the_listener_of_an_endpoint_is_never_away(endpoint):
    old = timezone.now() - timedelta(days=90)
    Listener.objects.update(created_at=old, last_seen=old)
    assert not away(timezone.now() - timedelta(days=30)).exists()


@sqlite_only
def test_removing_the_listener_or_the_endpoint_removes_the_other(endpoint, receiver, channel):
    publish(channel, "paid")
    channel.remove_listener(endpoint.listener.name)
    assert not Endpoint.objects.exists()
    assert take_turn(endpoint.pk) == 0
    register(channel, receiver.url).delete()
    assert not Listener.objects.exists()


# The admin --------------------------------------------------------------------------


@pytest.fixture
def browser(channel):
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client


@sqlite_only
def test_the_admin_adds_an_endpoint_and_shows_its_secret(settings, browser):
    page = reverse("admin:eric_sse_webhooks_endpoint_add")
    values = {"channel": "orders", "url": "https://shop.example/hooks", "types": "[]"}
    response = browser.post(page, {**values, "channel": "unknown"})
    assert "unknown" in response.content.decode()
    assert not Endpoint.objects.exists()
    assert browser.post(page, values).status_code == 302
    endpoint = Endpoint.objects.get()
    assert endpoint.listener.running
    changed = reverse("admin:eric_sse_webhooks_endpoint_change", args=[endpoint.pk])
    assert endpoint.secret in browser.get(changed).content.decode()
    browser.post(changed, {"url": "https://shop.example/new", "types": '["paid"]'})
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.types) == ("https://shop.example/new", ["paid"])


@sqlite_only
def test_the_admin_changes_nothing_that_a_worker_writes_meanwhile(endpoint, browser, monkeypatch):
    real = EndpointAdmin.save_model
    ends = timezone.now() + timedelta(seconds=40)

    def save_late(self, request, *args):
        Endpoint.objects.update(lease="a worker", lease_until=ends, accepted_at=ends)
        real(self, request, *args)

    monkeypatch.setattr(EndpointAdmin, "save_model", save_late)
    Endpoint.objects.update(next_attempt_at=ends, attempts=2)
    page = reverse("admin:eric_sse_webhooks_endpoint_change", args=[endpoint.pk])
    browser.post(page, {"url": "https://shop.example/new", "types": "[]"})
    endpoint.refresh_from_db()
    assert (endpoint.lease, endpoint.lease_until, endpoint.accepted_at) == ("a worker", ends, ends)
    # The new URL is tried at once.
    assert (endpoint.url, endpoint.next_attempt_at) == ("https://shop.example/new", None)


@sqlite_only
def test_a_user_who_may_only_view_does_not_see_the_secret(endpoint):
    viewer = get_user_model().objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_endpoint"))
    client = Client()
    client.force_login(viewer)
    page = reverse("admin:eric_sse_webhooks_endpoint_change", args=[endpoint.pk])
    response = client.get(page)
    assert response.status_code == 200
    assert endpoint.secret not in response.content.decode()


@sqlite_only
def test_the_admin_sends_dead_letters_again_and_renews_secrets(endpoint, receiver, browser):
    letter = DeadLetter.objects.create(endpoint=endpoint, position=7, type="paid", body="{}")
    page = reverse("admin:eric_sse_webhooks_deadletter_changelist")
    assert "paid" in browser.get(page).content.decode()
    body = reverse("admin:eric_sse_webhooks_deadletter_change", args=[letter.pk])
    assert browser.get(body).status_code == 200
    browser.post(page, {"action": "send_again", "_selected_action": [letter.pk]})
    assert turn(endpoint) == 1
    assert not DeadLetter.objects.exists()
    before, page = endpoint.secret, reverse("admin:eric_sse_webhooks_endpoint_changelist")
    browser.post(page, {"action": "renew_secrets", "_selected_action": [endpoint.pk]})
    endpoint.refresh_from_db()
    assert endpoint.previous_secret == before != endpoint.secret


# Settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"TIMEOUTS": 1},
        {"TIMEOUT_S": 0},
        {"MAX_ATTEMPTS": True},
        {"ALLOW_HTTP": "yes"},
        {"ALLOWED_NETWORKS": ["10.0.0.1/8"]},
        {"ALLOWED_NETWORKS": "10.0.0.0/8"},
        [],
    ],
)
def test_a_setting_that_cannot_work_is_an_error_that_names_it(settings, given):
    settings.ERIC_SSE_WEBHOOKS = given
    [error] = checks.check_webhooks()
    assert error.id == "eric_sse_webhooks.E001"
    assert all(name in error.msg for name in given)


def test_good_settings_are_no_error(settings):
    assert checks.check_webhooks() == []
    settings.ERIC_SSE_WEBHOOKS = {**LOOPBACK, "TIMEOUT_S": 5, "MAX_ATTEMPTS": 1}
    assert checks.check_webhooks() == []
