"""Rows of users that another program deletes: no constraint in the database removes them."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from eric_sse_django.database import orphans
from eric_sse_django.models import ApiToken, Listener, PublishReceipt
from eric_sse_django.shortcuts import channel as get_channel
from eric_sse_django.shortcuts import listen


@pytest.fixture
def users(database, monkeypatch):
    monkeypatch.setattr(orphans, "REMOVED_AT_ONCE", 2)
    users = [User.objects.create(username=f"u{number}") for number in range(5)]
    for user in users:
        listen(get_channel("orders"), owner=user)
        ApiToken.objects.issue(user, "till")
        PublishReceipt.objects.create(user=user, key=f"k{user.pk}", request="r", answer="{}")
    get_channel("orders").add_listener()
    return users


def owners():
    return [
        set(model.objects.exclude(**{column: None}).values_list(column, flat=True))
        for model, column in ((Listener, "owner"), (ApiToken, "user"), (PublishReceipt, "user"))
    ]


def test_a_trim_removes_only_what_deleted_users_owned(users, database):
    gone = User.objects.filter(pk__in=[user.pk for user in users[1:4]])
    gone._raw_delete(gone.db)  # as a program without these signals does
    call_command("eric_trim", verbosity=0)
    assert owners() == [{users[0].pk, users[4].pk}] * 3
    assert Listener.objects.filter(owner=None).count() == 1


def test_deleting_a_user_removes_what_the_user_owned(users):
    users[2].delete()
    assert owners() == [{user.pk for user in users if user.pk}] * 3


def test_deleting_users_together_removes_what_they_owned(users):
    User.objects.filter(username__in=["u1", "u2", "u3"]).delete()
    assert owners() == [{users[0].pk, users[4].pk}] * 3


def test_a_removal_that_fails_does_not_prevent_others(users, monkeypatch):
    remove, removed = orphans.remove_left_by, []

    def refuse_the_second(keys):
        if users[1].pk in keys:
            raise ValueError("a receiver of the project failed")
        removed.extend(keys)
        return remove(keys)

    monkeypatch.setattr(orphans, "remove_left_by", refuse_the_second)
    with pytest.raises(ValueError, match="a receiver of the project failed"):
        orphans._remove_each(user.pk for user in users)
    assert removed == [user.pk for user in users if user is not users[1]]
