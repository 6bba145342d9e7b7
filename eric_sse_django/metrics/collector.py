"""The counters of this process's hubs and notifier, as Prometheus metrics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from eric_sse_django import notifier, wakes
from eric_sse_django.counters import BOUNDS_S, Delays
from eric_sse_django.hub import Counters, running_hubs, totals


class EricSseCollector(Collector):
    """
    Reads the counters when it is collected; never waits, and makes no query.

    Every sample has the label `pid`: several processes may share one address.
    """

    def collect(self) -> Iterator[Metric]:
        self._pid = str(os.getpid())
        sums, refused = totals.sums()
        yield from self._streams(sums, refused)
        yield from self._messages(sums)
        yield from self._delays(sums)
        started = notifier.started()
        replaced = sums.replaced + (started.replaced if started else Counter())
        text = "Threads that were replaced because a call hung."
        yield self._counter("threads_replaced", text, replaced, "thread")
        yield from self._works()

    def _streams(self, sums: Counters, refused: Mapping[str, int]) -> Iterator[Metric]:
        count = sum(len(hub.streams) for hub in running_hubs())
        yield self._gauge("streams", "Open streams.", {"": count})
        yield self._counter("streams_opened", "Streams opened.", {"": sums.opened})
        text = "Streams ended, by reason."
        yield self._counter("streams_ended", text, sums.ended, "reason")
        text = "Requests that got no stream, by status, limit reached, or `database unavailable`."
        yield self._counter("requests_refused", text, refused, "why")

    def _messages(self, sums: Counters) -> Iterator[Metric]:
        delivered = {"": sums.delivered}
        yield self._counter("messages_delivered", "Messages written to streams.", delivered)
        replayed = {"log": sums.from_log, "memory": sums.from_memory}
        text = "Messages replayed to streams that were behind, by source."
        yield self._counter("messages_replayed", text, replayed, "source")
        text = "eric-reset events sent: messages that a stream had not seen were removed."
        yield self._counter("resets", text, {"": sums.resets})
        text = "Buffers that overflowed: a slow client made its stream read the log again."
        yield self._counter("lagging", text, {"": sums.lagging})
        text = "Times that the log had another history, and all streams ended."
        yield self._counter("histories", text, {"": sums.histories})
        started = notifier.started()
        sequenced = {"": started.sequenced if started else 0}
        text = "Messages to which this process gave a position."
        yield self._counter("messages_sequenced", text, sequenced)
        text = "Segments handed to the hubs of this process, by what was done with them."
        yield self._counter("segments", text, sums.segments, "outcome")
        text = "Reads of the log's end by the hubs of this process, polls included."
        yield self._counter("looks", text, {"": sums.looks})
        text = "Backlogs that the replica was asked for, by outcome."
        yield self._counter("replica_reads", text, sums.replica, "outcome")

    def _delays(self, sums: Counters) -> Iterator[Metric]:
        started = notifier.started()
        to_positions = started.delays if started else Delays()
        text = "Seconds from publishing to the buffers of the streams, once for each read."
        yield self._histogram("delivery_delay_seconds", text, sums.delays)
        text = "Seconds from a wake to the delivery of what was passed on, or the read of the log."
        yield self._histogram("wake_delay_seconds", text, sums.wake_delays)
        text = "Seconds from a commit to the positions of its messages, once for each batch."
        yield self._histogram("sequencing_delay_seconds", text, to_positions)

    def _works(self) -> Iterator[Metric]:
        started = notifier.started()
        troubles = {
            "hub": [hub.trouble() for hub in running_hubs()],
            "notifier": [started.trouble()] if started else [],
            "layer": [outage.trouble for outage in wakes.outages()],
        }
        works = {part: int(not any(found)) for part, found in troubles.items()}
        yield self._gauge("works", "1 if a part of this process works, else 0.", works, "part")

    def _gauge(
        self, name: str, text: str, values: Mapping[str, int], label: str = ""
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"eric_sse_{name}", text, labels=self._names(label))
        for value, number in values.items():
            family.add_metric(self._values(value), number)
        return family

    def _counter(
        self, name: str, text: str, values: Mapping[str, int], label: str = ""
    ) -> CounterMetricFamily:
        family = CounterMetricFamily(f"eric_sse_{name}", text, labels=self._names(label))
        for value, number in values.items():
            family.add_metric(self._values(value), number)
        return family

    def _histogram(self, name: str, text: str, delays: Delays) -> HistogramMetricFamily:
        family = HistogramMetricFamily(f"eric_sse_{name}", text, labels=self._names(""))
        bounds = [*map(floatToGoString, BOUNDS_S), "+Inf"]
        counts = accumulate(delays.counts)
        family.add_metric(self._values(""), list(zip(bounds, counts, strict=True)), delays.sum_s)
        return family

    def _names(self, label: str) -> list[str]:
        return ["pid", label] if label else ["pid"]

    def _values(self, value: str) -> list[str]:
        return [self._pid, value] if value else [self._pid]
