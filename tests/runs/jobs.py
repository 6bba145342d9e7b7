"""What the tasks of tests do."""

from eric_sse_django import runs

# What attempts raise, each after the first word that it writes.
failures: list[BaseException] = []


def answer(out: runs.Out, words: list[str], last: str = "") -> int:
    """Write the words that are not written yet; return how many there are."""
    for word in out.rest_of([*words, *([last] if last else [])]):
        out.write(word)
        out.flush()
        if failures:
            raise failures.pop(0)
    return out.index


async def aanswer(out: runs.AsyncOut, words: list[str]) -> int:
    """As answer()."""
    for word in out.rest_of(words):
        out.write(word)
        await out.flush()
        if failures:
            raise failures.pop(0)
    return out.index
