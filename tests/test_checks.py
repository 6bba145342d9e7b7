"""System checks: each finding has an id and a hint, and a good project has none."""

import sys

import pytest
from django.core.signals import request_started
from django.db import connections
from django.utils.module_loading import import_string

from eric_sse_django import checks, conf, stream_urls
from eric_sse_django.authorization import Authorizer
from eric_sse_django.log import dialect as dialect_module
from eric_sse_django.log.dialect import DIALECTS
from tests import copies, databases


def ids(found):
    assert all(each.hint for each in found)
    return [each.id.removeprefix("eric_sse_django.") for each in found]


def test_defaults_are_good_values():
    assert [each.name for each in conf.SETTINGS if each.problem(each.default)] == []


def test_several_settings_are_read_at_once_as_each_alone(settings):
    names = "HEARTBEAT_S", "RETRY_MS"
    assert conf.several(*names) == (conf.DEFAULTS["HEARTBEAT_S"], conf.DEFAULTS["RETRY_MS"])
    settings.ERIC_SSE = {"RETRY_MS": 7}
    assert conf.several(*names) == (conf.get("HEARTBEAT_S"), 7)
    with pytest.raises(KeyError):
        conf.several("RETRY_MS", "NO_SUCH_SETTING")


def test_no_settings_at_all_are_fine(settings):
    settings.ERIC_SSE = {}
    assert checks.check_settings() == []


def test_settings_that_are_not_a_dict_are_an_error(settings):
    settings.ERIC_SSE = ["POLL_INTERVAL_S"]
    assert ids(checks.check_settings()) == ["E001"]


def test_an_unknown_name_is_an_error_that_names_the_known(settings):
    settings.ERIC_SSE = {"POLL_INTERVALL_S": 1}
    [error] = checks.check_settings()
    assert ids([error]) == ["E002"]
    assert "POLL_INTERVALL_S" in error.msg
    assert error.hint.startswith("Did you mean POLL_INTERVAL_S? Settings: ALLOWED_ORIGINS, ")
    settings.ERIC_SSE = {"a b": 1, 7: 1}
    for error in checks.check_settings():
        assert error.hint.startswith("Settings: ALLOWED_ORIGINS, ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLL_INTERVAL_S", "1"),
        ("POLL_INTERVAL_S", True),
        ("POLL_INTERVAL_S", 0),
        ("POLL_INTERVAL_S", float("nan")),
        ("HEARTBEAT_S", -1),
        ("RETRY_MS", 1.5),
        ("MAX_MESSAGE_BYTES", 0),
        ("URL_PREFIX", "/events/"),
        ("URL_PREFIX", "events"),
        ("CHANNEL_CLASS", "not a path"),
        ("CHANNEL_CLASS", None),
        ("CHANNEL_LAYER", ""),
        ("HANDLE_SIGNALS", "yes"),
        ("RETENTION_S", None),
    ],
)
def test_a_bad_value_is_an_error_that_shows_it(settings, name, value):
    settings.ERIC_SSE = {name: value}
    [error] = checks.check_settings()
    assert ids([error]) == ["E003"]
    assert repr(value) in error.msg


@pytest.mark.parametrize("path", ["nowhere.Channel", "eric_sse_django.prefabs.SSEChannel"])
def test_a_channel_class_that_cannot_serve_is_an_error(settings, path):
    settings.ERIC_SSE = {"CHANNEL_CLASS": path}
    assert ids(checks.check_classes()) == ["E004"]


@pytest.mark.parametrize("path", ["nowhere.Rules", "eric_sse_django.database.DatabaseChannel"])
def test_an_authorizer_that_has_no_rules_is_an_error(settings, path):
    settings.ERIC_SSE = {"AUTHORIZER": path}
    [error] = checks.check_classes()
    assert ids([error]) == ["E006"]
    assert error.hint == "Name a subclass of eric_sse_django.authorization.Authorizer."


def test_the_classes_that_hints_name_exist():
    assert {import_string(path): path for path in checks.PUBLIC.values()} == checks.PUBLIC


def test_the_default_classes_serve(settings):
    names = ("CHANNEL_CLASS", "AUTHORIZER")
    settings.ERIC_SSE = {name: conf.DEFAULTS[name] for name in names}
    assert checks.check_classes() == []


def test_a_missing_layer_is_an_error(settings):
    settings.ERIC_SSE = {"CHANNEL_LAYER": "elsewhere"}
    for layers, hint in {
        (): "Use None for polling only.",
        ("default", "b"): "Use one of 'default', 'b', or None for polling only.",
    }.items():
        settings.CHANNEL_LAYERS = {alias: {} for alias in layers}
        [error] = checks.check_layer()
        assert ids([error]) == ["E005"]
        assert error.hint == hint


