"""System checks: settings that cannot work, or would fail in production."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.db import connections, router
from django.db.models import Model
from django.utils.module_loading import import_string

from eric_sse_django import conf, stream_urls, wakes
from eric_sse_django.authorization import Authorizer
from eric_sse_django.database import DatabaseChannel, configured
from eric_sse_django.hub.hooks import THREADS as HOOK_THREADS
from eric_sse_django.log import database, dialect_of, kind_of, log_dialect
from eric_sse_django.log.publishing import encoder

IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
# Seconds that a SQLite writer waits for another writer: the default of Python is 5.
MIN_SQLITE_TIMEOUT_S = 5
# The paths by which projects import the classes.
PUBLIC: dict[type, str] = {
    Authorizer: "eric_sse_django.authorization.Authorizer",
    DatabaseChannel: "eric_sse_django.database.DatabaseChannel",
}
SQLITE_OPTIONS = (
    '"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
)


@register()
def check_settings(**_: Any) -> list[CheckMessage]:
    """Unknown names and bad values in ERIC_SSE."""
    given = conf.given()
    if not isinstance(given, dict):
        return [Error("ERIC_SSE is not a dict.", hint="ERIC_SSE = {…}", id="eric_sse_django.E001")]
    found: list[CheckMessage] = []
    for name, value in given.items():
        setting = conf.BY_NAME.get(name)
        if setting is None:
            message, hint = f"ERIC_SSE has no setting {name!r}.", _names_like(name)
            found.append(Error(message, hint=hint, id="eric_sse_django.E002"))
        elif problem := setting.problem(value):
            shown = "not valid" if setting.is_secret else repr(value)
            message = f"ERIC_SSE[{name!r}] is {shown}: it {problem}."
            hint = f"{setting.meaning} Default: {setting.default!r}."
            found.append(Error(message, hint=hint, id="eric_sse_django.E003"))
    return found


def _names_like(name: Any) -> str:
    near = difflib.get_close_matches(str(name).upper(), conf.BY_NAME, 1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}Settings: {', '.join(sorted(conf.BY_NAME))}."


@register()
def check_classes(**_: Any) -> list[CheckMessage]:
    """A CHANNEL_CLASS or AUTHORIZER that cannot be used."""
    return [
        *_check_class("CHANNEL_CLASS", DatabaseChannel, "eric_sse_django.E004"),
        *_check_class("AUTHORIZER", Authorizer, "eric_sse_django.E006"),
    ]


@register()
def check_encoder(**_: Any) -> list[CheckMessage]:
    """A JSON_ENCODER that cannot encode payloads."""
    path = conf.get("JSON_ENCODER") if isinstance(conf.given(), dict) else None
    if not isinstance(path, str):
        return []
    try:
        encoder(path)
    except (ImportError, ImproperlyConfigured) as error:
        hint = "Name a subclass of django.core.serializers.json.DjangoJSONEncoder."
        message = f"ERIC_SSE['JSON_ENCODER'] is {path!r}, which cannot be used: {error}"
        return [Error(message, hint=hint, id="eric_sse_django.E020")]
    return []


@register()
def check_channels(**_: Any) -> list[CheckMessage]:
    """Channels in CHANNELS with an id or option that a channel cannot have."""
    channels = conf.channels() if isinstance(conf.given(), dict) else {}
    return [
        Error(
            f"ERIC_SSE['CHANNELS'][{name!r}] {problem}",
            hint='Example: "CHANNELS": {"orders": {"access": "users", "retention_s": 86400}}.',
            id="eric_sse_django.E021",
        )
        for name, options in channels.items()
        for problem in configured.problems(name, options)
    ]


def _check_class(name: str, base: type, id: str) -> list[CheckMessage]:
    given = conf.given()
    path = given.get(name) if isinstance(given, dict) else None
    if not isinstance(path, str):
        return []
    hint = f"Name a subclass of {PUBLIC[base]}."
    try:
        found = import_string(path)
    except ImportError as error:
        return [Error(f"ERIC_SSE[{name!r}] cannot be imported: {error}.", hint=hint, id=id)]
    if isinstance(found, type) and issubclass(found, base):
        return []
    return [
        Error(
            f"ERIC_SSE[{name!r}] {path!r} is not a subclass of {base.__name__}.", hint=hint, id=id
        )
    ]


@register()
def check_rules(**_: Any) -> list[CheckMessage]:
    """An AUTHORIZER whose methods cannot be called as rules, or have misspelled names."""
    try:
        found = import_string(conf.get("AUTHORIZER"))
    except Exception:  # noqa: BLE001 - check_classes() reports it
        return []
    if not (isinstance(found, type) and issubclass(found, Authorizer)):
        return []
    problems = [*_bad_rules(found), *_misnamed_rules(found)]
    return [
        Error(f"{found.__qualname__}{problem}", hint=RULES, id="eric_sse_django.E030")
        for problem in problems
    ]


WITH_STREAMS = (
    "In asgi.py: `from eric_sse_django.routing import with_streams`, and "
    "`application = with_streams(get_asgi_application())`."
)
# The apps of Django's runserver, which serves WSGI.
WSGI_RUNSERVERS = ("django.core", "django.contrib.staticfiles")


@register()
def check_streams(**_: Any) -> list[CheckMessage]:
    """An application without streams: Django answers 404 for their URLs."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        message = "ASGI_APPLICATION is not set: runserver serves no streams."
        return [_no_streams(message)] if settings.DEBUG else []
    try:
        import_string(path)  # as runserver does; with_streams() records its call
    except Exception:  # noqa: BLE001 - the server reports it with more detail
        return []
    if stream_urls.is_mounted():
        return []
    return [_no_streams(f"ASGI_APPLICATION is {path}, which serves no streams.")]


