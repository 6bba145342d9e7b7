"""API tokens in the admin."""

import re

import pytest
from django.contrib.auth import get_user_model

from eric_sse_django.models import ApiToken
from tests.api.conftest import Api, user_with

pytestmark = pytest.mark.django_db

ADD = "/admin/eric_sse_django/apitoken/add/"
LIST = "/admin/eric_sse_django/apitoken/"


@pytest.fixture
def staff(client):
    user = user_with("staff", "add_apitoken", "view_apitoken", "change_apitoken")
    user.is_staff = True
    user.save()
    client.force_login(user)
    return user


def form(user, **more):
    return {"user": user.pk, "name": "cash desk", "active": "on", **more}


def test_the_secret_is_shown_once(admin_client, ada):
    answer = admin_client.post(ADD, form(ada))
    assert "no-store" in answer["Cache-Control"]
    [secret] = re.findall(r"eric_[\w-]{43}", answer.content.decode())
    assert Api(secret).get("channels").status_code == 403
    token = ApiToken.objects.get()
    page = admin_client.get(f"{LIST}{token.pk}/change/").content.decode()
    assert secret not in page
    assert token.digest not in page


def test_a_token_is_switched_off(admin_client, ada):
    token, secret = ApiToken.objects.issue(ada, "test")
    url = f"{LIST}{token.pk}/change/"
    assert admin_client.post(url, {"name": "renamed"}).status_code == 302
    assert Api(secret).get("channels").status_code == 401
    token.refresh_from_db()
    assert (token.name, token.user, token.active) == ("renamed", ada, False)


def test_staff_create_only_their_own_tokens(client, staff):
    root = get_user_model().objects.create_superuser("root")
    assert client.post(ADD, form(root)).status_code == 200
    assert not ApiToken.objects.exists()
    assert b"eric_" in client.post(ADD, form(staff)).content
    assert ApiToken.objects.get().user == staff


def test_choosing_a_user_costs_the_same_whatever_their_number(admin_client, client):
    users = get_user_model().objects
    users.bulk_create(users.model(username=f"user-{number}") for number in range(300))
    assert b"user-299" not in admin_client.get(ADD).content


def test_staff_see_only_their_own_tokens(client, staff, ada):
    others, _ = ApiToken.objects.issue(ada, "hers")
    assert b"hers" not in client.get(LIST).content
    assert client.get(f"{LIST}{others.pk}/change/").status_code == 302


def test_without_the_permission_no_token_is_made(client, staff):
    staff.user_permissions.clear()
    assert client.post(ADD, form(staff)).status_code == 403
