"""Numbers, times and states as people read them."""

from __future__ import annotations

import json
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from eric_sse_django.monitor import payload

# Where counting stops: beyond, the number tells nobody more.
MOST = 1_000
# Characters of a payload in a table, and on its page.
PREVIEW = 80
MOST_CHARACTERS = 100_000
NOTHING = "-"
DAY_S, HOUR_S, MINUTE_S = 86_400, 3_600, 60


def bounded(number: int, most: int = MOST) -> str:
    """Return the number, or "1,000+" for one beyond `most`."""
    shown = number_format(min(number, most), use_l10n=True, force_grouping=True)
    return f"{shown}+" if number > most else shown


def at_least(number: int, stops: bool) -> str:
    """Return the number, with a "+" where counting stopped before the end."""
    shown = number_format(number, use_l10n=True, force_grouping=True)
    return f"{shown}+" if stops else shown


def duration(seconds: float) -> str:
    """Return a length of time in the largest unit that fits exactly, or twice: "90 minutes"."""
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
    """Return a length of time in a few characters, for a column: "3 min"."""
    whole = int(max(0, seconds))
    if whole >= 2 * DAY_S:
        return _("%(n)d d") % {"n": whole // DAY_S}
    if whole >= 2 * HOUR_S:
        return _("%(n)d h") % {"n": whole // HOUR_S}
    if whole >= 2 * MINUTE_S:
        return _("%(n)d min") % {"n": whole // MINUTE_S}
    return _("%(n)d s") % {"n": whole}


def age(moment: datetime | None) -> str:
    """Return how long ago a moment was: "3 min ago"; hovering shows it exactly."""
    return _moment(moment, _("%(time)s ago"))


def since(moment: datetime | None) -> str:
    """Return how long something has lasted: "3 min"; hovering shows when it began."""
    return _moment(moment, "%(time)s")


def _moment(moment: datetime | None, text: str) -> str:
    if moment is None:
        return NOTHING
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    exact = date_format(local, "DATETIME_FORMAT")
    passed = brief((timezone.now() - moment).total_seconds()).replace(" ", "\xa0")
    html = '<time datetime="{}" title="{}">{}</time>'
    return format_html(html, moment.isoformat(), exact, text % {"time": passed})


def pill(kind: str, text: str) -> SafeString:
    """Return a state with its mark; `kind` is on, off, late or quiet."""
    return format_html('<span class="eric-pill eric-{}">{}</span>', kind, text)


def running(is_running: bool) -> SafeString:
    return pill("quiet", _("running")) if is_running else pill("late", _("stopped"))


def preview(text: str, is_cut: bool = False) -> SafeString:
    """Return the beginning of a payload for a table; `is_cut` where `text` is not all of it."""
    shown, is_cut = payload.shown(text, PREVIEW, is_cut)
    # A lone surrogate can be published, and no page can be sent with it.
    shown = shown.encode(errors="backslashreplace").decode()
    return format_html('<code class="eric-preview">{}{}</code>', shown, "…" if is_cut else "")


def pretty(payload: str) -> str:
    """Return JSON text indented, or as it is where it is none; safe to encode, cut if long."""
    try:
        text = json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = payload
    # A lone surrogate can be published, and no page can be sent with it.
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}\n…"
