"""Channels, listeners, the log, open streams, revocations and the HTTP API's tokens."""

from eric_sse_django.conf import database
from eric_sse_django.models.api import ApiToken, PublishReceipt
from eric_sse_django.models.base import (
    IDENTIFIER,
    IDENTIFIER_MAX_LENGTH,
    IDENTIFIER_WORDS,
    could_be_id,
    deleted_with,
    is_identifier,
    note_deletion,
)
from eric_sse_django.models.channel import Channel
from eric_sse_django.models.listener import Listener, of_programs
from eric_sse_django.models.log import TYPE_MAX_LENGTH, LogHead, QueuedMessage
from eric_sse_django.models.presence import (
    Monitor,
    OpenStream,
    PresentListener,
    PresentUser,
    ServerProcess,
    Watchers,
)
from eric_sse_django.models.revocation import (
    Revocation,
    subject_of_auth,
    subject_of_channel,
    subject_of_listener,
    subject_of_login,
    subject_of_session,
    subject_of_user,
    subject_of_watchers,
    subjects_of,
)
from eric_sse_django.models.users import (
    user_key,
    usernames,
    users_are_here,
    users_named,
    with_user,
)

__all__ = [
    "IDENTIFIER",
    "IDENTIFIER_MAX_LENGTH",
    "IDENTIFIER_WORDS",
    "TYPE_MAX_LENGTH",
    "ApiToken",
    "Channel",
    "Listener",
    "LogHead",
    "Monitor",
    "OpenStream",
    "PresentListener",
    "PresentUser",
    "PublishReceipt",
    "QueuedMessage",
    "Revocation",
    "ServerProcess",
    "Watchers",
    "could_be_id",
    "database",
    "deleted_with",
    "is_identifier",
    "note_deletion",
    "of_programs",
    "subject_of_auth",
    "subject_of_channel",
    "subject_of_listener",
    "subject_of_login",
    "subject_of_session",
    "subject_of_user",
    "subject_of_watchers",
    "subjects_of",
    "user_key",
    "usernames",
    "users_are_here",
    "users_named",
    "with_user",
]
