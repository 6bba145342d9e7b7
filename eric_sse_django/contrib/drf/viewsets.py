"""The viewset of channels: tickets for streams, publishing, and a listener's queue."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from eric_sse_django import log, notifier, stream_urls
from eric_sse_django.authorization import bound_to, make_ticket
from eric_sse_django.contrib.drf.permissions import (
    MayListen,
    MayPublish,
    MayWatch,
    channel_of,
    listener_of,
)
from eric_sse_django.contrib.drf.renderers import ASCIIRenderer, EventStreamRenderer
from eric_sse_django.contrib.drf.serializers import (
    ChannelSerializer,
    ListenSerializer,
    MessageSerializer,
    TicketSerializer,
    shown,
)
from eric_sse_django.database.acknowledgement import acknowledge
from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.exception import InvalidMessageFormat, TooManyListeners
from eric_sse_django.log import Recipient
from eric_sse_django.models import IDENTIFIER, Channel, Listener
from eric_sse_django.shortcuts import listen, publish, stream_url

# Messages of one answer.
MAX_READ = 100
# An id in a URL; DRF adds the group and the slashes around it.
ID = IDENTIFIER.removeprefix("^").removesuffix(r"\Z")


class ChannelViewSet(GenericViewSet):
    """
    A channel: show it, get URLs of its streams, publish to it, and read a listener's queue.

    The project's rules give access, beside the `permission_classes` that the project's settings
    name. Channels are not listed: rules are about one channel.
    """

    lookup_field = "name"
    lookup_url_kwarg = "channel_id"
    lookup_value_regex = ID
    queryset: QuerySet[Channel] = Channel.objects.none()
    serializer_class = ChannelSerializer

    # The rules of each action.
    rules: dict[str, tuple[Any, ...]] = {
        "retrieve": (MayWatch,),
        "ticket": (MayWatch,),
        "listen": (IsAuthenticated, MayWatch),
        "publish": (MayPublish,),
        "messages": (MayListen,),
    }

    def get_permissions(self) -> list[Any]:
        """Return those of the settings and the rules of the action."""
        rules = self.rules.get(self.action or "", ())
        return [*super().get_permissions(), *(rule() for rule in rules)]

    def retrieve(self, request: Request, channel_id: str) -> Response:
        """Show the channel."""
        return Response(self.get_serializer(channel_of(self)).data)

    @action(detail=True, methods=["post"], serializer_class=TicketSerializer)
    def ticket(self, request: Request, channel_id: str) -> Response:
        """Return the URL of a stream that watches the channel, with a ticket for this session."""
        channel, age = self._row(), self._valid(request)["max_age_s"]
        text = make_ticket(channel, None, age, **bound_to(request))
        url = stream_urls.with_query(stream_urls.path_of(channel.name), [text])
        return Response({"url": url, "ticket": text}, status=201)

    @action(detail=True, methods=["post"], serializer_class=ListenSerializer)
    def listen(self, request: Request, channel_id: str) -> Response:
        """Return the caller's listener, a new one if there is none, with its stream's URL."""
        channel, device = self._row(), self._valid(request)["device"]
        try:
            listener = listen(channel, request.user, device=device)
        except TooManyListeners as error:
            raise ValidationError(str(error)) from None
        url = stream_url(listener, request=request)
        return Response({"listener": listener.id, "url": url}, status=201)

    @action(detail=True, methods=["post"], serializer_class=MessageSerializer)
    def publish(self, request: Request, channel_id: str) -> Response:
        """Publish to all listeners and watchers of the channel."""
        message = self._valid(request)
        try:
            publish(
                self._row(),
                message["type"],
                message["payload"],
                expires_in_s=message["expires_in_s"],
            )
        except InvalidMessageFormat as error:
            raise ValidationError(str(error)) from None
        return Response({"accepted": 1}, status=202)

    @action(
        detail=True,
        url_path=f"listeners/(?P<listener_id>{ID})/messages",
        renderer_classes=[ASCIIRenderer, BrowsableAPIRenderer, EventStreamRenderer],
    )
    def messages(self, request: Request, channel_id: str, listener_id: str) -> Response:
        """
        Return what waits for a listener, oldest first.

        The position in `Last-Event-ID`, and what is before it, is acknowledged first: an
        EventSource sends the last one that it got.
        """
        listener = listener_of(self)
        assert listener is not None  # MayListen has found it
        last = request.headers.get("Last-Event-ID", "")
        if last.isascii() and last.isdigit():
            listener.cursor = acknowledge(listener, min(int(last[:19]), log.END))
        entries = waiting(listener)
        if not entries:
            notifier.settle()
            entries = waiting(listener)
        return Response([shown(entry) for entry in entries])

    def _row(self) -> Channel:
        found = channel_of(self)
        assert found is not None  # the rule has found it
        return found

    def _valid(self, request: Request) -> dict[str, Any]:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data


def waiting(row: Listener) -> list[Entry]:
    """Return the first messages that wait for a listener, MAX_READ at most."""
    after, found = row.cursor, list[Entry]()
    head, _ = log.head()
    while after < head and len(found) < MAX_READ:
        page = log.read([Recipient.of(row, after)], head, MAX_READ - len(found))
        found += [entry for entry in page if entry.type not in CONTROLS]
        after = page.reached
    return found
