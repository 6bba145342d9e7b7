"""The counters of this process, for Prometheus. Needs the extra `metrics`."""

from eric_sse_django.metrics.collector import EricSseCollector

__all__ = ["EricSseCollector"]
