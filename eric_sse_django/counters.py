"""What a process has done, and how long it took: for metrics and the monitor."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence

from eric_sse_django.entry import RESET, Entry

# Seconds. From what one loop's turn takes to where a person has given up waiting.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# The latest delays, for percentiles: enough for a 99th.
SAMPLES = 1_000


class Delays:
    """
    How long something takes, as a histogram.

    Counts delays by the first of BOUNDS_S that is no shorter; the last count is of longer ones.

    One thread notes, any may read. 0.5 µs a delay.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one delay; one below 0 (two clocks) counts as 0."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def add(self, other: Delays) -> None:
        """Count all that `other` has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s


class Counters:
    """
    What one hub's streams have done since it began. They only grow.

    They change once for each batch, never for each message. Only for the hub's loop; any thread
    may read.
    """

    def __init__(self) -> None:
        self.delivered = 0  # messages written to streams
        self.from_log = 0  # messages that streams which were behind read from the log
        self.from_memory = 0  # the same, that were in memory still
        self.resets = 0
        self.lagging = 0  # times that a stream's buffer overflowed, and it read the log again
        self.histories = 0  # times that the log had another history
        self.looks = 0  # reads of the log's end, one or two statements each
        # Messages that were passed on: "taken" by streams, "passed" where no stream is of their
        # channels, "known" from the log, or "looked": the log was read for them.
        self.segments: Counter[str] = Counter()
        # Backlogs that a replica was asked for: "read" from it, "behind" where it did not have
        # them yet, or "failed".
        self.replica: Counter[str] = Counter()
        self.opened = 0
        self.ended: Counter[str] = Counter()  # streams, by the reason
        self.replaced: Counter[str] = Counter()  # threads that hung, by name
        self.delays = Delays()  # from publishing to the streams' buffers
        self.wake_delays = Delays()  # from a wake to the read of the log that it caused
        self._latest_s: deque[float] = deque(maxlen=SAMPLES)

    def delivers(self, delay_s: float) -> None:
        """Note how long one message took from its publishing to the streams' buffers."""
        self._latest_s.append(max(0.0, delay_s))
        self.delays.note(delay_s)

    def read_from_log(self, messages: Sequence[Entry]) -> None:
        """Note what a stream that was behind has got from the log, and not from memory."""
        self.from_log += len(messages)
        self.resets += sum(message.type == RESET for message in messages)

    def delay_ms(self, *fractions: float) -> list[float]:
        """Return percentiles (0.5 is the median) of the latest delays, in ms; 0.0 without any."""
        ordered = sorted(self._latest_s)
        if not ordered:
            return [0.0 for _ in fractions]
        last = len(ordered) - 1
        return [round(ordered[round(last * fraction)] * 1_000, 3) for fraction in fractions]

    def add(self, other: Counters) -> None:
        """Add all that `other` has counted, except the latest delays."""
        self.delivered += other.delivered
        self.from_log += other.from_log
        self.from_memory += other.from_memory
        self.resets += other.resets
        self.lagging += other.lagging
        self.histories += other.histories
        self.looks += other.looks
        self.segments.update(dict(other.segments))
        self.replica.update(dict(other.replica))
        self.opened += other.opened
        self.ended.update(dict(other.ended))  # a copy: its loop may add a reason
        self.replaced.update(dict(other.replaced))
        self.delays.add(other.delays)
        self.wake_delays.add(other.wake_delays)


class Totals:
    """The sums over a process's hubs, also those that have ended: they never decrease."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at 0."""
        self._lock = threading.Lock()
        self._live: list[Counters] = []
        self._past = Counters()
        self._refused: Counter[str] = Counter()

    def of_new_hub(self) -> Counters:
        """Return counters that count here until retire()."""
        counters = Counters()
        with self._lock:
            self._live.append(counters)
        return counters

    def retire(self, counters: Counters) -> None:
        """Keep the sums of a hub that has ended; may be called twice."""
        with self._lock:
            if counters in self._live:
                self._live.remove(counters)
                self._past.add(counters)

    def refused(self, why: str) -> None:
        """Note a request that got no stream; from any loop."""
        with self._lock:
            self._refused[why] += 1

    def sums(self) -> tuple[Counters, Counter[str]]:
        """Return what all hubs have counted, and the refused requests by reason."""
        sums = Counters()
        with self._lock:
            for counters in (self._past, *self._live):
                sums.add(counters)
            return sums, self._refused.copy()


totals = Totals()
# A child has done nothing yet; and a thread that it does not have may hold the lock.
os.register_at_fork(after_in_child=totals.reset)
