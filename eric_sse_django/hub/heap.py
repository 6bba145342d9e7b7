"""What the garbage collector is to look at, in a process that serves streams."""

from __future__ import annotations

import gc

from eric_sse_django import conf

_frozen = False


def freeze_once() -> None:
    """
    Leave what the process has in memory now out of later collections, at the first call.

    Django and a project's modules are 250,000 objects that stay to the end. Each full
    collection looked at all of them: 80 ms in which no stream got anything, every ten seconds
    or so with 1,000 streams. Takes about as long itself. Nothing where GC_FREEZE or the
    collector is off.
    """
    global _frozen
    if not _frozen and gc.isenabled() and conf.get("GC_FREEZE"):
        _frozen = True
        gc.collect()  # what is garbage now would else stay
        gc.freeze()
