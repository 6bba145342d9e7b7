"""
Every setting of the app: its name with the unit, its default, its meaning and its check.

And the database of the log, which the project's routers give.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings as project_settings
from django.db import DEFAULT_DB_ALIAS, router


@dataclass(frozen=True)
class Setting:
    """
    One key of the ERIC_SSE dict. `problem(value)` returns what is wrong, or None.

    Its value `is_secret` if it may have passwords: no check shows it.
    """

    name: str
    default: Any
    meaning: str
    problem: Callable[[Any], str | None]
    is_secret: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _seconds(least: float, most: float) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        if _is_number(value) and least <= value <= most:
            return None
        return f"must be a number of seconds from {least:g} to {most:g}"

    return problem


def _whole(least: int, most: int) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"must be a whole number from {least} to {most}"

    return problem


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be True or False"


def _path(value: Any) -> str | None:
    if isinstance(value, str) and value.endswith("/") and not value.startswith("/"):
        return None
    return 'must be a path such as "events/": no slash at the start, one at the end'


def _dotted(value: Any) -> str | None:
    if isinstance(value, str) and all(part.isidentifier() for part in value.split(".")):
        return None
    return 'must be a dotted path such as "package.module.Class"'


def _alias_or_none(of: str, none: str) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value):
            return None
        return f"must be an alias of {of}, or None for {none}"

    return problem


def _fabric(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict) and set(value) <= {"BACKEND", "LOCATION", "OPTIONS"}:
        options = value.get("OPTIONS", {})
        if _dotted(value.get("BACKEND")) is None and isinstance(options, dict):
            return None
    return (
        "must be None, or a dict with BACKEND (the dotted path of a fabric's class) and no other "
        "keys than LOCATION and OPTIONS (a dict), which the class gets"
    )


# What pages may use: see HYPERMEDIA.
LIBRARIES = ("htmx2", "htmx4", "turbo", "datastar", "unpoly", "alpine", "plain")


def _library(value: Any) -> str | None:
    if value is None or value in LIBRARIES:
        return None
    return f"must be one of {', '.join(map(repr, LIBRARIES))}, or None"


# What a wake may carry: see WAKES_CARRY.
CARRIED = ("channels", "messages", "nothing")


def _carried(value: Any) -> str | None:
    return None if value in CARRIED else f"must be one of {', '.join(map(repr, CARRIED))}"


def _whole_or_none(least: int, most: int) -> Callable[[Any], str | None]:
    whole = _whole(least, most)

    def problem(value: Any) -> str | None:
        found = None if value is None else whole(value)
        return None if found is None else f"{found}, or None"

    return problem


# RFC 3986 3.1, in lower case as browsers send it.
_SCHEME = re.compile("[a-z][a-z0-9+.-]*")


def _channel(value: Any) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9_.:@~+-]{1,128}", value):
        return None
    return "must be the id of a channel"


def _channels(value: Any) -> str | None:
    names = value if isinstance(value, (list, tuple, dict)) else [None]
    options = value.values() if isinstance(value, dict) else ()
    if all(isinstance(name, str) for name in names) and all(isinstance(o, dict) for o in options):
        return None
    return 'must be a list of ids, or a dict such as {"orders": {"access": "users"}}'


def _origins(value: Any) -> str | None:
    if isinstance(value, (list, tuple)) and all(map(_is_origin, value)):
        return None
    return 'must be a list of origins such as "https://example.com": no path, no "*"'


def _is_origin(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    scheme, _, host = value.partition("://")
    plain = host and host.isascii() and not set(host) & set("/*?#@ ") and host == host.lower()
    # Browsers send it so: without the default port of the scheme. The pages of mobile and desktop
    # apps have other schemes: capacitor://localhost, ionic://localhost, tauri://localhost.
    port = {"http": ":80", "https": ":443"}.get(scheme, "/")
    return bool(plain and _SCHEME.fullmatch(scheme) and not host.endswith(port))


DAY_S = 86_400
# Seconds that a message may be kept, or delivered, at most: ten years.
MAX_RETENTION_S = 3_650 * DAY_S

SETTINGS: tuple[Setting, ...] = (
    Setting("URL_PREFIX", "events/", "Path under which streams are served.", _path),
    Setting(
        "CHANNELS",
        {},
        "Channels that `migrate` creates: a list of ids, or a dict from each id to its options.",
        _channels,
    ),
    Setting(
        "CHANNEL_CLASS",
        "eric_sse_django.database.DatabaseChannel",
        "The channel class whose `adapt` returns what HTTP streams send.",
        _dotted,
    ),
    Setting(
        "JSON_ENCODER",
        "django.core.serializers.json.DjangoJSONEncoder",
        "The subclass of json.JSONEncoder that turns payloads into JSON.",
        _dotted,
    ),
    Setting(
        "AUTHORIZER",
        "eric_sse_django.authorization.Authorizer",
        "The class whose rules decide which users may listen, watch and publish.",
        _dotted,
    ),
    Setting(
        "ALLOWED_ORIGINS",
        (),
        "Origins of other sites whose pages may open streams with this site's cookies (CORS).",
        _origins,
    ),
    Setting(
        "CHANNEL_LAYER",
        "default",
        "Alias in CHANNEL_LAYERS of the layer that ChannelsFabric uses; None for polling only.",
        _alias_or_none("CHANNEL_LAYERS", "no layer"),
    ),
    Setting(
        "FABRIC",
        {"BACKEND": "eric_sse_django.wakes.channels.ChannelsFabric"},
        "What carries wakes between processes, a dict as in CACHES; None for polling only.",
        _fabric,
        is_secret=True,
    ),
    Setting(
        "WAKES_CARRY",
        "channels",
        "What a wake carries, signed: which channels have new messages ('channels'), the "
        "'messages' too, or 'nothing'.",
        _carried,
    ),
    Setting(
        "POLL_INTERVAL_S",
        0.5,
        "Seconds between two polls of the log when no wake arrives.",
        _seconds(0.05, 60),
    ),
    Setting(
        "SQLITE_LOOK_INTERVAL_S",
        0.2,
        "Seconds between two checks of SQLite's files, which commits of other processes change.",
        _seconds(0.02, 60),
    ),
    Setting(
        "REPLICA",
        None,
        "Alias in DATABASES of a replica of the log's database, from which backlogs are read.",
        _alias_or_none("DATABASES", "no replica"),
    ),
    Setting(
        "HEARTBEAT_S",
        15.0,
        "Seconds of silence after which a heartbeat (an SSE comment) is sent.",
        _seconds(1, 300),
    ),
    Setting(
        "RETRY_MS",
        3_000,
        "Milliseconds a client waits before it reconnects.",
        _whole(100, 600_000),
    ),
    Setting(
        "MAX_STREAM_AGE_S",
        3_600.0,
        "Seconds after which a stream ends and its client reconnects; up to a fifth is "
        "subtracted at random.",
        _seconds(1, 7 * DAY_S),
    ),
    Setting(
        "SEND_TIMEOUT_S",
        30.0,
        "Seconds that one write may wait for a slow client before its stream is closed.",
        _seconds(1, 600),
    ),
    Setting(
        "HOOK_TIMEOUT_S",
        3.0,
        "Seconds that a rule, a session lookup or an `adapt` of the project may take.",
        _seconds(0.05, 600),
    ),
    Setting(
        "DRAIN_S",
        5.0,
        "Seconds over which clients reconnect after a server stops.",
        _seconds(0, 600),
    ),
    Setting(
        "HANDLE_SIGNALS",
        True,
        "Whether SIGTERM and SIGINT first end the streams, and then run the server's own handler.",
        _boolean,
    ),
    Setting(
        "MAX_MESSAGE_BYTES",
        262_144,
        "Bytes of JSON that a payload may have at most.",
        _whole(1, 64 * 1_048_576),
    ),
    Setting(
        "MAX_STREAMS",
        20_000,
        "Streams that one server process serves; further clients are asked to retry later.",
        _whole(1, 10_000_000),
    ),
    Setting(
        "MAX_STREAMS_PER_USER",
        100,
        "Open streams that one user may have on one server process.",
        _whole_or_none(1, 10_000_000),
    ),
    Setting(
        "MAX_STREAMS_PER_ADDRESS",
        None,
        "Open streams that one IP address may have on one server process; None for any number.",
        _whole_or_none(1, 10_000_000),
    ),
    Setting(
        "MAX_CHANNELS_PER_STREAM",
        20,
        "Channels that one stream may serve.",
        _whole(1, 100),
    ),
    Setting(
        "MAX_LISTENERS_PER_CHANNEL",
        None,
        "Listeners that one channel may have; None for any number.",
        _whole_or_none(1, 1_000_000_000),
    ),
    Setting(
        "MAX_WAITING_MESSAGES",
        100_000,
        "Messages that may wait for one listener; when exceeded, the oldest are skipped and the "
        "stream gets an `eric-reset`.",
        _whole_or_none(1, 1_000_000_000),
    ),
    Setting(
        "STREAM_BUFFER_MESSAGES",
        1_000,
        "Messages that may wait in memory for one stream; when exceeded, it reads the log again.",
        _whole(1, 1_000_000),
    ),
    Setting(
        "STREAM_BUFFER_BYTES",
        1_048_576,
        "Bytes that may wait in memory for one stream; when exceeded, it reads the log again.",
        _whole(1_024, 1_073_741_824),
    ),
    Setting(
        "RING_MESSAGES",
        500,
        "Latest messages of each channel that are kept in memory, so that a client that "
        "reconnects needs no query.",
        _whole(0, 1_000_000),
    ),
    Setting(
        "RING_BYTES",
        67_108_864,
        "Bytes of messages that a process keeps in memory for all channels; the least active "
        "channel loses its messages first.",
        _whole(0, 1_099_511_627_776),
    ),
    Setting(
        "CURSOR_WRITE_S",
        1.0,
        "Seconds at most between two writes of the cursor of a listener whose stream is open.",
        _seconds(1, 3_600),
    ),
    Setting(
        "CURSOR_WRITE_MESSAGES",
        None,
        "Messages to one listener after which its cursor is written within a second, before "
        "CURSOR_WRITE_S is over; None for any number.",
        _whole_or_none(1, 1_000_000_000),
    ),
    Setting(
        "GC_FREEZE",
        True,
        "Whether to call `gc.freeze()` when the first stream opens.",
        _boolean,
    ),
    Setting(
        "RETENTION_S",
        7.0 * DAY_S,
        "Seconds a message is kept, unless its channel has another retention.",
        _seconds(60, MAX_RETENTION_S),
    ),
    Setting(
        "TRIM_INTERVAL_S",
        60.0,
        "Seconds between two removals of old messages; 0: only `eric_trim` removes them.",
        _seconds(0, DAY_S),
    ),
    Setting(
        "TICKET_MAX_AGE_S",
        3_600.0,
        "Seconds for which a signed ticket is valid, unless it is created with another age.",
        _seconds(1, 365 * DAY_S),
    ),
    Setting(
        "WATCH_REPLAY_S",
        3_600.0,
        "Seconds of past broadcasts that a watcher may replay; with a ticket, all since the "
        "ticket was created, if that is more.",
        _seconds(0, 3_650 * DAY_S),
    ),
    Setting(
        "HYPERMEDIA",
        None,
        "The library of the project's pages, in whose form HTML is published: 'htmx2', 'htmx4', "
        "'turbo', 'datastar', 'unpoly', 'alpine' or 'plain'.",
        _library,
    ),
    Setting(
        "MAX_BATCH_MESSAGES",
        100,
        "Messages that one request may publish over HTTP.",
        _whole(1, 10_000),
    ),
    Setting(
        "API_RATE_PER_MINUTE",
        None,
        "Messages that one token may publish over HTTP in a minute; None for any number.",
        _whole_or_none(1, 1_000_000_000),
    ),
    Setting(
        "IDEMPOTENCY_S",
        float(DAY_S),
        "Minimum seconds for which an Idempotency-Key is remembered.",
        _seconds(60, 30 * DAY_S),
    ),
    Setting(
        "RUNS_CHANNEL",
        "runs",
        "The channel of runs that are started without another one.",
        _channel,
    ),
    Setting(
        "RUNS_FLUSH_S",
        0.042,
        "Seconds for which the output of a process's runs is collected before it is written.",
        _seconds(0, 5),
    ),
    Setting(
        "RUNS_FLUSH_BYTES",
        65_536,
        "Characters of output after which it is written before RUNS_FLUSH_S is over.",
        _whole(1, 1_048_576),
    ),
    Setting(
        "RUNS_LEASE_S",
        30.0,
        "Seconds without a sign of life of its producer after which a run is lost.",
        _seconds(2, DAY_S),
    ),
    Setting(
        "RUNS_COMPACT_AFTER_S",
        3_600.0,
        "Seconds after its end when a run's output becomes one message; 0: never.",
        _seconds(0, 365 * DAY_S),
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}


def given() -> dict[str, Any]:
    """Return the project's ERIC_SSE dict unchecked, {} if there is none."""
    return getattr(project_settings, "ERIC_SSE", {})


def channels() -> dict[str, dict[str, Any]]:
    """Return the channels of ERIC_SSE["CHANNELS"]: the options of each, by its id."""
    value = get("CHANNELS")
    if _channels(value) is not None:
        return {}
    return dict(value) if isinstance(value, dict) else {name: {} for name in value}


def several(*names: str) -> tuple[Any, ...]:
    """As get(), for several names at once."""
    given: dict[str, Any] = getattr(project_settings, "ERIC_SSE", {})
    return tuple(map(given.get, names, map(DEFAULTS.__getitem__, names)))


def get(name: str) -> Any:
    """
    Return ERIC_SSE[name] from the project's settings, or its default.

    Read at every call: override_settings() needs no reset hook. Raises KeyError for a name that
    is not in DEFAULTS.
    """
    default = DEFAULTS[name]
    given: dict[str, Any] = getattr(project_settings, "ERIC_SSE", {})
    return given.get(name, default)


def database() -> str:
    """Return the alias of the database that holds the log, as the project's routers give it."""
    if not router.routers:  # called some ten times for a message: 4 µs each in the router
        return DEFAULT_DB_ALIAS
    return router.db_for_write(apps.get_model("eric_sse_django", "QueuedMessage"))
