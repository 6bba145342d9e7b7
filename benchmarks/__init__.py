"""Benchmarks beside a bare ASGI app, in one run."""
