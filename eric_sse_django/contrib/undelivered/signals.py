"""
The signal `undelivered`: messages have waited for a listener for longer than --after.

Receivers get `listener`, the row with `listener.channel` and `listener.owner` loaded; `messages`,
the first ones that wait (MAX_MESSAGES at most); `has_more`, whether more wait; and `since`, the
time when the first of them was published. The sender is the model Listener.

A listener that is online gets its messages at once, so one with an older message has been away
for that time. The signal is sent once for a listener and absence: again only after the listener
has received something, and messages have waited again. If all receivers fail, the next run
of the command sends it again; what they raise is logged.
"""

from __future__ import annotations

from django.dispatch import Signal

# Messages that a signal has at most.
MAX_MESSAGES = 20

undelivered = Signal()
