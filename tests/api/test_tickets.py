"""Tickets over HTTP: what they are bound to, what they open, and how access is revoked."""

import pytest
from django.test import Client

from eric_sse_django import log
from eric_sse_django.authorization import Authorizer, read_ticket
from eric_sse_django.models import Channel, Revocation
from tests.api.conftest import Api, api_of, problem, user_with
from tests.tickets import ids_of, is_void

pytestmark = pytest.mark.django_db

WATCH = "channels/orders/ticket"
LISTENER = "channels/orders/listeners/till-7"


class AsyncRules(Authorizer):
    """Rules that are coroutine functions; the user "ada" may watch."""

    async def can_watch(self, user, channel):
        return user.get_username() == "ada"


def ticket_of(answer):
    assert answer.status_code == 201, answer.content
    return read_ticket(answer.json()["ticket"])


@pytest.fixture
def session_of(settings):
    """Return a function: the API in the session of a user, and the session's key."""

    def api(user):
        client = Client()
        client.force_login(user)
        return Api(client=client), client.session.session_key

    return api


# To watch -------------------------------------------------------------------------------


def test_a_ticket_opens_the_channel_to_watch(orders, ada):
    Channel.objects.update(access=Channel.Access.USERS)
    answer = api_of(ada).post(WATCH, {"max_age_s": 60})
    assert ids_of(ticket_of(answer)) == ("orders", None)
    assert answer.json()["url"] == f"/events/orders/?ticket={answer.json()['ticket']}"


def test_the_rules_decide_which_user_may_watch(orders, ada, unprivileged, settings):
    problem(api_of(ada).post(WATCH, {}), 404, "channel_id")
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.AsyncRules"}
    assert api_of(ada).post(WATCH, {}).status_code == 201
    problem(unprivileged.post(WATCH, {}), 404, "channel_id")


def test_the_permission_to_sign_for_listeners_also_covers_channels(orders):
    assert api_of(user_with("signer", "sign_listener")).post(WATCH, {}).status_code == 201


def test_unknown_and_forbidden_are_one_answer(orders, unprivileged):
    unknown = [
        unprivileged.post(f"channels/{name}/ticket", {}) for name in ("orders", "none", "%00")
    ]
    assert {answer.content for answer in unknown} == {unknown[0].content}
    problem(unknown[0], 404, "channel_id")


@pytest.mark.parametrize("age", [0, 3_601, 1.5])
def test_a_ticket_is_valid_for_the_setting_at_most(root, orders, age):
    problem(root.post(WATCH, {"max_age_s": age}), 422, "body.max_age_s")


# Whose it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [WATCH, f"{LISTENER}/ticket"])
def test_with_a_token_the_ticket_is_bound_to_its_user(till, ada, path):
    Channel.objects.update(access=Channel.Access.USERS)
    ticket = ticket_of(api_of(ada).post(path, {}))
    assert (ticket.user, ticket.session) == (str(ada.pk), frozenset())


@pytest.mark.parametrize("path", [WATCH, f"{LISTENER}/ticket"])
def test_in_a_session_logging_out_revokes_the_ticket(till, admin_user, session_of, path):
    api, _ = session_of(admin_user)
    ticket = ticket_of(api.post(path, {}))
    assert ticket.user == str(admin_user.pk)
    assert not is_void(ticket)
    api.client.logout()
    assert is_void(ticket)


def test_a_ticket_that_a_program_signs_is_bound_to_the_listeners_owner_if_there_is_one(
    till, orders, ada
):
    signer = api_of(user_with("signer", "sign_listener"))
    orders.add_listener(listener_id="free")
    free = ticket_of(signer.post("channels/orders/listeners/free/ticket", {}))
    owned, watching = (ticket_of(signer.post(path, {})) for path in (f"{LISTENER}/ticket", WATCH))
    assert [ticket.user for ticket in (free, owned, watching)] == [None, str(ada.pk), None]


# Taking it back -------------------------------------------------------------------------


def test_the_tickets_of_a_listener_are_revoked(till, ada):
    ticket = ticket_of(api_of(ada).post(f"{LISTENER}/ticket", {}))
    operator = api_of(user_with("operator", "operate_listener"))
    assert operator.post(f"{LISTENER}/revoke").status_code == 204
    assert is_void(ticket, till.row)
    problem(operator.post("channels/orders/listeners/none/revoke"), 404, "listener_id")


def test_the_tickets_of_a_channel_are_revoked(till, ada):
    listening = ticket_of(api_of(ada).post(f"{LISTENER}/ticket", {}))
    operator = api_of(user_with("operator", "operate_listener"))
    assert operator.post("channels/orders/revoke").status_code == 204
    assert is_void(listening, till.row)
    problem(operator.post("channels/none/revoke"), 404, "channel_id")


def test_a_ticket_opens_only_the_row_that_it_was_made_for(till, ada):
    Channel.objects.update(access=Channel.Access.USERS)
    api = api_of(ada)
    assert ticket_of(api.post(f"{LISTENER}/ticket", {})).key == till.row.pk
    watching = ticket_of(api.post(WATCH, {}))
    assert (watching.key, watching.since) == (till.row.channel_id, log.head()[0])


def test_the_tickets_of_a_user_are_revoked(orders, ada):
    Channel.objects.update(access=Channel.Access.USERS)
    ticket = ticket_of(api_of(ada).post(WATCH, {}))
    operator = api_of(user_with("operator", "operate_listener"))
    assert operator.post("revoke", {"user": "ada"}).status_code == 204
    assert is_void(ticket)


@pytest.mark.parametrize("body", [{"user": "who"}, {"user": "\0"}, {"user": ""}, {"user": 7}])
def test_an_unknown_user_is_named(root, ada, body):
    problem(root.post("revoke", body), 422, "body.user")


@pytest.mark.parametrize(
    ("path", "body"), [(f"{LISTENER}/revoke", None), ("revoke", {"user": "ada"})]
)
def test_revoking_needs_its_permission_whatever_exists(till, ada, unprivileged, path, body):
    assert "operate_listener" in problem(unprivileged.post(path, body), 403)["detail"]
    unknown = path.replace("till-7", "none")
    assert (
        "operate_listener"
        in problem(unprivileged.post(unknown, body and {"user": "no"}), 403)["detail"]
    )
    assert not Revocation.objects.exists()
