"""The settings of the app: the dict ERIC_SSE_WEBHOOKS, with these keys and defaults."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from django.conf import settings

NAME = "ERIC_SSE_WEBHOOKS"

DEFAULTS: dict[str, Any] = {
    # Networks such as "10.0.0.0/8" that are not public and may be posted to all the same.
    "ALLOWED_NETWORKS": (),
    # Whether URLs may begin with http://, which everyone on the way can read.
    "ALLOW_HTTP": False,
    # Seconds that one request may take altogether.
    "TIMEOUT_S": 15.0,
    # Attempts for one message, before it becomes a dead letter: about two hours with these delays.
    "MAX_ATTEMPTS": 12,
    # Seconds before the second attempt; doubled before each further one, up to the second value.
    "FIRST_DELAY_S": 5.0,
    "MAX_DELAY_S": 3_600.0,
}


def get(name: str) -> Any:
    """Return a setting, read at every call. Raises KeyError for an unknown name."""
    return getattr(settings, NAME, {}).get(name, DEFAULTS[name])


def problems() -> Iterator[str]:
    """Yield what is wrong with the project's settings."""
    given = getattr(settings, NAME, {})
    if not isinstance(given, dict):
        yield f"{NAME} is not a dict."
        return
    for name, value in given.items():
        if name not in DEFAULTS:
            yield f"{NAME} has no setting {name!r}."
        elif (problem := _problem(name, value)) is not None:
            yield f"{NAME}[{name!r}] is {value!r}: it must be {problem}."


def _problem(name: str, value: Any) -> str | None:
    if name == "ALLOW_HTTP":
        return None if isinstance(value, bool) else "True or False"
    if name == "ALLOWED_NETWORKS":
        return None if _are_networks(value) else 'a list of networks such as "10.0.0.0/8"'
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "MAX_ATTEMPTS":
        is_right = isinstance(value, int) and is_number and value >= 1
        return None if is_right else "a whole number from 1 on"
    return None if is_number and value > 0 else "a number of seconds over 0"


def _are_networks(value: Any) -> bool:
    try:
        networks = [ipaddress.ip_network(each) for each in value]
    except (TypeError, ValueError):
        return False
    return isinstance(value, (list, tuple)) and len(networks) == len(value)