def _no_streams(message: str) -> CheckMessage:
    return Warning(message, hint=WITH_STREAMS, id="eric_sse_django.W020")


@register()
def check_runserver(**_: Any) -> list[CheckMessage]:
    """A development server that serves WSGI, and answers 404 for streams."""
    if not settings.DEBUG or get_commands().get("runserver") not in WSGI_RUNSERVERS:
        return []
    return [
        Warning(
            "runserver serves WSGI, and no streams.",
            hint='Put "daphne" into INSTALLED_APPS, before "django.contrib.staticfiles"; or '
            "silence this check if you use another development server.",
            id="eric_sse_django.W021",
        )
    ]


RULES = (
    "The rules are can_listen(self, user, channel, listener), can_watch(self, user, channel) and "
    "can_publish(self, user, channel), each a method or a coroutine function."
)
RULE_ARGUMENTS = {"can_listen": 3, "can_watch": 2, "can_publish": 2}


def _bad_rules(found: type) -> Iterator[str]:
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:
        yield f" cannot be created without arguments: {error}."
    for name, arguments in RULE_ARGUMENTS.items():
        rule = inspect.getattr_static(found, name)
        function = getattr(found, name)
        if not callable(function):
            yield f".{name} is not a method."
        elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            yield f".{name} is a generator function, which gives no access."
        else:
            own = [] if isinstance(rule, (staticmethod, classmethod)) else [None]
            try:
                inspect.signature(function).bind(*own, *[None] * arguments)
            except (TypeError, ValueError) as error:
                yield f".{name} cannot be called with {arguments} arguments: {error}."


def _misnamed_rules(found: type) -> Iterator[str]:
    for name in sorted(set(dir(found)) - set(dir(Authorizer))):
        near = difflib.get_close_matches(name, RULE_ARGUMENTS, n=1, cutoff=0.75)
        if near and callable(getattr(found, name)):
            yield f".{name} is never called: should its name be {near[0]}?"


@register()
def check_fabric(**_: Any) -> list[CheckMessage]:
    """A FABRIC whose class cannot be imported, or refuses its location, options or packages."""
    if not isinstance(conf.given(), dict) or conf.BY_NAME["FABRIC"].problem(conf.get("FABRIC")):
        return []  # check_settings() reports it
    try:
        wakes.configured()
    except Exception as error:  # noqa: BLE001 - a project's own class may raise any
        message = f"ERIC_SSE['FABRIC'] cannot be used: {error}."
        hint = 'See "NATS" in docs/deployment.md for an example.'
        return [Error(message, hint=hint, id="eric_sse_django.E022")]
    return []


