"""One turn of an endpoint: its messages are posted in order, until one is not accepted."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.contrib.webhooks import conf, endpoints, signing
from eric_sse_django.contrib.webhooks.models import ERROR_MAX_LENGTH, DeadLetter, Endpoint
from eric_sse_django.contrib.webhooks.sending import Answer, post
from eric_sse_django.database import operations
from eric_sse_django.database.acknowledgement import acknowledge
from eric_sse_django.entry import CONTROLS, RESET, Entry
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.log import Recipient
from eric_sse_django.models import Listener

logger = logging.getLogger(__name__)

# Messages that are read together.
PAGE = 50
# Seconds after which another endpoint has its turn, so that none waits for a long queue.
TURN_S = 10.0


def take_turn(key: int, is_over: Callable[[], bool] = lambda: False) -> int:
    """
    Send what waits for an endpoint; return how many messages it accepted.

    Returns 0 at once if another worker has its lease. Ends after TURN_S, at the first message
    that is not accepted, and before the next message if `is_over()`. After an error, such as one
    of the database, the next turn is as late as after a message that was not accepted.
    """
    endpoint = endpoints.claim(key, endpoints.new_lease())
    if endpoint is None:
        return 0
    turn = _Turn(endpoint, is_over)
    try:
        turn.send_again()
        turn.send()
    except InvalidListenerException:
        logger.debug("an endpoint was removed during its turn endpoint=%s", key)
    except Exception:
        turn.postpone()
        raise
    finally:
        endpoints.release(endpoint)
    return turn.accepted


class _Turn:
    """What one worker does for one endpoint, as long as it has the lease."""

    def __init__(self, endpoint: Endpoint, is_over: Callable[[], bool]) -> None:
        self.accepted = 0
        self._endpoint = endpoint
        self._is_over = is_over
        self._ends_at = time.monotonic() + TURN_S
        self._replays = 0  # of the listener, when the page was read

    def postpone(self) -> None:
        """Wait before the next turn, as far as the database allows to write that."""
        at = timezone.now() + timedelta(seconds=delay_of(1))
        with contextlib.suppress(DatabaseError):
            endpoints.leased(self._endpoint).update(next_attempt_at=at)

    def _continues(self) -> bool:
        """Return whether one more request may be sent; renew the lease for it."""
        is_in_time = time.monotonic() < self._ends_at and not self._is_over()
        return is_in_time and endpoints.renew(self._endpoint)

    # The queue ----------------------------------------------------------------------

    def send(self) -> None:
        """Send the messages that wait, in their order."""
        if not endpoints.is_due(self._endpoint, timezone.now()):
            return
        while (page := self._page()) is not None:
            for entry in page:
                if not self._is_posted(entry):
                    continue
                if not self._continues() or not self._send(entry):
                    return
            if page and not self._skip_to(page[-1].position):
                return

    def _page(self) -> log.Page | None:
        """Return the next messages; None if there are none, or the listener is stopped."""
        listener = self._listener()
        if listener is None or not listener.running or self._is_over():
            return None
        self._replays = listener.replays
        head, _ = log.head()
        page = log.read([Recipient.of(listener)], head, PAGE)
        if not page:
            endpoints.leased(self._endpoint).update(checked=page.reached)
        return page if page or page.reached < head else None

    def _listener(self) -> Listener | None:
        return Listener.objects.filter(pk=self._endpoint.listener_id).first()

    def _is_posted(self, entry: Entry) -> bool:
        types = self._endpoint.types
        if entry.type == RESET:  # of whatever types the messages were that are gone
            return True
        return entry.type not in CONTROLS and (not types or entry.type in types)

    def _skip_to(self, position: int) -> bool:
        """Move the cursor; return False if an operator has replayed since the page was read."""
        return acknowledge(self._endpoint.listener, position, self._replays) >= position

    def _send(self, entry: Entry) -> bool:
        """Post a message; return whether the next one may follow."""
        endpoint = self._endpoint
        is_retry = endpoint.attempted == entry.position
        attempts = endpoint.attempts + 1 if is_retry else 1
        body = body_of(endpoint.listener.channel.name, entry)
        answer = self._post(entry.position, body)
        if answer.is_accepted:
            continues = self._skip_to(entry.position)
            self._note(answer, 0, 0, accepted_at=timezone.now())
            self.accepted += 1
            return continues
        if not endpoints.renew(endpoint):
            return False  # another worker has it: what becomes of the message is decided there
        if answer.is_gone:
            logger.warning("an endpoint is gone, its listener is stopped endpoint=%s", endpoint.pk)
            operations.stop([endpoint.listener])
            self._note(answer, 0, 0)
            return False
        if attempts >= conf.get("MAX_ATTEMPTS"):
            return self._bury(entry, body, answer, attempts)
        delay_s = max(delay_of(attempts), min(answer.retry_after_s, conf.get("MAX_DELAY_S")))
        at = timezone.now() + timedelta(seconds=delay_s)
        self._note(answer, attempts, entry.position, next_attempt_at=at)
        return False

    def _bury(self, entry: Entry, body: bytes, answer: Answer, attempts: int) -> bool:
        """Keep a message as a dead letter; return whether the next one may follow."""
        endpoint = self._endpoint
        logger.error(
            "a webhook's message is a dead letter endpoint=%s position=%s attempts=%s",
            *(endpoint.pk, entry.position, attempts),
        )
        letter = DeadLetter(
            endpoint=endpoint,
            position=entry.position,
            type=entry.type,
            body=body.decode(),
            attempts=attempts,
            **_outcome(answer),
        )
        with transaction.atomic(using=log.database()):
            # After a replay there may be one of the same message.
            DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)
            continues = self._skip_to(entry.position)
            self._note(answer, 0, 0)
        return continues

    # Dead letters -------------------------------------------------------------------

    def send_again(self) -> None:
        """Send the dead letters that an operator wants to be sent again; once each."""
        letters = DeadLetter.objects.filter(endpoint=self._endpoint, again_at__lte=timezone.now())
        for letter in letters.order_by("position")[:PAGE]:
            if not self._continues():
                return
            answer = self._post(letter.position, letter.body.encode())
            if answer.is_accepted:
                letter.delete()
                self.accepted += 1
            else:
                # Not save(): that would store it again, if an operator has removed it meanwhile.
                DeadLetter.objects.filter(pk=letter.pk).update(
                    again_at=None,
                    failed_at=timezone.now(),
                    attempts=letter.attempts + 1,
                    **_outcome(answer),
                )

    # Both ---------------------------------------------------------------------------

    def _post(self, position: int, body: bytes) -> Answer:
        endpoint, message_id = self._endpoint, f"msg_{position}"
        signed = signing.headers(
            *(message_id, int(time.time()), body, endpoint.secret, endpoint.previous_secret)
        )
        headers = {"Content-Type": "application/json", **signed}
        return post(endpoint.url, body, headers, conf.get("TIMEOUT_S"))

    def _note(self, answer: Answer, attempts: int, attempted: int, **fields: Any) -> None:
        """Record what became of a request, as long as the lease is its own."""
        fields = {"attempts": attempts, "attempted": attempted, **_outcome(answer), **fields}
        fields.setdefault("next_attempt_at", None)
        for name, value in fields.items():
            setattr(self._endpoint, name, value)
        endpoints.leased(self._endpoint).update(**fields)


def _outcome(answer: Answer) -> dict[str, Any]:
    return {"last_status": answer.status, "last_error": answer.shown_error()[:ERROR_MAX_LENGTH]}


def body_of(channel: str, entry: Entry) -> bytes:
    """Return the body of the request for a message: the payload's text is as it was published."""
    at = entry.created_at
    known = {
        "type": entry.type,
        "timestamp": None if at is None else at.isoformat(),
        "channel": channel,
        "position": entry.position,
        "id": entry.uid,
    }
    start = json.dumps({name: value for name, value in known.items() if value is not None})
    return f'{start[:-1]}, "data": {entry.payload}}}'.encode()


def delay_of(attempts: int) -> float:
    """Return the seconds to wait after so many attempts: at random between a bound and half."""
    bound_s = min(
        conf.get("MAX_DELAY_S"), conf.get("FIRST_DELAY_S") * 2.0 ** min(attempts - 1, 60)
    )
    return random.uniform(bound_s / 2, bound_s)
