"""Durable Server-Sent Events for Django, with the API of eric-sse."""

__version__ = "0.1.0"