@register()
def check_layer(**_: Any) -> list[CheckMessage]:
    """An unknown layer alias, or several processes that cannot wake each other."""
    alias = conf.get("CHANNEL_LAYER")
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    if alias is not None and alias != "default" and alias not in layers:
        message = f"ERIC_SSE['CHANNEL_LAYER'] is {alias!r}, which is not in CHANNEL_LAYERS."
        aliases = ", ".join(map(repr, layers))
        hint = f"Use {f'one of {aliases}, or ' if layers else ''}None for polling only."
        return [Error(message, hint=hint, id="eric_sse_django.E005")]
    processes = os.environ.get("WEB_CONCURRENCY", "")
    if processes.isdigit() and int(processes) > 1 and not _crosses_processes():
        return [_no_wakes(f"WEB_CONCURRENCY asks for {processes} processes")]
    return []


@register(Tags.compatibility, deploy=True)
def check_layer_for_deployment(**_: Any) -> list[CheckMessage]:
    """A database for many servers, without a channel layer that wakes them."""
    if log_dialect().is_file or _crosses_processes():
        return []
    return [_no_wakes("Several processes can use this database")]


def _crosses_processes() -> bool:
    fabric = conf.get("FABRIC")
    if fabric != conf.DEFAULTS["FABRIC"]:
        return fabric is not None
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    backend = layers.get(conf.get("CHANNEL_LAYER"), {}).get("BACKEND", IN_MEMORY_LAYER)
    return bool(backend != IN_MEMORY_LAYER)


def _no_wakes(reason: str) -> CheckMessage:
    return Warning(
        f"{reason}, and no channel layer connects them: a message that one publishes reaches the "
        "streams of another up to ERIC_SSE['POLL_INTERVAL_S'] later.",
        hint="Set CHANNEL_LAYERS to channels_redis (pip install 'eric-sse-django[redis]'), or "
        "ERIC_SSE['FABRIC'] to NATS.",
        id="eric_sse_django.W001",
    )


@register()
def check_tables_are_together(**_: Any) -> list[CheckMessage]:
    """Routers that split the tables of this package's apps, or do not migrate them there."""
    alias = database()
    hint = (
        "db_for_write() must return one alias for all models of the apps whose label begins with "
        "'eric_sse_', and allow_migrate() must allow their tables there. Users, sessions and the "
        "admin's history may be in another database."
    )
    found: list[CheckMessage] = []
    models = [model for model in apps.get_models() if _is_ours(model)]
    apart = {model.__name__: router.db_for_write(model) for model in models}
    if any(other != alias for other in apart.values()):
        places = ", ".join(f"{name} in {other!r}" for name, other in sorted(apart.items()))
        message = f"The app's tables are not in one database: {places}."
        found.append(Error(message, hint=hint, id="eric_sse_django.E008"))
    absent = sorted(
        each.__name__ for each in models if not router.allow_migrate_model(alias, each)
    )
    if absent:
        message = f"Routers do not migrate in {alias!r}, where the log is: {', '.join(absent)}."
        found.append(Error(message, hint=hint, id="eric_sse_django.E009"))
    return found


def _is_ours(model: type[Model]) -> bool:
    return model._meta.app_config.name.partition(".")[0] == __package__


@register()
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """SQLite options under which a writer fails instead of waiting for another."""
    dialect = log_dialect()
    if not dialect.is_file:
        return []
    options = dialect.connection.settings_dict.get("OPTIONS", {})
    missing = []
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        missing.append('"transaction_mode": "IMMEDIATE"')
    if "wal" not in str(options.get("init_command", "")).lower():
        missing.append("journal_mode=WAL")
    if not options.get("timeout", 0) >= MIN_SQLITE_TIMEOUT_S:
        missing.append(f'a "timeout" of {MIN_SQLITE_TIMEOUT_S} or more')
    if not missing:
        return []
    return [
        Warning(
            f"The SQLite database {database()!r} lacks {', '.join(missing)}: publishing while "
            'another process writes can fail with "database is locked".',
            hint=f"In DATABASES[{database()!r}]: {SQLITE_OPTIONS}",
            id="eric_sse_django.W002",
        )
    ]


@register()
def check_replica(**_: Any) -> list[CheckMessage]:
    """A REPLICA that cannot be one of the log's database."""
    alias = _replica()
    if alias is None:
        return []
    if alias not in connections.settings:
        problem = "which is not in DATABASES"
    elif alias == database():
        problem = "which is the log's own database"
    elif kind_of(connections[alias]) is not kind_of(connections[database()]):
        problem = "which has another engine than the log's database"
    else:
        return []
    return [
        Error(
            f"ERIC_SSE['REPLICA'] is {alias!r}, {problem}.",
            hint="Name an alias of DATABASES whose server replicates the log's database, or None.",
            id="eric_sse_django.E010",
        )
    ]


