"""The plugin is loaded here, for where the package was installed before it had one."""

from eric_sse_django.pytest_plugin import (
    eric_channel,
    eric_clock,
    eric_live_server,
    eric_stream,
    published,
)

__all__ = ["eric_channel", "eric_clock", "eric_live_server", "eric_stream", "published"]
