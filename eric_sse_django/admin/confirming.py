"""The page that asks before something is done, and whose button does it. Needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.models import Listener

# Set by the button of the page.
CONFIRMED = "confirmed"
# Listeners named on a page; of more, the number says enough.
MOST_NAMED = 10


class Confirms(EricAdmin):
    """
    Shows what is about to happen.

    A link leads to it, no form: themes put the tools of a page into its form, and a browser
    leaves out a form within a form.
    """

    def confirm(
        self,
        request: HttpRequest,
        label: Any,
        effect: Any,
        rows: Sequence[Listener],
        action: str | None = None,
    ) -> HttpResponseBase:
        """Return the page; it posts to itself, as the list's `action` on the rows if given."""
        hidden = [] if action is None else self.hidden(action, rows)
        row = rows[0] if action is None else None
        context = {"label": label, "effect": effect, "hidden": hidden, **self.named(rows)}
        return self.page(request, "confirm.html", _("Are you sure?"), row, **context)

    @staticmethod
    def hidden(action: str, rows: Sequence[Listener]) -> list[tuple[str, str]]:
        """Return the fields that have an action of the list done to these rows."""
        keys = [(ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows]
        return [("action", action), ("select_across", "0"), *keys]

    @staticmethod
    def named(rows: Sequence[Listener]) -> dict[str, Any]:
        """Return the first names of the rows, and how many more there are."""
        named = [f"{row.name} ({row.channel})" for row in rows[:MOST_NAMED]]
        return {"named": named, "unnamed": len(rows) - len(named)}
