"""
What each library reads: the type and the text of messages that change a page.

A type of "" is an event without a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from django.utils.html import format_html
from django.utils.safestring import mark_safe

ACTIONS = ("append", "prepend", "replace", "update", "before", "after", "remove", "refresh")
# Milliseconds without another refresh before a page fetches: several within that time are one.
REFRESH_DELAY_MS = 200

_LINE_END = re.compile("\r\n|\n|\r")
_NOT_IN_IDENTIFIERS = re.compile(r"[^a-zA-Z0-9_\-\u0080-\U0010ffff]")
_FIRST_TAG = re.compile(r"\s*(?:<!--.*?-->\s*)*<([a-zA-Z][\w-]*)", re.DOTALL)
# In what an HTML parser keeps an element that is allowed only there; others in a div.
_PARENTS = {
    **dict.fromkeys(["tr"], "tbody"),
    **dict.fromkeys(["td", "th"], "tr"),
    **dict.fromkeys(["tbody", "thead", "tfoot", "caption", "colgroup"], "table"),
    **dict.fromkeys(["option", "optgroup"], "select"),
    **dict.fromkeys(["li"], "ul"),
}


class Operation(NamedTuple):
    """A message that changes a page."""

    type: str
    text: str


class Change(NamedTuple):
    """A change of a page: an action on the elements of a selector."""

    action: str
    selector: str
    html: str
    channel: str


def operations(
    library: str,
    action: str,
    target: str | None = None,
    html: str = "",
    *,
    once: str | None = None,
    channel: str = "",
) -> list[Operation]:
    """
    Return the messages by which a library's pages do `action` on a `target`.

    A target is an element's id, or a selector such as "#rows" or ".total". `once` is a selector
    of what is removed first, so that a page that has it does not get it twice. A refresh fetches
    the target from the page's own path, or the whole page without a target. Raises ValueError.
    """
    if library not in LIBRARIES:
        raise ValueError(f"{library!r} is no library: use one of {', '.join(LIBRARIES)}.")
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is no action: use one of {', '.join(ACTIONS)}.")
    if not target and action != "refresh":
        raise ValueError(f"{action!r} needs a target: the id of an element, or a selector.")
    selector = _selector(target) if target else ""
    changes = [Change(action, selector, html, channel)]
    if once is not None and library not in REPLACING:
        changes.insert(0, Change("remove", once, "", channel))
    return [LIBRARIES[library](change) for change in changes]


def _selector(target: str) -> str:
    if not target.isprintable():  # what Datastar reads has a line for each field
        raise ValueError(f"{target!r} is no target: it has a line end or control character.")
    return target if target[0] in "#.[:" or " " in target else selector_of(target)


def selector_of(element_id: str) -> str:
    """Return the selector of the element with an id, which may have any characters."""
    # An identifier of CSS begins with no digit, also not after a hyphen.
    start = re.match("-?[0-9]|-$", element_id)
    at = 0 if start is None else len(start[0])
    first = element_id[: at - 1] + f"\\{ord(element_id[at - 1]):x} " if at else ""
    return f"#{first}{_NOT_IN_IDENTIFIERS.sub(_escaped, element_id[at:])}"


def _escaped(found: re.Match[str]) -> str:
    # A space after the number, which ends it.
    return f"\\{found[0]}" if found[0].isprintable() else f"\\{ord(found[0]):x} "


# htmx ---------------------------------------------------------------------------------

_SWAPS = {
    "append": "beforeend",
    "prepend": "afterbegin",
    "replace": "outerHTML",
    "update": "innerHTML",
    "before": "beforebegin",
    "after": "afterend",
    "remove": "delete",
}


def _htmx2(change: Change) -> Operation:
    """An out-of-band swap: the children of an element that keeps them when HTML is parsed."""
    if change.action == "refresh":
        return Operation("", _htmx_loader(change, "innerHTML"))
    if change.action == "remove":
        return Operation("", _removal(change.selector))
    found = _FIRST_TAG.match(change.html)
    parent = _PARENTS.get(found[1].lower(), "div") if found else "div"
    swap = f"{_SWAPS[change.action]}:{change.selector}"
    if change.action == "replace":
        return Operation("", _outer(parent, swap, change.html))
    html = '<{0} hx-swap-oob="{1}">{2}</{0}>'
    return Operation("", format_html(html, parent, swap, mark_safe(change.html)))


def _removal(selector: str) -> str:
    """Remove an element, if the page has it: htmx 2 logs an error for a target that is missing."""
    found = re.fullmatch(r"#([\w-]+)", selector)
    also = ""
    if found:  # puts another element with the id in the page, which is removed with it
        html = '<div hx-swap-oob="beforeend:[data-eric-refresh]"><i id="{}"></i></div>'
        also = format_html(html, found[1])
    return also + format_html('<div hx-swap-oob="delete:{}"></div>', selector)


def _outer(parent: str, swap: str, html: str) -> str:
    # htmx 2 puts the element itself in the place of the target: its own id stays with it.
    return _FIRST_TAG.sub(
        lambda found: format_html('{} hx-swap-oob="{}"', mark_safe(found[0]), swap), html, count=1
    )


def _htmx4(change: Change) -> Operation:
    """A partial; removing is an out-of-band swap, which a page without the target ignores."""
    if change.action == "refresh":
        return Operation("", _htmx_loader(change, "outerMorph"))
    swap = _SWAPS[change.action]
    if change.action == "remove":
        html = format_html('<div hx-swap-oob="delete:{}"></div>', change.selector)
        return Operation("", html)
    partial = '<hx-partial hx-target="{}" hx-swap="{}">{}</hx-partial>'
    return Operation("", format_html(partial, change.selector, swap, mark_safe(change.html)))


def _htmx_loader(change: Change, whole: str) -> str:
    """An element that fetches the page's own path when it arrives. The next one replaces it."""
    place = f"[data-eric-refresh='{change.channel}']" if change.channel else "[data-eric-refresh]"
    target = change.selector or "body"
    swap = "outerHTML" if change.selector else whole
    html = (
        '<div hx-swap-oob="innerHTML:{}"><div hx-get="" hx-trigger="load delay:{}ms" '
        'hx-target="{}" hx-select="{}" hx-swap="{}"></div></div>'
    )
    return format_html(html, place, REFRESH_DELAY_MS, target, target, swap)


