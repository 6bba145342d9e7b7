"""What a producer raises when its run was taken or stopped, or has ended."""

from __future__ import annotations

from eric_sse_django.exception import EricError


class RunTaken(EricError):
    """Another producer writes this run, or this one has lost its lease: it writes nothing more."""

    def __init__(self, run_id: str, producer: str = "") -> None:
        super().__init__(run_id, producer)
        self.run_id = run_id
        self.producer = producer

    def __str__(self) -> str:
        by = f" by {self.producer}" if self.producer else ""
        return (
            f"The run {self.run_id!r} is produced{by}, or was taken over: to continue it all the "
            "same, take_over() first."
        )


class RunEnded(EricError):
    """The run has ended, and nothing can be written to it."""

    def __init__(self, run_id: str, status: str = "") -> None:
        super().__init__(run_id, status)
        self.run_id = run_id
        self.status = status

    def __str__(self) -> str:
        return f"The run {self.run_id!r} has ended ({self.status}): start another one."


class RunStopped(RunEnded):
    """The run was stopped. In produce() it ends the run quietly."""

    def __init__(self, run_id: str, status: str = "stopped") -> None:
        super().__init__(run_id, status)


class RunFailed(EricError):
    """Raise it in produce() to fail a run with a text that its clients may read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text
