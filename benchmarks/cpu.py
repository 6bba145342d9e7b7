"""The CPU time of processes, to the nanosecond: times in ticks of 10 ms hide short works."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import psutil

# The kernel's clock of a process has this in its number, which is made of the process's id.
PROCESS_CLOCK = 2


class Cpu(NamedTuple):
    """CPU seconds of a subject's servers, and of the servers of its database and its wakes."""

    server_s: float
    database_s: float

    def plus(self, more: Cpu) -> Cpu:
        return Cpu(self.server_s + more.server_s, self.database_s + more.database_s)

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.server_s - before.server_s, self.database_s - before.database_s)

    @property
    def total_s(self) -> float:
        return self.server_s + self.database_s


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU seconds of processes that run, with those of their children that ended."""
    return sum(_own(process) + _of_ended_children(process) for process in processes)


def family(process: psutil.Process) -> list[Any]:
    """Return a process and all that it has started."""
    return [process, *process.children(recursive=True)]


def _own(process: psutil.Process) -> float:
    try:
        return time.clock_gettime(~process.pid << 3 | PROCESS_CLOCK)
    except OSError:  # it has ended: its parent has its time
        return 0.0


def _of_ended_children(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[2:4]))
    except psutil.NoSuchProcess:
        return 0.0