def test_several_processes_with_an_in_memory_layer_are_warned_of(settings, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert ids(checks.check_layer()) == ["W001"]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    assert checks.check_layer() == []


def test_several_processes_with_another_fabric_need_no_layer(settings, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": "eric_sse_django.wakes.nats.NatsFabric"}}
    assert checks.check_layer() == []
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    settings.ERIC_SSE = {"FABRIC": None}
    assert ids(checks.check_layer()) == ["W001"]


CHANNELS = conf.DEFAULTS["FABRIC"]


@pytest.mark.parametrize(
    "fabric",
    [
        {"BACKEND": "no.such.Fabric"},
        {"BACKEND": "os.getpid"},
        CHANNELS | {"LOCATION": "redis://10.0.0.1"},
        CHANNELS | {"OPTIONS": {"hosts": []}},
    ],
)
def test_a_fabric_that_cannot_be_made_is_an_error(settings, fabric):
    settings.ERIC_SSE = {"FABRIC": fabric}
    assert ids(checks.check_fabric()) == ["E022"]


def test_one_process_needs_no_layer(settings, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    assert checks.check_layer() == []


def test_a_sqlite_deployment_needs_no_layer():
    assert checks.check_layer_for_deployment() == []


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, ["IMMEDIATE", "WAL", "timeout"]),
        ({"transaction_mode": "IMMEDIATE", "timeout": 20}, ["WAL"]),
        ({"init_command": "PRAGMA journal_mode=WAL", "timeout": 20}, ["IMMEDIATE"]),
        (
            {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL",
                "timeout": 1,
            },
            ["timeout"],
        ),
    ],
)
def test_sqlite_without_its_options_is_warned_of(monkeypatch, options, missing):
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    [warning] = checks.check_sqlite()
    assert ids([warning]) == ["W002"]
    assert all(word in warning.msg for word in missing)


def test_sqlite_with_its_options_is_fine():
    assert checks.check_sqlite() == []


@databases.on("postgres", "mariadb", transaction=False)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_isolation_level_at_which_publishers_disturb_each_other_is_warned_of(
    database, monkeypatch, level
):
    use(monkeypatch, database, level)
    [warning] = checks.check_isolation()
    assert ids([warning]) == ["W003"]
    assert level.upper() in warning.msg


@databases.on("mariadb", transaction=False)
def test_the_isolation_level_of_a_mariadb_server_is_warned_of(database, monkeypatch):
    use(monkeypatch, database, None)
    [warning] = checks.check_isolation()
    assert "REPEATABLE READ" in warning.msg


@databases.rolled_back
def test_djangos_isolation_level_is_fine(database, monkeypatch):
    assert checks.check_isolation() == []
    if connections[database].vendor != "sqlite":
        use(monkeypatch, database, "read committed")
        assert checks.check_isolation() == []


def use(monkeypatch, alias, level):
    """Set the isolation level in the settings of a database."""
    connection = connections[alias]
    if level is not None and connection.vendor == "postgresql":
        psycopg = pytest.importorskip("psycopg")
        level = psycopg.IsolationLevel[level.upper().replace(" ", "_")]
    options = {**connection.settings_dict["OPTIONS"], "isolation_level": level}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)


# A cluster ------------------------------------------------------------------------------------


@databases.rolled_back
def test_a_database_that_is_no_cluster_is_fine(database):
    assert checks.check_cluster(databases=[database]) == []


@databases.on("mariadb", transaction=False)
@pytest.mark.parametrize(
    ("on", "sync_wait", "is_fine"),
    [
        ("ON", "0", False),
        ("ON", "6", False),
        ("ON", "1", True),
        ("ON", "7", True),
        ("OFF", "0", True),
    ],
)
def test_nodes_of_a_cluster_that_may_read_late_are_warned_of(
    database, monkeypatch, on, sync_wait, is_fine
):
    monkeypatch.setattr(
        dialect_module,
        "_MYSQL_WSREP",
        f"SELECT 'wsrep_on', '{on}' UNION SELECT 'wsrep_sync_wait', '{sync_wait}'",
    )
    assert ids(checks.check_cluster(databases=[database])) == ([] if is_fine else ["W004"])
    assert checks.check_cluster() == checks.check_cluster(databases=["other"]) == []


def test_gzip_is_reported(settings):
    assert checks.check_gzip() == []
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    assert ids(checks.check_gzip()) == ["I001"]


# Rules ----------------------------------------------------------------------------------------


