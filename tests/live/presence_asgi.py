"""The test site with short leases, in processes that note the signals of users in one file."""

import os

from eric_sse_django.hub import arrivals, presence
from eric_sse_django.models import presence as models
from eric_sse_django.signals import user_offline, user_online
from tests.asgi import application

__all__ = ["application"]

LEASE_S = 3.0
GRACE_S = 1.0

SHORT = {"LEASE_S": LEASE_S, "RENEW_S": LEASE_S / 3, "GRACE_S": GRACE_S}
for module in (arrivals, models, presence):
    vars(module).update((name, value) for name, value in SHORT.items() if hasattr(module, name))


def note(signal, user, **_):
    word = "online" if signal is user_online else "offline"
    with open(os.environ["ERIC_SSE_TEST_NOTES"], "a") as notes:
        notes.write(f"{word} {user.username}\n")


for each in (user_online, user_offline):
    each.connect(note)
