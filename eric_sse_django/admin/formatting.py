"""Numbers, times, states and payloads, formatted for the pages."""

from __future__ import annotations

import json
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from eric_sse_django import reports

# Where counting stops, and the number of rows of one action.
MAX_COUNT = 1_000
# Characters of a payload in a table, and on its page.
PREVIEW_CHARACTERS = 80
MAX_PAYLOAD_CHARACTERS = 100_000
EMPTY_VALUE = "-"
DAY_S, HOUR_S, MINUTE_S = 86_400, 3_600, 60


def bounded(number: int) -> str:
    """Return the number, or "1,000+" if it is over MAX_COUNT."""
    return at_least(min(number, MAX_COUNT), number > MAX_COUNT)


def at_least(number: int, stopped: bool) -> str:
    """Return the number, with a "+" if counting stopped before the end."""
    shown = number_format(number, use_l10n=True, force_grouping=True)
    return f"{shown}+" if stopped else shown


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that gives exactly 1, or 2 or more: "90 minutes"."""
    whole = int(max(0, seconds))
    if whole >= 2 * DAY_S or whole == DAY_S:
        return ngettext("%(n)d day", "%(n)d days", whole // DAY_S) % {"n": whole // DAY_S}
    if whole >= 2 * HOUR_S or whole == HOUR_S:
        return ngettext("%(n)d hour", "%(n)d hours", whole // HOUR_S) % {"n": whole // HOUR_S}
    if whole >= 2 * MINUTE_S or whole == MINUTE_S:
        minutes = whole // MINUTE_S
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    return ngettext("%(n)d second", "%(n)d seconds", whole) % {"n": whole}


def brief(seconds: float) -> str:
    """Return a duration in a few characters, for a column: "3 min"."""
    whole = int(max(0, seconds))
    if whole >= 2 * DAY_S:
        return _("%(n)d d") % {"n": whole // DAY_S}
    if whole >= 2 * HOUR_S:
        return _("%(n)d h") % {"n": whole // HOUR_S}
    if whole >= 2 * MINUTE_S:
        return _("%(n)d min") % {"n": whole // MINUTE_S}
    return _("%(n)d s") % {"n": whole}


def age(moment: datetime | None) -> str:
    """Return how long ago a moment was: "3 min ago"; its tooltip is the exact time."""
    return _moment(moment, _("%(time)s ago"))


def since(moment: datetime | None) -> str:
    """Return the time since a moment: "3 min"; its tooltip is the exact time."""
    return _moment(moment, "%(time)s")


def _moment(moment: datetime | None, text: str) -> str:
    if moment is None:
        return EMPTY_VALUE
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    exact = date_format(local, "DATETIME_FORMAT")
    passed = brief((timezone.now() - moment).total_seconds()).replace(" ", "\xa0")
    html = '<time datetime="{}" title="{}">{}</time>'
    return format_html(html, moment.isoformat(), exact, text % {"time": passed})


def pill(kind: str, text: str) -> SafeString:
    """Return a state as a coloured label; `kind` is on, off, late or quiet."""
    return format_html('<span class="eric-pill eric-{}">{}</span>', kind, text)


def running(is_running: bool) -> SafeString:
    return pill("quiet", _("running")) if is_running else pill("late", _("stopped"))


def preview(text: str, is_cut: bool = False) -> SafeString:
    """Return the beginning of a payload for a table; `is_cut` if `text` is already cut."""
    shown, is_cut = reports.readable(text, PREVIEW_CHARACTERS, is_cut)
    shown = _encodable(shown)
    return format_html('<code class="eric-preview">{}{}</code>', shown, "…" if is_cut else "")


def pretty(payload: str) -> str:
    """Return JSON text indented, other text unchanged; cut at MAX_PAYLOAD_CHARACTERS."""
    try:
        text = json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = payload
    text = _encodable(text)
    is_short = len(text) <= MAX_PAYLOAD_CHARACTERS
    return text if is_short else f"{text[:MAX_PAYLOAD_CHARACTERS]}\n…"


def _encodable(text: str) -> str:
    """Escape lone surrogates: they can be published, but a page cannot contain them."""
    return text.encode(errors="backslashreplace").decode()
