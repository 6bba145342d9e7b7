"""The test site with short leases, in processes that note the signals of users in one file."""

import os

from tests.asgi import application  # isort: skip - it sets Django up

from eric_sse_django.hub import arrivals, presence
from eric_sse_django.models import presence as models
from eric_sse_django.signals import user_offline, user_online

__all__ = ["application"]

SHORT = {"LEASE_S": 3.0, "RENEW_S": 1.0, "GRACE_S": 1.0}
for module in (arrivals, models, presence):
    vars(module).update((name, value) for name, value in SHORT.items() if hasattr(module, name))


def note(signal, user, **_):
    word = "online" if signal is user_online else "offline"
    with open(os.environ["ERIC_SSE_TEST_NOTES"], "a") as notes:
        notes.write(f"{word} {user.username}\n")


for each in (user_online, user_offline):
    each.connect(note)
