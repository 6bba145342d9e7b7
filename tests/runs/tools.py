"""What these tests do with runs."""

from typing import Any

from eric_sse_django import notifier, runs
from eric_sse_django.runs import reading
from eric_sse_django.runs.models import Run


def text_of(run: Run) -> str:
    """Return the text that a run has."""
    return "".join(str(chunk.value) for chunk in runs.read(run) if chunk.is_text)


def types_of(run: Run) -> list[str]:
    """Return the types of a run's messages."""
    notifier.flush()
    return [entry.type for entry in reading.entries(run)]


def fresh(run: Run) -> Any:
    """Return a run's row, read again."""
    return Run.objects.get(pk=run.pk)


def late(run: Run) -> None:
    """End a run's lease, as if its worker had been frozen since."""
    Run.objects.filter(pk=run.pk).update(lease_until=1)
