"""The suite's own ground: each database is real, and empty when a test begins."""

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction

from tests import databases

VENDORS = {"default": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}


@pytest.mark.parametrize("turn", [1, 2])
def test_a_committed_row_is_gone_in_the_next_test(database, turn):
    assert User.objects.count() == 0
    User.objects.create(username="ana")
    assert connections[database].vendor == VENDORS[database]
    assert User.objects.using(database).count() == 1


@databases.rolled_back
@pytest.mark.parametrize("turn", [1, 2])
def test_a_rolled_back_row_is_gone_in_the_next_test(database, turn):
    assert connections[database].in_atomic_block
    assert not User.objects.exists()
    User.objects.create(username="ana")


@databases.sqlite_only
def test_sqlite_only_means_one_database_and_real_commits(database):
    assert database == "default"
    ran = []
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append(True))
    assert ran
    with connections[database].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)


@pytest.mark.django_db(transaction=True)
def test_a_plain_django_db_mark_is_sqlite():
    User.objects.create(username="ana")
    assert connections["default"].settings_dict["NAME"].endswith(".sqlite3")
