"""The ceiling of a durable publish: `INSERT; COMMIT` through Django's own cursor."""

import time

from django.db import connection
from django.http import HttpRequest, HttpResponse

from benchmarks.payload import payload

KEYS = {"sqlite": "integer PRIMARY KEY", "postgresql": "bigserial PRIMARY KEY"}


def insert(request: HttpRequest, count: int, size: int) -> HttpResponse:
    """Insert rows, each in a separate transaction; return the seconds that took."""
    with connection.cursor() as cursor:
        key = KEYS[connection.vendor]
        cursor.execute(f"CREATE TABLE IF NOT EXISTS bare_insert (id {key}, body text NOT NULL)")
        began = time.monotonic()
        for number in range(count):
            cursor.execute("INSERT INTO bare_insert (body) VALUES (%s)", [payload(number, size)])
        seconds = time.monotonic() - began
    return HttpResponse(repr(seconds))
