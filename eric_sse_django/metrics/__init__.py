"""What this process counts, for Prometheus. Needs the extra `metrics`."""

from eric_sse_django.metrics.collector import EricSseCollector

__all__ = ["EricSseCollector"]
