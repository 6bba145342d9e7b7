"""Replacing a listener's own messages: what others had written becomes fewer, larger messages."""

from __future__ import annotations

from collections.abc import Sequence

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.history import note_removed
from eric_sse_django.log.protocol import Draft
from eric_sse_django.log.publishing import append
from eric_sse_django.log.retention import Lost, raise_floors
from eric_sse_django.models import Listener, QueuedMessage


def replace_own(listener: Listener, upto: int, drafts: Sequence[Draft]) -> bool:
    """
    Remove the messages to one listener up to a position, and append others in their place.

    In the caller's transaction, which must then ring. A client that has not got all of them gets
    an `eric-reset`, and then the new ones. Returns False, and does nothing, while another
    transaction has locked the listener. Locks the head until the commit, at the end.
    """
    own = QueuedMessage.objects.filter(
        channel=listener.channel_id, listener=listener.pk, owner__isnull=True, position__lte=upto
    ).exclude(type__in=CONTROLS)
    last = own.order_by("-position").only("position").first()
    if last is None or last.position is None:
        return False
    if raise_floors([Lost(last.pk, last.position, listener.channel_id, listener.pk, None)]):
        return False
    own.delete()
    append(drafts)
    note_removed([last.position])
    return True
