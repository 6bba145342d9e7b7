"""Benchmarks: this app compared with a bare ASGI app and its rivals."""
