"""The bodies and parameters of requests and responses, as OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from django.db.models import QuerySet
from ninja import Field, Path, Query, Schema
from pydantic import ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

from eric_sse_django.conf import MAX_RETENTION_S
from eric_sse_django.models import (
    IDENTIFIER_MAX_LENGTH,
    IDENTIFIER_WORDS,
    TYPE_MAX_LENGTH,
    Channel,
    Listener,
)

# As models.IDENTIFIER, which also excludes "." and "..": pydantic has no lookahead.
ID_PATTERN = f"^[A-Za-z0-9_.:@~+-]{{1,{IDENTIFIER_MAX_LENGTH}}}$"
MAX_POSITION = 2**63 - 1
NAME_MAX_LENGTH = 254  # of a user: more than Django's own 150
MAX_PAGE = 1_000

Id = Annotated[
    StrictStr,
    Field(
        pattern=ID_PATTERN,
        description=str(IDENTIFIER_WORDS),
        examples=["orders"],
    ),
]
ChannelId = Annotated[str, Path(description="The id of a channel.", examples=["orders"])]
ListenerId = Annotated[str, Path(description="The id of a listener.", examples=["till-7"])]
Username = Annotated[StrictStr, Field(min_length=1, max_length=NAME_MAX_LENGTH)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many to return.")]
After = Annotated[
    str | None, Query(pattern=ID_PATTERN, description="The `next` of the previous page.")
]
Next = Annotated[
    str | None, Field(description="Send it as `after` for the next page; null on the last page.")
]
Format = Literal["json", "text"]
Access = Literal["ticket", "users", "everyone"]
Acknowledged = Literal["sent", "client"]

Row = TypeVar("Row", Channel, Listener)


def example(value: Any) -> dict[str, Any]:
    """Return ninja's `openapi_extra` with an example of a body."""
    return {"requestBody": {"content": {"application/json": {"example": value}}}}


def page(rows: QuerySet[Row], limit: int, after: str | None) -> tuple[list[Row], str | None]:
    """
    Return up to `limit` rows ordered by id, those after an id, and the `next` id or None.

    Paged by the last id, so that each page costs the same.
    """
    if after is not None:
        rows = rows.filter(name__gt=after)
    found = list(rows.order_by("name")[: limit + 1])
    following = found[limit - 1].name if len(found) > limit else None
    return found[:limit], following


class Body(Schema):
    """A request body. Unknown names are refused: they are typing errors."""

    model_config = ConfigDict(extra="forbid")


class NewChannel(Body):
    id: Id | None = Field(None, description="Default: a uuid4.")
    format: Format = Field("json", description='"text" sends strings without JSON quotes.')
    access: Access = Field(
        "ticket", description="Access to the broadcasts: by ticket, for users, or for everyone."
    )
    retention_s: StrictInt | None = Field(
        None,
        ge=60,
        le=MAX_RETENTION_S,
        description="Seconds for which messages are kept; null: the setting RETENTION_S.",
    )
    expires_in_s: StrictInt | None = Field(
        None,
        ge=1,
        le=MAX_RETENTION_S,
        description="Seconds after which a message is no longer delivered; null: no limit.",
    )


class ChannelOut(Schema):
    id: str
    format: str
    access: str
    retention_s: int | None
    expires_in_s: int | None
    created_at: datetime


class ChannelPage(Schema):
    channels: list[ChannelOut]
    next: Next


class NewListener(Body):
    id: Id | None = Field(None, description="Default: a uuid4.")
    owner: Username | None = Field(None, description="The name of its user, who may listen.")
    running: StrictBool = Field(True, description="Whether its streams may open.")
    acknowledgement: Acknowledged = Field(
        "sent",
        description='When a message is acknowledged: when it is "sent", or by the "client".',
    )


class ListenerChange(Body):
    acknowledgement: Acknowledged


class ListenerOut(Schema):
    id: str
    channel: str
    owner: str | None
    running: bool
    acknowledgement: str
    cursor: int = Field(description="The position up to which messages are acknowledged.")
    created_at: datetime
    last_seen: datetime | None


class ListenerPage(Schema):
    listeners: list[ListenerOut]
    next: Next


class NewMessage(Body):
    type: StrictStr = Field(
        max_length=TYPE_MAX_LENGTH,
        description="The event's name: one line that does not start with eric-.",
        examples=["paid"],
    )
    payload: Any = Field(None, description="Any JSON value.", examples=[{"id": 7}])
    expires_in_s: StrictFloat | None = Field(
        None,
        gt=0,
        le=MAX_RETENTION_S,
        description="Seconds after which it is no longer delivered; null: the channel's value.",
        examples=[30],
    )


def _none() -> Any:
    return None


class AddressedMessage(NewMessage):
    # null is refused: a caller whose variable is empty would publish to all.
    listener: Id = Field(
        default_factory=_none,
        description="Only to this listener of the channel; omitted: to all.",
    )
    owner: Username = Field(
        default_factory=_none,
        description="Only to the listeners that this user owns; omitted: to all.",
    )


class NewBatch(Body):
    messages: list[AddressedMessage] = Field(
        min_length=1, description="All or none, in this order; MAX_BATCH_MESSAGES at most."
    )


class Accepted(Schema):
    channel: str
    accepted: int = Field(description="Messages that were stored; delivery follows the commit.")


class MessageOut(Schema):
    position: int = Field(description="Its position in the log; the SSE id.")
    type: str
    payload: Any
    sender: str | None
    id: str | None = Field(description="The publisher's id of the message, if it has one.")
    created_at: datetime | None


class MessagePage(Schema):
    messages: list[MessageOut]


class Acknowledgement(Body):
    position: StrictInt = Field(ge=0, le=MAX_POSITION, examples=[1_204])


class Cursor(Schema):
    cursor: int


class NewTicket(Body):
    max_age_s: StrictInt | None = Field(
        None, ge=1, description="Seconds for which it is valid; TICKET_MAX_AGE_S at most."
    )


class TicketOut(Schema):
    ticket: str
    url: str = Field(description="The stream's path with the ticket, for an EventSource.")
    expires_at: datetime


class UserRevocation(Body):
    user: Username = Field(description="The name of the user whose access is revoked.")


class NamedError(Schema):
    name: str = Field(description="Where the invalid value is.")
    detail: str


class ProblemOut(Schema):
    type: str
    title: str
    status: int
    detail: str
    errors: list[NamedError] = Field([], description="The invalid values, if any.")