class Fine(Authorizer):
    async def can_listen(self, user, channel, listener=None, *more):
        return True

    @staticmethod
    def can_watch(user, channel):
        return True

    @classmethod
    def can_publish(cls, user, channel):
        return True

    def can_moderate(self, user):
        return True


class TooFew(Authorizer):
    def can_listen(self, user, channel):
        return True


class TooMany(Authorizer):
    def can_watch(self, user, channel, ip):
        return True


class Gone(Authorizer):
    can_publish = None  # type: ignore[assignment]


class Misspelt(Authorizer):
    def can_listn(self, user, channel, listener):
        return False


class Yielding(Authorizer):
    async def can_watch(self, user, channel):
        yield True


class Needing(Authorizer):
    def __init__(self, tenant):
        self.tenant = tenant


def test_rules_may_be_methods_of_every_kind(settings):
    for kind in (Fine, Authorizer):
        settings.ERIC_SSE = {"AUTHORIZER": f"{kind.__module__}.{kind.__qualname__}"}
        assert checks.check_rules() == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (TooFew, "TooFew.can_listen cannot be called with 3 arguments"),
        (TooMany, "TooMany.can_watch cannot be called with 2 arguments"),
        (Gone, "Gone.can_publish is not a method"),
        (Misspelt, "Misspelt.can_listn is never called: should its name be can_listen?"),
        (Yielding, "Yielding.can_watch is a generator"),
        (Needing, "Needing cannot be created without arguments"),
    ],
)
def test_a_rule_that_cannot_be_called_is_an_error(settings, kind, message):
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.{kind.__name__}"}
    [error] = checks.check_rules()
    assert ids([error]) == ["E030"]
    assert message in error.msg


def test_rules_that_are_no_class_are_another_checks(settings):
    for path in ("no.such.Class", f"{__name__}.ids"):
        settings.ERIC_SSE = {"AUTHORIZER": path}
        assert checks.check_rules() == []


# Timeouts -------------------------------------------------------------------------------------

GOOD = {
    "postgresql": {
        "connect_timeout": 5,
        "keepalives_idle": 15,
        "tcp_user_timeout": 20_000,
        "options": "-c statement_timeout=25000",
    },
    "mysql": {"connect_timeout": 5, "read_timeout": 25, "write_timeout": 25},
    "sqlite": {},
}


@pytest.mark.parametrize("vendor", GOOD)
def test_each_missing_bound_of_the_database_is_named(monkeypatch, vendor):
    connection = connections["default"]
    dialect = DIALECTS[vendor](connection)
    monkeypatch.setattr(connection, "_eric_sse_dialect", dialect, raising=False)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", dict(GOOD[vendor]))
    assert checks.check_timeouts() == []
    for name in GOOD[vendor]:
        left = {each: value for each, value in GOOD[vendor].items() if each != name}
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", left)
        [warning] = checks.check_timeouts()
        assert ids([warning]) == ["W030"]
        assert name in warning.msg


def test_the_bounds_of_the_replica_are_named_too(settings):
    with copies.copy_of("postgres", OPTIONS={}) as copy:
        settings.ERIC_SSE = {"REPLICA": copy}
        assert checks.check_timeouts() == []  # the log is in SQLite
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.router.SelectedDatabaseRouter.alias", "postgres")
            assert {warning.msg.split()[2] for warning in checks.check_timeouts()} == {
                "'postgres'",
                f"'{copy}'",
            }


def test_a_replica_that_cannot_be_one_is_an_error(settings):
    for alias, problem in {
        "elsewhere": "not in DATABASES",
        "default": "own database",
        "replica": "another engine",  # Django's dummy
    }.items():
        settings.ERIC_SSE = {"REPLICA": alias}
        [error] = checks.check_replica()
        assert ids([error]) == ["E010"]
        assert problem in error.msg
    for value in (7, ""):
        settings.ERIC_SSE = {"REPLICA": value}
        assert ids(checks.check_settings()) == ["E003"]
    settings.ERIC_SSE = {}
    assert checks.check_replica() == []


def test_a_copy_of_the_database_may_be_its_replica(settings):
    with copies.copy_of("default") as copy:
        settings.ERIC_SSE = {"REPLICA": copy}
        assert checks.check_replica() == []


@pytest.mark.parametrize(
    ("pool", "is_enough"),
    [
        (None, True),
        (False, True),
        (True, False),
        ({"max_size": 2}, False),
        ({"min_size": 8}, False),
        ({"min_size": 2, "max_size": 20}, True),
        ({"min_size": 20}, True),
    ],
)
def test_a_pool_with_too_few_connections_for_our_threads_is_named(monkeypatch, pool, is_enough):
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"pool": pool})
    assert ids(checks.check_pool()) == ([] if is_enough else ["W040"])