# Turbo --------------------------------------------------------------------------------


def _turbo(change: Change) -> Operation:
    if change.action == "refresh":
        return Operation("", '<turbo-stream action="refresh"></turbo-stream>')
    is_id = re.fullmatch(r"#[\w-]+", change.selector)
    target = ("target", change.selector[1:]) if is_id else ("targets", change.selector)
    html = '<turbo-stream action="{}" {}="{}"><template>{}</template></turbo-stream>'
    return Operation("", format_html(html, change.action, *target, mark_safe(change.html)))


# Datastar -----------------------------------------------------------------------------

_MODES = {"replace": "outer", "update": "inner"}


def _datastar(change: Change) -> Operation:
    if change.action == "refresh":
        # Datastar has no action for it; it runs a script that it puts in the page.
        lines = ["selector body", "mode append", "elements <script>location.reload()</script>"]
    else:
        mode = _MODES.get(change.action, change.action)
        lines = [f"selector {change.selector}", f"mode {mode}"]
        if change.action != "remove":
            lines += [f"elements {line}" for line in _LINE_END.split(change.html)]
    return Operation("datastar-patch-elements", "\n".join(lines))


# Unpoly, Alpine AJAX, and pages without a library ---------------------------------------


def _template(change: Change) -> Operation:
    """What stream-element.js reads."""
    html = '<template data-action="{}" data-target="{}">{}</template>'
    return Operation("", format_html(html, change.action, change.selector, mark_safe(change.html)))


LIBRARIES: dict[str, Callable[[Change], Operation]] = {
    "htmx2": _htmx2,
    "htmx4": _htmx4,
    "turbo": _turbo,
    "datastar": _datastar,
    "unpoly": _template,
    "alpine": _template,
    "plain": _template,
}
# These replace an element of the same id where they append.
REPLACING = {"turbo", "unpoly", "alpine", "plain"}
