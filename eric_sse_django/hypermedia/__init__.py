"""
HTML for the pages of htmx, Turbo, Datastar, Unpoly and Alpine AJAX: sent in what each reads.

`library` is the name of one of LIBRARIES; the default is ERIC_SSE["HYPERMEDIA"].
"""

from eric_sse_django.hypermedia.elements import element
from eric_sse_django.hypermedia.operations import (
    LIBRARIES,
    Operation,
    operations,
    selector_of,
)
from eric_sse_django.hypermedia.templates import (
    abroadcast_template,
    broadcast_template,
    library_of,
    render,
    with_text,
)

__all__ = [
    "LIBRARIES",
    "Operation",
    "abroadcast_template",
    "broadcast_template",
    "element",
    "library_of",
    "operations",
    "render",
    "selector_of",
    "with_text",
]