def _replica() -> str | None:
    alias = conf.get("REPLICA") if isinstance(conf.given(), dict) else None
    return alias if isinstance(alias, str) else None


@register(Tags.compatibility, deploy=True)
def check_timeouts(**_: Any) -> list[CheckMessage]:
    """A database connection without timeouts: a broken link blocks for long."""
    aliases = [database()]
    if _replica() in connections.settings and not check_replica():
        aliases.append(str(_replica()))
    return [warning for alias in aliases for warning in _check_timeouts(alias)]


def _check_timeouts(alias: str) -> list[CheckMessage]:
    dialect = dialect_of(connections[alias])
    missing = dialect.missing_timeouts(dialect.connection.settings_dict.get("OPTIONS", {}))
    if not missing:
        return []
    return [
        Warning(
            f"The database {alias!r} has no {', '.join(missing)}: a query over a broken link can "
            "wait for a quarter of an hour.",
            hint=f'Set them in DATABASES[{alias!r}]["OPTIONS"]: see "Timeouts" in '
            "docs/deployment.md.",
            id="eric_sse_django.W030",
        )
    ]


@register()
def check_pool(**_: Any) -> list[CheckMessage]:
    """A connection pool for PostgreSQL that is too small for this app's threads."""
    alias = database()
    pool = connections[alias].settings_dict.get("OPTIONS", {}).get("pool")
    if not pool:
        return []
    options = pool if isinstance(pool, dict) else {}
    # The defaults of psycopg_pool: min_size is 4, and max_size is min_size.
    most = options.get("max_size") or options.get("min_size", 4)
    if most > POOLED_CONNECTIONS:
        return []
    return [
        Warning(
            f"The pool of the database {alias!r} has {most} connections, and this app's threads "
            f"use up to {POOLED_CONNECTIONS} in a process that serves streams: requests wait for "
            "a connection, and fail.",
            hint=f'Set "max_size" in DATABASES[{alias!r}]["OPTIONS"]["pool"] to '
            f"{POOLED_CONNECTIONS} plus the number of simultaneous requests.",
            id="eric_sse_django.W040",
        )
    ]


# One each for reading the log, records, the notifier and trims; the rest for project code.
POOLED_CONNECTIONS = 4 + HOOK_THREADS


@register()
def check_isolation(**_: Any) -> list[CheckMessage]:
    """An isolation level at which publishers block each other."""
    alias = database()
    level = log_dialect().isolation_level(connections[alias].settings_dict.get("OPTIONS", {}))
    if level is None or level == "READ COMMITTED":
        return []
    return [
        Warning(
            f"The database {alias!r} is used at {level}: publishers and sequencing wait for each "
            "other, fail with deadlocks or serialization errors, and pop() in a transaction does "
            "not find what was published after the transaction began.",
            hint=f'Remove "isolation_level" from DATABASES[{alias!r}]["OPTIONS"]: Django then '
            "uses READ COMMITTED. A transaction that needs another level can execute SET "
            "TRANSACTION; its pop() does not find what is published after its first query.",
            id="eric_sse_django.W003",
        )
    ]


@register(Tags.database)
def check_cluster(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A Galera cluster whose nodes may not show yet what others have committed."""
    alias = database()
    if alias not in (databases or ()) or not log_dialect().reads_late():
        return []
    return [
        Warning(
            f"The database {alias!r} is a Galera cluster with wsrep_sync_wait=0: a node that does "
            "not show yet what another has committed looks like a restored backup, and all "
            "streams end.",
            hint="Set wsrep_sync_wait=1 in the server, or for this app's connections: "
            f'DATABASES[{alias!r}]["OPTIONS"]["init_command"] = "SET wsrep_sync_wait = 1". '
            "Silence this check if all connections go to one node.",
            id="eric_sse_django.W004",
        )
    ]


@register()
def check_gzip(**_: Any) -> list[CheckMessage]:
    """GZipMiddleware, which delays streams that the project's views return."""
    if "django.middleware.gzip.GZipMiddleware" not in settings.MIDDLEWARE:
        return []
    return [
        Info(
            "GZipMiddleware is on. Streams of with_streams() do not pass through it; the events "
            "of your own view that returns a message_stream() do, and may arrive late.",
            hint='Set the view\'s response header "Content-Encoding: identity".',
            id="eric_sse_django.I001",
        )
    ]
