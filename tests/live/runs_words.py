"""What the live tests' runs write: the same words for the same number, of more than ASCII."""

from __future__ import annotations

WORDS = (
    "Straße ",
    "naïve ",
    "日本 ",
    "🚀 ",
    "\n\n",
    "plain ",
    '"quoted" ',
    "a\\b ",
    "<b> ",
    "\u2028",
)


def word(index: int) -> str:
    """Return the text that is written as the chunk with this index."""
    return f"{index}:{WORDS[index % len(WORDS)]}"


def text(count: int) -> str:
    """Return all text of a run with so many words."""
    return "".join(map(word, range(count)))
