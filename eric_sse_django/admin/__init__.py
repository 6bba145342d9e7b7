"""The admin: listeners, channels, messages, API tokens, and a live monitor of the traffic."""

from eric_sse_django.admin.api_tokens import ApiTokenAdmin
from eric_sse_django.admin.channels import ChannelAdmin
from eric_sse_django.admin.listeners import ListenerAdmin
from eric_sse_django.admin.messages import MessageAdmin
from eric_sse_django.admin.monitor import MonitorAdmin

__all__ = ["ApiTokenAdmin", "ChannelAdmin", "ListenerAdmin", "MessageAdmin", "MonitorAdmin"]
