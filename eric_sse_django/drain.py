"""`drain()` ends the streams of this process: for a project that handles signals itself."""

from eric_sse_django.consumers.shutdown import drain

__all__ = ["drain"]
