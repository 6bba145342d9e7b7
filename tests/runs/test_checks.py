"""The system checks of runs."""

from eric_sse_django.runs.checks import check_database
from tests.databases import sqlite_only
from tests.router import SelectedDatabaseRouter


class ForgetfulRouter(SelectedDatabaseRouter):
    """Knows the app, and not the app of runs."""

    def allow_migrate(self, db, app_label, **hints):
        return app_label != "eric_sse_runs"


@sqlite_only
def test_a_router_that_does_not_migrate_runs_is_an_error(database, settings):
    assert check_database() == []
    settings.DATABASE_ROUTERS = ["tests.runs.test_checks.ForgetfulRouter"]
    assert [error.id for error in check_database()] == ["eric_sse_runs.E001"]
