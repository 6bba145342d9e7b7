"""What the tests of presence share: a hub's call, its counts, receivers, and time that passes."""

from contextlib import ExitStack, contextmanager

from asgiref.sync import sync_to_async
from django.utils import timezone

from eric_sse_django.models import PresentListener

FACTS = {"streams": 0, "delivered": 0, "delay_p50_ms": 0.0, "delay_p99_ms": 0.0}


async def run(function, *args):
    return await sync_to_async(function)(*args)


@contextmanager
def received(receiver, *signals):
    """Connect a receiver to signals."""
    with ExitStack() as stack:
        for signal in signals:
            signal.connect(receiver, weak=False)
            stack.callback(signal.disconnect, receiver)
        yield


@sync_to_async
def let_pass(seconds):
    """Move the time since when listeners are missing into the past."""
    for row in PresentListener.objects.filter(missing_since__isnull=False):
        row.missing_since -= timezone.timedelta(seconds=seconds)
        row.save()
