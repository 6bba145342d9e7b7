"""What the tasks of tests do."""

import builtins
from collections.abc import Sequence

from eric_sse_django import runs


def answer(out: runs.Out, words: list[str], errors: Sequence[str] = ()) -> int:
    """
    Write the words that are not written yet; return how many there are.

    Each attempt raises its error of `errors` after the first word that it writes.
    """
    for word in out.rest_of(words):
        out.write(word)
        out.flush()
        fail(out, errors)
    return out.index


async def aanswer(out: runs.AsyncOut, words: list[str], errors: Sequence[str] = ()) -> int:
    """As answer()."""
    for word in out.rest_of(words):
        out.write(word)
        await out.flush()
        fail(out, errors)
    return out.index


def fail(out: runs.Out, errors: Sequence[str]) -> None:
    """Raise the error of this attempt, if it has one."""
    for name in errors[out.run.epoch - 1 : out.run.epoch]:
        kind = getattr(builtins, name, None) or getattr(runs, name)
        raise kind("secret")
