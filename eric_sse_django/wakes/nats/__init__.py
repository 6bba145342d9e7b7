"""The fabric of projects with NATS: a process receives what is for its channels, and for all."""

from eric_sse_django.wakes.nats.fabric import NatsFabric

__all__ = ["NatsFabric"]
