"""What goes in and out, as OpenAPI shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Field, Path, Schema
from pydantic import ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

from eric_sse_django.models import IDENTIFIER_MAX_LENGTH, IDENTIFIER_WORDS, TYPE_MAX_LENGTH

# As models.IDENTIFIER, but for "." and "..": pydantic's expressions look at nothing ahead.
ID_PATTERN = f"^[A-Za-z0-9_.:@~+-]{{1,{IDENTIFIER_MAX_LENGTH}}}$"
LARGEST_POSITION = 2**63 - 1
LARGEST_RETENTION_S = 3_650 * 86_400
NAME_MAX_LENGTH = 254  # of a user: more than Django's own 150

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
Next = Annotated[
    str | None, Field(description="Give it as `after` for the next page; null: no more.")
]
Format = Literal["json", "text"]
Access = Literal["ticket", "users", "everyone"]
Served = Literal["sent", "client"]


class Given(Schema):
    """A body: a name that it does not have is refused, for it is a slip of the pen."""

    model_config = ConfigDict(extra="forbid")


class NewChannel(Given):
    id: Id | None = Field(None, description="Without one, the channel gets a uuid4.")
    format: Format = Field("json", description='"text" sends strings as they are.')
    access: Access = Field("ticket", description="Who may watch the broadcasts.")
    retention_s: StrictInt | None = Field(
        None,
        ge=60,
        le=LARGEST_RETENTION_S,
        description="Seconds that messages are kept; null: the project's setting.",
    )
    expires_in_s: StrictInt | None = Field(
        None,
        ge=1,
        le=LARGEST_RETENTION_S,
        description="Seconds after which a message is delivered to nobody; null: never too late.",
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


class NewListener(Given):
    id: Id | None = Field(None, description="Without one, the listener gets a uuid4.")
    owner: Username | None = Field(None, description="The name of the user who may listen.")
    running: StrictBool = Field(True, description="Whether it receives at once.")
    acknowledgement: Served = Field(
        "sent",
        description='When a message counts as served: "sent", or when the "client" says so.',
    )


class ListenerChange(Given):
    acknowledgement: Served


class ListenerOut(Schema):
    id: str
    channel: str
    owner: str | None
    running: bool
    acknowledgement: str
    cursor: int = Field(description="Position up to which it has been served.")
    created_at: datetime
    last_seen: datetime | None


class ListenerPage(Schema):
    listeners: list[ListenerOut]
    next: Next


class NewMessage(Given):
    type: StrictStr = Field(
        max_length=TYPE_MAX_LENGTH,
        description="The event's name: one line, not beginning with eric-.",
        examples=["paid"],
    )
    payload: Any = Field(None, description="Any JSON value.", examples=[{"id": 7}])
    expires_in_s: StrictFloat | None = Field(
        None,
        gt=0,
        le=LARGEST_RETENTION_S,
        description="Seconds after which it is delivered to nobody; null: as the channel says.",
        examples=[30],
    )


def _nobody() -> Any:
    return None


class AddressedMessage(NewMessage):
    # null is refused: it may be a name that the caller does not have, and would be to all.
    listener: Id = Field(
        default_factory=_nobody,
        description="Only to this listener of the channel; left out: to all.",
    )
    owner: Username = Field(
        default_factory=_nobody,
        description="Only to the listeners that this user owns; left out: to all.",
    )


class NewBatch(Given):
    messages: list[AddressedMessage] = Field(
        min_length=1, description="In this order, all or none: MAX_BATCH_MESSAGES at most."
    )


class Accepted(Schema):
    channel: str
    accepted: int = Field(description="Messages that are kept, and go out after the commit.")


class MessageOut(Schema):
    position: int = Field(description="Its place in the log; the SSE id.")
    type: str
    payload: Any
    sender: str | None
    id: str | None = Field(description="The message's own id, if it was published with one.")
    created_at: datetime | None


class MessagePage(Schema):
    messages: list[MessageOut]


class Acknowledgement(Given):
    position: StrictInt = Field(ge=0, le=LARGEST_POSITION, examples=[1_204])


class Cursor(Schema):
    cursor: int


class NewTicket(Given):
    max_age_s: StrictInt | None = Field(
        None, ge=1, description="Seconds it is good for: TICKET_MAX_AGE_S at most."
    )


class TicketOut(Schema):
    ticket: str
    url: str = Field(description="The stream's path, with the ticket in it, for an EventSource.")
    expires_at: datetime


class Revoked(Given):
    user: Username = Field(description="The name of the user whose access is revoked.")


class NamedError(Schema):
    name: str = Field(description="Where the offending value is.")
    detail: str


class ProblemOut(Schema):
    type: str
    title: str
    status: int
    detail: str
    errors: list[NamedError] = Field([], description="The offending values, if any.")
