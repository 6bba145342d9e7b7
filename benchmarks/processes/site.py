"""This app's server under test, which also reports what it has done: GET /facts."""

from __future__ import annotations

import json
import time
from typing import Any

from django.db.backends.signals import connection_created

from benchmarks import durable
from eric_sse_django.hub import all_hubs

_statements = 0


def _count(connection: Any, **_: Any) -> None:
    connection.execute_wrappers.append(_counted)


def _counted(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
    global _statements
    _statements += 1  # not atomic: about one in a million may be lost
    return execute(sql, params, many, context)


connection_created.connect(_count)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """As durable.application, and /facts. BEGIN and COMMIT are not counted as statements."""
    if scope.get("path") != "/facts":
        await durable.application(scope, receive, send)
        return
    facts = {
        "cpu_s": time.process_time(),
        "statements": _statements,
        "streams": sum(len(hub.streams) for hub in all_hubs()),
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(facts).encode()})
