"""Listeners over HTTP, and the URLs of their streams."""

import pytest
from django.db import router

from eric_sse_django.authorization import read_ticket
from eric_sse_django.models import Listener
from tests.api.conftest import api_of, problem, user_with
from tests.tickets import ids_of

pytestmark = pytest.mark.django_db

LISTENERS = "channels/orders/listeners"
TILL = f"{LISTENERS}/till-7"


def test_a_listener_is_added_running_with_its_owner(root, orders, ada):
    answer = root.post(LISTENERS, {"id": "till-7", "owner": "ada"})
    assert answer.status_code == 201
    assert answer.json()["owner"] == "ada"
    assert Listener.objects.get().running


def test_a_listener_without_values_gets_an_id(root, orders):
    answer = root.post(LISTENERS, {"running": False}).json()
    assert (len(answer["id"]), answer["owner"], answer["running"]) == (36, None, False)


def test_a_listener_may_be_acknowledged_by_its_client(root, orders):
    added = root.post(LISTENERS, {"id": "till-7", "acknowledgement": "client"}).json()
    assert added["acknowledgement"] == "client"
    assert Listener.objects.get().acknowledgement == "client"
    changed = root.call("PATCH", TILL, {"acknowledgement": "sent"}).json()
    assert changed == {**added, "acknowledgement": "sent"} == root.get(TILL).json()


@pytest.mark.parametrize("body", [{}, {"acknowledgement": "x"}, {"acknowledgement": None}])
def test_a_change_to_an_unknown_value_is_refused(root, till, body):
    problem(root.call("PATCH", TILL, body), 422, "body.acknowledgement")


def test_a_listener_over_the_limit_is_a_conflict(root, till, settings):
    settings.ERIC_SSE = {"MAX_LISTENERS_PER_CHANNEL": 1}
    detail = problem(root.post(LISTENERS, {}), 409, "channel_id")["detail"]
    assert "MAX_LISTENERS_PER_CHANNEL is 1" in detail


def test_an_existing_id_is_a_conflict(root, till):
    problem(root.post(LISTENERS, {"id": "till-7"}), 409, "body.id")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"id": "a b"}, "body.id"),
        ({"owner": "who"}, "body.owner"),
        ({"owner": "\0"}, "body.owner"),
        ({"owner": "\ud800"}, "body.owner"),
        ({"running": "yes"}, "body.running"),
        ({"acknowledgement": "x"}, "body.acknowledgement"),
    ],
)
def test_a_wrong_value_is_named(root, orders, body, name):
    problem(root.post(LISTENERS, body), 422, name)


def test_listeners_are_listed_in_pages(root, orders):
    for name in ("c", "a", "b"):
        orders.add_listener(listener_id=name)
    first = root.get(f"{LISTENERS}?limit=2").json()
    assert [each["id"] for each in first["listeners"]] == ["a", "b"]
    second = root.get(f"{LISTENERS}?after={first['next']}").json()
    assert ([each["id"] for each in second["listeners"]], second["next"]) == (["c"], None)


def test_a_listener_is_stopped_started_and_removed(root, till):
    assert root.post(f"{TILL}/stop").json()["running"] is False
    assert not Listener.objects.get().running
    assert root.post(f"{TILL}/start").json()["running"] is True
    assert Listener.objects.get().running
    assert root.delete(TILL).status_code == 204
    problem(root.get(TILL), 404, "listener_id")
    problem(root.delete(TILL), 404, "listener_id")


def test_its_owner_sees_a_listener(till, ada):
    assert api_of(ada).get(TILL).json()["id"] == "till-7"


@pytest.mark.parametrize("path", [TILL, f"{LISTENERS}/nobody", "channels/x/listeners/y"])
@pytest.mark.parametrize("verb", ["", "/ticket", "/messages", "/pop", "/ack"])
def test_unknown_and_forbidden_are_one_answer(unprivileged, till, path, verb):
    bodies = {"/ticket": {}, "/ack": {"position": 1}}
    method = "GET" if verb in ("", "/messages") else "POST"
    answer = unprivileged.call(method, path + verb, bodies.get(verb))
    assert problem(answer, 404, "listener_id") == problem(
        unprivileged.call(method, f"channels/none/listeners/none{verb}", bodies.get(verb)),
        404,
        "listener_id",
    )


@pytest.mark.parametrize("path", [TILL, f"{LISTENERS}/nobody", "channels/x/listeners/y"])
@pytest.mark.parametrize(
    ("method", "verb", "permission"),
    [
        ("DELETE", "", "delete_listener"),
        ("PATCH", "", "change_listener"),
        ("POST", "/start", "operate_listener"),
        ("POST", "/stop", "operate_listener"),
    ],
)
def test_each_verb_needs_its_permission_whatever_exists(
    unprivileged, till, method, verb, permission, path
):
    body = {"acknowledgement": "client"} if method == "PATCH" else None
    assert permission in problem(unprivileged.call(method, path + verb, body), 403)["detail"]
    assert Listener.objects.get().running
    allowed = api_of(user_with("allowed", permission))
    assert allowed.call(method, TILL + verb, body).status_code < 300


@pytest.mark.parametrize(
    ("method", "permission"), [("GET", "view_listener"), ("POST", "add_listener")]
)
def test_the_list_needs_its_permission(unprivileged, orders, method, permission):
    assert permission in problem(unprivileged.call(method, LISTENERS, {}), 403)["detail"]
    assert (
        permission in problem(unprivileged.call(method, "channels/x/listeners", {}), 403)["detail"]
    )
    allowed = api_of(user_with("allowed", permission))
    assert allowed.call(method, LISTENERS, {}).status_code < 300


def test_a_ticket_opens_the_listeners_stream(till, ada):
    answer = api_of(ada).post(f"{TILL}/ticket", {"max_age_s": 60})
    assert answer.status_code == 201
    body = answer.json()
    assert body["url"] == f"/events/orders/till-7/?ticket={body['ticket']}"
    assert ids_of(read_ticket(body["ticket"])) == ("orders", "till-7")


def test_a_ticket_needs_the_owner_or_the_permission(till):
    signer = api_of(user_with("signer", "sign_listener"))
    assert signer.post(f"{TILL}/ticket", {}).status_code == 201


@pytest.mark.parametrize("age", [0, -1, 3_601, 10**40, 1.5])
def test_a_ticket_is_valid_for_the_setting_at_most(root, till, age):
    problem(root.post(f"{TILL}/ticket", {"max_age_s": age}), 422, "body.max_age_s")


@pytest.mark.django_db(transaction=True)
def test_a_listener_whose_owner_another_program_deleted_has_none(root, till, ada):
    type(ada)._base_manager.filter(pk=ada.pk)._raw_delete(router.db_for_write(type(ada)))
    answers = [
        root.get(TILL),
        root.post(f"{TILL}/stop"),
        root.post(f"{TILL}/start"),
        root.call("PATCH", TILL, {"acknowledgement": "client"}),
    ]
    assert [each.status_code for each in answers] == [200] * 4
    answers = [each.json() for each in answers] + root.get(LISTENERS).json()["listeners"]
    assert {each["owner"] for each in answers} == {None}
