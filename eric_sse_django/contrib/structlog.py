"""
structlog: the identifiers in this app's log lines as fields, instead of text.

    import structlog
    from eric_sse_django.contrib.structlog import eric_fields

    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
        "foreign_pre_chain": [structlog.stdlib.add_log_level, eric_fields],
        "pass_foreign_args": True,
    }

"a rule did not answer in time rule=Rules.can_watch timeout=3.0" becomes the event "a rule did not
answer in time" with the fields `rule` and `timeout`. Log lines contain no payloads.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

PACKAGE = "eric_sse_django"
# A conversion of a %-format, with the name of its field if it has one.
CONVERSION = re.compile(r"(?:\s*\b(?P<name>[a-z_]+)=)?(?P<how>%[-#0 +]*\d*(?:\.\d+)?[a-zA-Z%])")


def eric_fields(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """
    Move the fields of this app's records out of the event's text. A processor of structlog.

    For `foreign_pre_chain` of a ProcessorFormatter with `pass_foreign_args`: it takes their
    `positional_args`. Other records, and keys that are there already, stay as they are.
    """
    record, args = event_dict.get("_record"), event_dict.pop("positional_args", ())
    if record is None or not f"{record.name}.".startswith(f"{PACKAGE}."):
        return event_dict
    if not (isinstance(record.msg, str) and isinstance(args, tuple) and args):
        return event_dict
    event, fields = _parts(record.msg, args)
    event_dict["event"] = event
    for name, value in fields.items():
        event_dict.setdefault(name, value)
    return event_dict


def _parts(form: str, args: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """Return the text of a record without its fields, and these."""
    fields: dict[str, Any] = {}
    left = list(args)

    def part(found: re.Match[str]) -> str:
        if found["how"].endswith("%"):
            return found[0] % ()
        value, name = left.pop(0), found["name"]
        text: str = found["how"] % (value,)
        if name is None:
            return text
        is_plain = value is None or isinstance(value, (bool, int, float, str))
        fields[name] = value if is_plain else text
        return ""

    return CONVERSION.sub(part, form).strip(), fields
