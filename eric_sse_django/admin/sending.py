"""The page on which a message is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from eric_sse_django import log
from eric_sse_django.admin.confirming import Confirms
from eric_sse_django.admin.forms import MessageForm
from eric_sse_django.database import operations
from eric_sse_django.message import Message
from eric_sse_django.models import Listener


class SendsMessages(Confirms):
    """Sends a message to what is selected: shows the form until it is valid."""

    def send_to(
        self, request: HttpRequest, rows: list[Listener], back: str | None = None
    ) -> HttpResponseBase | None:
        """Return the form's page; None, or the way `back`, once the message is sent."""

        def publish(message: Message, expires_in_s: int | None) -> str:
            operations.send(rows, message, expires_in_s)
            self.record(request, rows, _("Sent a message of type “%s”.") % message.type)
            count = len(rows)
            text = ngettext(
                "Message sent to %(count)d listener.",
                "Message sent to %(count)d listeners.",
                count,
            )
            return text % {"count": count}

        hidden = [] if back else self.hidden("send", rows)
        context = {"hidden": hidden, **self.named(rows)}
        row = rows[0] if back else None
        return self.compose(request, _("Send a message"), publish, back, row, **context)

    def compose(
        self,
        request: HttpRequest,
        title: str,
        publish: Callable[[Message, int | None], str],
        back: str | None,
        row: Any = None,
        **context: Any,
    ) -> HttpResponseBase | None:
        """
        Return the page of a form, until a valid one is posted: then publish() is called.

        It gets the message and its lifetime, and returns what to say; then None is
        returned, or the redirect `back`.
        """
        form = MessageForm(request.POST if "payload" in request.POST else None)
        if form.is_valid():
            with transaction.atomic(using=log.database()):
                text = publish(form.message(), form.cleaned_data["expires_in_s"])
            self.message_user(request, text, messages.SUCCESS)
            return redirect(back) if back else None
        return self.page(request, "send.html", title, row, form=form, **context)
