"""Answers from the documentation: passages that have a question's words. No network."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

# Passages of an answer, and characters of one of them.
MAX_PASSAGES = 4
MIN_CHARACTERS, MAX_CHARACTERS = 80, 900
_WORD = re.compile(r"[a-z0-9_]{2,}")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
# Too common in English to find a passage by.
COMMON = frozenset(
    re.findall(
        r"\w+",
        "the and for that this with from are not but can you how why when which what does do "
        "is it its of to in on or an as at be by if my we me should could would will about use",
    )
)


@dataclass(frozen=True)
class Passage:
    """A paragraph: its file and heading, its text, and how often it has each word."""

    file: str
    heading: str
    text: str
    words: Counter[str]


def answer(question: str) -> list[str]:
    """Return the answer to a question as tokens, the same for the same question."""
    return re.findall(r"\S+\s*|\s+", "".join(_parts(question)))


def _parts(question: str) -> Iterator[str]:
    found = search(question)
    if not found:
        yield (
            "The documentation has no passage about that. Try other words, for example "
            "“Redis”, “deploy”, “proxy”, “retention” or “tickets”."
        )
        return
    files = list(dict.fromkeys(passage.file for passage in found))
    yield f"{len(found)} passages of {', '.join(files)} answer this best.\n\n"
    for passage in found:
        yield f"## {passage.heading} · {passage.file}\n\n{passage.text}\n\n"


def search(question: str) -> list[Passage]:
    """Return the passages that have the question's words most, the best first."""
    wanted = {_stem(word) for word in _WORD.findall(question.lower())} - COMMON
    passages = _passages()
    weights = {
        word: math.log(len(passages) / count)
        for word in wanted
        if (count := sum(word in passage.words for passage in passages))
    }
    scored = [(_score(passage, weights), passage) for passage in passages]
    best = sorted((each for each in scored if each[0] > 0), key=lambda each: -each[0])
    return [passage for _, passage in best[:MAX_PASSAGES]]


def _score(passage: Passage, weights: dict[str, float]) -> float:
    heading = {_stem(word) for word in _WORD.findall(passage.heading.lower())}
    return math.fsum(
        weight * (min(passage.words[word], 3) ** 0.5 + (word in heading))
        for word, weight in weights.items()
    )


@lru_cache(maxsize=1)
def _passages() -> Sequence[Passage]:
    files = [settings.BASE_DIR / "README.md", *sorted((settings.BASE_DIR / "docs").glob("*.md"))]
    return [
        passage
        for file in files
        if file.exists()
        for passage in _split(file.name, file.read_text())
    ]


def _split(file: str, text: str) -> Iterator[Passage]:
    """Yield the paragraphs of a file in Markdown, without its tables and its code."""
    heading = file
    for block in re.split(r"\n\s*\n", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if block.startswith("#"):
            first, _, block = block.partition("\n")
            heading = first.lstrip("# ").strip()
        plain = _LINK.sub(r"\1", block).strip()
        is_prose = not block.startswith(("|", "    ", "<", "!["))
        if is_prose and MIN_CHARACTERS <= len(plain) <= MAX_CHARACTERS:
            flat = re.sub(r" *\n *(?![-*0-9])", " ", plain)
            words = Counter(_stem(word) for word in _WORD.findall(flat.lower()))
            yield Passage(file, _LINK.sub(r"\1", heading), flat, words)


def _stem(word: str) -> str:
    """Return a word without the endings that change most often."""
    for ending in ("ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
