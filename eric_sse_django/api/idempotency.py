"""
Idempotency keys: a publishing request that is repeated publishes once.

See: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet
from django.http import HttpRequest
from django.utils import timezone

from eric_sse_django import conf, log
from eric_sse_django.api.access import caller_of
from eric_sse_django.api.problem import Problem
from eric_sse_django.models import PublishReceipt

HEADER = "Idempotency-Key"
KEY_MAX_LENGTH = 255
# Receipts removed at once, by one of TRIM_ONE_IN requests that write one: more than are added.
RECEIPTS_AT_ONCE = 1_000
TRIM_ONE_IN = 50


def once(request: HttpRequest, publish: Callable[[], dict[str, Any]]) -> tuple[Any, bool]:
    """
    Return the answer of publish(), and True if it is the stored answer of an earlier request.

    In one transaction with the receipt: an error keeps neither. A second request with the key
    waits until the first one ends. Raises a Problem for a key that was used for another request.
    """
    key = _key(request)
    using = log.database()
    if key is None:
        with transaction.atomic(using=using):
            return publish(), False
    receipt = PublishReceipt(
        user=caller_of(request).user, key=_digest(key.encode()), request=_digest_of(request)
    )
    with transaction.atomic(using=using):
        if not _insert(receipt):
            return _first_answer(receipt), True
        answer = publish()
        receipt.answer = json.dumps(answer)
        receipt.save(update_fields=["answer"])
    if random.random() * TRIM_ONE_IN < 1:
        transaction.on_commit(trim, using=using, robust=True)
    return answer, False


def trim() -> int:
    """Remove up to RECEIPTS_AT_ONCE expired receipts, oldest first; return how many."""
    rows = PublishReceipt.objects
    before = timezone.now() - timedelta(seconds=conf.get("IDEMPOTENCY_S"))
    old = rows.filter(created_at__lt=before).order_by("created_at")
    keys = list(old.values_list("pk", flat=True)[:RECEIPTS_AT_ONCE])
    return rows.filter(pk__in=keys).delete()[0] if keys else 0


def _insert(receipt: PublishReceipt) -> bool:
    """Insert the receipt; return False if the key has one. Waits for a concurrent insert."""
    try:
        with transaction.atomic(using=log.database()):
            receipt.save(force_insert=True)
    except IntegrityError:
        return False
    return True


def _first_answer(receipt: PublishReceipt) -> Any:
    rows = PublishReceipt.objects.filter(user=receipt.user_id, key=receipt.key)
    first = next(iter(_locked(rows) if log.log_dialect().stale_snapshot else rows), None)
    if first is None:  # it has expired, and was just removed
        raise Problem(
            409,
            "The Idempotency-Key has just expired: send the request again.",
            {HEADER: "expired"},
        )
    if first.request != receipt.request:
        raise Problem(
            422,
            "The key was used for another request: use a new key for each request.",
            {HEADER: "used for another request"},
        )
    return json.loads(first.answer)


def _locked(rows: QuerySet[PublishReceipt]) -> RawQuerySet[PublishReceipt]:
    """
    Return the rows as they are now: at REPEATABLE READ only a locking read ignores the snapshot.

    A shared lock: the failed insert holds one already, and with three requests an exclusive lock
    would deadlock.
    """
    sql, params = rows.query.get_compiler(rows.db).as_sql()
    return PublishReceipt.objects.raw(f"{sql} LOCK IN SHARE MODE", params)


def _key(request: HttpRequest) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not 1 <= len(key) <= KEY_MAX_LENGTH:
        raise Problem(
            422, f"A key has 1 to {KEY_MAX_LENGTH} characters.", {HEADER: "empty or too long"}
        )
    return key


def _digest_of(request: HttpRequest) -> str:
    return _digest(
        b"%b %b\n" % (str(request.method).encode(), request.path.encode()), request.body
    )


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()
