"""Authentication: bearer tokens, sessions with their CSRF tokens, and neither."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import router
from django.test import Client
from django.utils import timezone

from eric_sse_django.models import ApiToken
from tests.api.conftest import Api, api_of, problem, user_with

pytestmark = pytest.mark.django_db

BROADCAST = "channels/orders/broadcast"


@pytest.fixture
def user(orders):
    return user_with("publisher", "publish_channel", "view_channel")


@pytest.fixture
def session(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return Api(client=client)


def test_without_credentials_the_answer_is_a_challenge(orders):
    answer = Api().post(BROADCAST, {"type": "a"})
    problem(answer, 401)
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "bearer \xff", "Basic YTpi", "Token x"]
)
def test_a_wrong_header_is_refused_also_in_a_session(session, header):
    answer = session.get("channels/orders", Authorization=header)
    problem(answer, 401)


def test_the_digest_of_a_token_gives_no_access(user):
    token, _ = ApiToken.objects.issue(user, "test")
    problem(Api(token.digest).get("channels"), 401)


@pytest.mark.parametrize(
    "changes", [{"active": False}, {"expires_at": timezone.now() - timedelta(seconds=1)}]
)
def test_an_inactive_or_expired_token_gives_no_access(user, changes):
    token, secret = ApiToken.objects.issue(user, "test")
    assert Api(secret).get("channels").status_code == 200
    ApiToken.objects.filter(pk=token.pk).update(**changes)
    problem(Api(secret).get("channels"), 401)


def test_the_token_of_a_deactivated_user_gives_no_access(user):
    api = api_of(user)
    user.is_active = False
    user.save()
    problem(api.get("channels"), 401)


def test_only_a_digest_of_the_secret_is_kept(user):
    token, secret = ApiToken.objects.issue(user, "test")
    kept = " ".join(str(value) for value in ApiToken.objects.values().get().values())
    assert secret not in kept
    assert len(token.digest) == 64


def test_a_tokens_use_is_written_once_a_minute(user, django_assert_num_queries):
    token, secret = ApiToken.objects.issue(user, "test")
    Api(secret).get("channels")
    token.refresh_from_db()
    first = token.last_used_at
    Api(secret).get("channels")
    token.refresh_from_db()
    assert token.last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    Api(secret).get("channels")
    token.refresh_from_db()
    assert token.last_used_at > first


def test_a_session_reads_and_with_the_csrf_token_writes(session):
    assert session.get("channels/orders").status_code == 200
    problem(session.post(BROADCAST, {"type": "a"}), 403, "X-CSRFToken")
    token = "x" * 32
    session.client.cookies["csrftoken"] = token
    assert session.post(BROADCAST, {"type": "a"}, X_CSRFToken=token).status_code == 202
    problem(session.post(BROADCAST, {"type": "a"}, X_CSRFToken="y" * 32), 403, "X-CSRFToken")


def test_a_session_from_another_origin_is_refused(session):
    token = "x" * 32
    session.client.cookies["csrftoken"] = token
    headers = {"X_CSRFToken": token, "Origin": "https://evil.example"}
    problem(session.post(BROADCAST, {"type": "a"}, **headers), 403, "X-CSRFToken")


def test_a_token_needs_no_csrf(user):
    assert api_of(user).post(BROADCAST, {"type": "a"}).status_code == 202


def test_the_command_prints_a_token_that_works(user, capsys):
    call_command("eric_token", "publisher", "--name", "cash desk", "--days", "30")
    secret = capsys.readouterr().out.strip()
    assert Api(secret).get("channels").status_code == 200
    assert ApiToken.objects.get().name == "cash desk"
    assert ApiToken.objects.get().expires_at > timezone.now() + timedelta(days=29)


@pytest.mark.parametrize("arguments", [["who"], ["publisher", "--days", "0"]])
def test_the_command_reports_wrong_arguments(user, arguments):
    with pytest.raises(CommandError):
        call_command("eric_token", *arguments)


@pytest.mark.parametrize(
    ("method", "of", "status"),
    [
        ("PUT", "anonymous", 405),
        ("PUT", "user", 405),
        ("POST", "anonymous", 401),
        ("POST", "stranger", 415),
        ("POST", "user", 415),
    ],
)
def test_the_method_is_checked_then_the_caller_then_the_body(user, method, of, status):
    secret = None
    if of != "anonymous":
        caller = user if of == "user" else user_with("stranger")
        secret = ApiToken.objects.issue(caller, "test")[1]
    api = Api(secret)
    answer = api.client.generic(
        method, f"/api/{BROADCAST}", "a=1", content_type="text/plain", headers=api.headers
    )
    problem(answer, status, *{405: ["method"], 415: ["Content-Type"]}.get(status, []))


def test_a_too_large_body_is_refused_after_authentication(user):
    body = {"type": "a", "payload": "x" * 300_000}
    problem(Api().post(BROADCAST, body), 401)
    problem(api_of(user).post(BROADCAST, body), 413, "body")


def test_a_token_whose_user_another_program_deleted_gives_no_access(orders):
    user = user_with("gone")
    api = api_of(user)
    type(user)._base_manager.filter(pk=user.pk)._raw_delete(router.db_for_write(type(user)))
    problem(api.get("channels"), 401)