@pytest.fixture
def not_mounted(monkeypatch):
    monkeypatch.setattr(stream_urls, "_is_mounted", False)
    monkeypatch.setattr(stream_urls, "_is_logged", False)
    monkeypatch.setattr(stream_urls, "_has_requests", True)


@pytest.fixture
def asgi(tmp_path, monkeypatch, settings):
    """Return a function that has ASGI_APPLICATION name a module with this text."""

    def name(text):
        (tmp_path / "an_asgi.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "an_asgi", raising=False)
        settings.ASGI_APPLICATION = "an_asgi.application"

    yield name
    sys.modules.pop("an_asgi", None)


PLAIN = "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
IMPORT = "from eric_sse_django.routing import with_streams, {}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PLAIN, ["W020"]),
        (PLAIN + "import eric_sse_django.routing\n", ["W020"]),
        (IMPORT.format("stream") + PLAIN + "application = with_streams(application)\n", []),
        # Whatever is around it.
        (
            IMPORT.format("stream")
            + PLAIN
            + "inner = with_streams(application)\nasync def application(*a): await inner(*a)\n",
            [],
        ),
        (IMPORT.format("urlpatterns") + PLAIN, []),
        ("raise OSError", []),
        ("", []),
    ],
)
def test_an_application_without_streams_is_warned_of(asgi, not_mounted, text, found):
    asgi(text)
    assert ids(checks.check_streams()) == found


def test_an_asgi_application_that_is_not_set_is_warned_of_in_debug(settings, not_mounted):
    del settings.ASGI_APPLICATION
    assert checks.check_streams() == []
    settings.DEBUG = True
    assert ids(checks.check_streams()) == ["W020"]


def test_a_wsgi_runserver_is_warned_of_in_debug(settings, monkeypatch):
    settings.DEBUG = True
    assert checks.check_runserver() == []
    for app, found in {"django.contrib.staticfiles": ["W021"], "another": []}.items():
        monkeypatch.setattr(checks, "get_commands", lambda app=app: {"runserver": app})
        assert ids(checks.check_runserver()) == found
    settings.DEBUG = False
    assert checks.check_runserver() == []


def test_a_url_that_this_process_does_not_serve_is_logged_once_in_debug(
    settings, not_mounted, caplog
):
    stream_urls.with_query("events/")
    assert not caplog.records
    settings.DEBUG = True
    stream_urls.with_query("events/")
    stream_urls.with_query("events/")
    [record] = caplog.records
    assert "serves no streams" in record.message
    stream_urls.set_mounted()
    stream_urls._is_logged = False
    stream_urls.with_query("events/")
    assert len(caplog.records) == 1


@pytest.mark.django_db  # Django checks its connections when a request starts
def test_a_shell_or_a_worker_is_not_warned_of_its_urls(settings, not_mounted, monkeypatch, caplog):
    settings.DEBUG = True
    monkeypatch.setattr(stream_urls, "_has_requests", False)
    stream_urls.with_query("events/")
    assert not caplog.records
    request_started.connect(stream_urls.on_request)
    stream_urls.on_request(signal=request_started)  # Django's own receivers use the database
    assert stream_urls.on_request not in [each[1]() for each in request_started.receivers]
    stream_urls.with_query("events/")
    assert len(caplog.records) == 1


class Spread:
    """Routes one of the app's tables elsewhere."""

    def db_for_write(self, model, **_):
        return "other" if model._meta.object_name == "ApiToken" else "default"


class Forgetful:
    """Knows the app, and not the other apps of the package."""

    def allow_migrate(self, db, app_label, **_):
        return app_label == "eric_sse_django"


class Unmigrated:
    """Writes to a database that it does not migrate."""

    def allow_migrate(self, db, app_label, **_):
        return False


@pytest.mark.parametrize(
    ("router", "found", "named"),
    [
        (Spread, "E008", "ApiToken in 'other'"),
        (Forgetful, "E009", "where the log is: Absence, DeadLetter, Endpoint, Run."),
        (Unmigrated, "E009", "QueuedMessage"),
    ],
)
def test_routers_that_part_the_apps_tables_are_an_error_that_names_what_belongs_together(
    settings, router, found, named
):
    settings.DATABASE_ROUTERS = [router()]
    [error] = checks.check_tables_are_together()
    assert ids([error]) == [found]
    assert named in error.msg
    assert "'eric_sse_'" in error.hint


def test_the_routers_of_the_test_site_are_fine():
    assert checks.check_tables_are_together() == []
