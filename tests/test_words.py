"""
The text of the project is plain English: the phrases below are not used.

UNUSED has a regular expression for each phrase and what to write instead. The test reads the
comments, docstrings and string literals of Python files, their constants that start with MOST_,
and the whole text of all other tracked text files.

`python -m tests.test_words eric_sse_django/hub` prints what is found in a folder or a file.
"""

import io
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Not text, not ours, or generated; migrations, which never change; and this file, which has the
# phrases.
SKIPPED = re.compile(
    r"(js/)?LICENSE|.*\.(png|svg|jpg|ico|gif|webp|mo|woff2?|json|csv)|tests/test_words\.py"
    r"|eric_sse_django/migrations/.*"
)

# What separates two words: blanks, or the end of a line and what a comment or string adds to it.
GAP = r"""(?:["']?[^\S\n]*\n\s*(?:[#*>/]+[^\S\n]*)?["']?|[^\S\n]+)"""

# Where a sentence begins: after an opening quote, a comment sign, a list sign or a full stop.
START = r"""(?:["(]|(?<![#])#|//|[*|.:;]|^-|^)\s*"""

# Words before "who" that are not a person: "for who is", "return who asks".
NO_PERSON = (
    "of|for|by|to|from|with|as|on|in|at|than|but|also|only|then|when|where|while|whether|which|"
    "what|it|them|one|those|all|nothing|up|return|returns|note|notes|says|serve|serves|wake|wakes|"
    "reach"
)

# (the phrase, what to write instead). A blank in a phrase stands for any blanks, also a new line.
UNUSED: list[tuple[str, str]] = [
    # "who" without a person
    (rf"{START}[Ww]ho \w+(?![^.]*\?)", "a client that …, the caller, a user who …"),
    (rf"(?i:\b(?:{NO_PERSON}) who\b)", "a client that …, the caller, a user who …"),
    (r"(?i:\bwhom\b)", "recipients, or name them: the listener that …"),
    # software that speaks
    (r"(?i:\b(?:tells?|told|telling)\b(?!(?: \w+)* apart))", "notify, record, send, log, report"),
    (r"(?i:(?<!\")\b(?:say|says|said|saying)\b(?!\(| \"))", "log, return, report, show, state"),
    (r"(?i:\b(?:speaks?|spoken|spoke)\b)", "use, implement, send"),
    (r"(?i:\b(?:hears?|heard)\b)", "receive, is notified"),
    (r"(?i:\b(?:leaves?|left|leaving) word\b)", "record, send"),
    # permission
    (r"(?i:\blet(?:s|ting)? (?:\w+ )?in\b)", "admit, give access, admission"),
    (r"(?i:\blet(?:s|ting)?(?: \w+)? go\b)", "release, close, forget"),
    (
        r"(?i:\b(?:take|takes|taken|took|has|have|had|no|without|whose|their|your) leave\b)",
        "access",
    ),
    (r"(?i:\bleave (?:taken )?back\b)", "revoke access"),
    # time and validity
    (r"(?i:\bpast (?:its|their) time\b)", "has expired"),
    (r"(?i:\bcounts? no more\b)", "is no longer valid"),
    (r"(?i:\b(?:is|are|was|were|be) no more\b)", "no longer exists"),
    (r"(?i:\b\w+s no more(?=[.,;:)]))", "no longer …"),
    (r"(?i:\blapse[sd]?\b)", "expire, expired"),
    (r"(?i:\bperish(?:es|ed)?\b)", "expires (`perishable` is the column's name)"),
    (r"(?i:\bof late\b)", "recently"),
    (r"(?i:\banew\b)", "again"),
    (r"(?i:\bamid\b)", "during"),
    (r"(?i:\bfor good\b(?! \w))", "permanently"),
    (r"(?i:\bborn\b)", "created, started"),
    (r"(?i:\bfor ever\b)", "forever, permanently"),
    (r"(?i:\bas ever\b)", "as before"),
    (
        r"(?i:\btill (?:then|it|they|the|its|all)\b|\blest\b|\bwhilst\b)",
        "until, so that not, while",
    ),
    (r"(?i:\bblip\b)", "a short interruption"),
    (r"(?i:\bmend(?:s|ed|ing)?\b)", "repair, change, works again"),
    # clients and databases that come and go
    (
        r"(?i:\b(?:comes?|came|coming) (?:back|again)\b)",
        "reconnect, is available again, is repeated",
    ),
    (r"(?i:\bstay(?:s|ed|ing)? away\b)", "does not reconnect"),
    (r"(?i:\bholds? up\b|\bheld up\b)", "delay, block"),
    (r"(?i:\bow(?:es|ed)\b)", "must send, is due"),
    (
        r"(?i:\b(?:a|the|next|no|each|first|last|one|two|more) tr(?:y|ies)\b(?![:/]))",
        "attempt",
    ),
    (
        r"(?i:(?<!server\shas\s)\b(?:is|are|was|were|goes|going|went|gone) away\b)",
        "is unavailable",
    ),
    (r"(?i:(?<!`)\bput off\b)", "asked to retry later; postponed"),
    (r"(?i:\bstand(?:s|ing)? still\b|\bstood still\b)", "does not change"),
    # limits
    (r"(?i:\bbeyond\b)", "when exceeded, over, above, after"),
    (r"(?i:\blimits? binds?\b)", "the limit is reached"),
    # reading and waking
    (r"(?i:\b(?:looks|looked|looking) at\b|\blook at the log\b)", "read, poll, check, compare"),
    (r"(?i:\blookout\b(?!\.py))", "poll"),
    (r"(?i:\btimetable\b(?!\.py))", "deadlines"),
    (r"(?i:\bglimpse\b)", "around"),
    (r"(?i:\b(?:the|a|its|each|one|no|their|this|every) rings?\b(?! buffer|\())", "ring buffer"),
    (r"(?i:\bpass(?:es|ed)? over\b)", "skip, ignore"),
    (r"(?i:\brung\b)", "woken"),
    (r"(?i:\bhand(?:s|ed|ing)? on\b)", "pass on"),
    (r"(?i:\bobey(?:s|ed|ing)?\b)", "apply"),
    (r"(?i:\broads?\b)", "path, way"),
    # grammar that has to be guessed
    (r"(?i:\bcan not\b(?! only))", "cannot"),
    (r"(?i:\bit is so that\b)", "because, if"),
    (
        r"(?i:\b(?:is|are|was) no (?:JSON|UTF-8|number|integer|string|list|dict|UUID|URL)\b)",
        "is not …",
    ),
    (r"(?i:\bby settings alone\b)", "with settings only"),
    (r"(?i:\bmade once\b)", "built once"),
    (r"(?i:\bthe like\b)", "similar …, or name them"),
    (r"(?i:\bin vain\b)", "without result, unsuccessfully"),
    (r"(?i:\bgo(?:es|ne)? on\b|\bwent on\b)", "continue"),
    (
        r"(?i:\b(?:is|are|was|were) to (?:be|ask|use|end|look|try|obey|come|get)\b)",
        "must, will, should",
    ),
    (r"\"\"\"\s*Have ", "the verb: call, end"),
    (
        r"[.;:] Have (?:it|the|a|an|its|all|each|what|\w+\(\)) ",
        "the verb: call, end",
    ),
    (r"(?i:\b(?:to|would|which) have (?:it|them|its) \w+)", "the verb: to call it"),
    (r"(?i:\bof (?:its|their|his) own\b)", "its own …, a separate …"),
    (r"(?i:\bof (?:theirs|ours)\b)", "name the owner"),
    # names of constants at the start of a line
    (r"\bMOST_\w+", "MAX_…, as the settings"),
    # texts that had a better one
    (r"\bNobody is logged in\b", "Not authenticated"),
    (r"\bNothing here that you may\b", "Not found"),
    (r"\bIn the way of what is there\b", "Conflict"),
    (
        r"\bMessages that streams which were behind\b",
        "Messages replayed to streams that were behind",
    ),
]

# In names of tests, which state a rule: "a_client_that_…", not "who_…".
UNUSED_IN_NAMES = re.compile(
    r"^test_(?:who|nobody|nor|but)_|_(?:told|tells?|says?|said|nobodys|amid|anew|obey(?:s|ed)|born|"
    r"goes_on|for_ever|passed_over|comes_back|without_a_word|in_vain)(?:_|$)"
)

# Texts of model fields: another text would need a migration.
_LOCALES = [f"eric_sse_django/locale/{each}/LC_MESSAGES/django.po" for each in ("es", "it")]

# (file, phrase) that stay.
EXCEPTIONS = {
    ("tests/live/test_gevent.py", "says"),  # a field of the answer of health/ready/, in code
    *((file, '"who may') for file in ("eric_sse_django/models/channel.py", *_LOCALES)),
    *((file, "of its own") for file in ("eric_sse_django/models/listener.py", *_LOCALES)),
}

PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
BLANK = {
    *(tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}

PATTERNS = [
    (re.compile(phrase.replace(" ", GAP), re.MULTILINE), better) for phrase, better in UNUSED
]


def prose(path: Path) -> str:
    """Return the text of a file with its lines kept; of Python, its comments and strings alone."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    kept, row = [], 1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in PROSE:
            kept.append("\n" * (token.start[0] - row) + token.string)
            row = token.end[0]
        elif token.type not in BLANK:
            is_bad = token.start[1] == 0 and token.string.startswith("MOST_")
            kept.append(token.string if is_bad else "\0")  # code ends a phrase
    return "".join(kept)


def found(name: str) -> list[str]:
    """Return a line for each unused phrase in a file: where, what, and what to write instead."""
    text = prose(ROOT / name)
    lines = []
    for pattern, better in PATTERNS:
        for match in pattern.finditer(text):
            phrase = " ".join(match.group().replace("\0", "").split())
            if (name, phrase) not in EXCEPTIONS:
                number = text.count("\n", 0, match.end()) + 1
                lines.append(f'{name}:{number}: "{phrase}"; write: {better}')
    return lines


@cache
def files() -> list[str]:
    """Return the names of all tracked text files; all files of the checkout without Git."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        pytest.skip("not a Git checkout")
    return [
        each
        for each in done.stdout.splitlines()
        if not SKIPPED.fullmatch(each) and (ROOT / each).is_file()
    ]


def test_no_text_has_an_unused_phrase():
    lines = [line for name in files() for line in found(name)]
    assert not lines, "\n".join(lines)


def test_no_name_of_a_test_has_an_unused_word():
    names = [
        (file, name)
        for file in files()
        if file.startswith("tests/") and not file.startswith("tests/streams/")
        for name in re.findall(r"def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"))
    ]
    assert [each for each in names if UNUSED_IN_NAMES.search(each[1])] == []


@pytest.mark.parametrize(
    ("text", "is_used"),
    [
        ("# The stream is told", True),
        ("# the stream is\n    # told", True),
        ('"the stream is "\n    "told"', True),
        ("# Who comes back gets a reset.", True),
        ("# users who may read", False),
        ("# tell them apart", False),
        ("told = who_comes_back", False),
        ("MOST_RESTS = 3", True),
    ],
)
def test_phrases_are_found_in_comments_and_strings_only(tmp_path, text, is_used):
    path = tmp_path / "example.py"
    path.write_text(f"x = (\n    {text}\n)\n" if text[0] == '"' else f"{text}\n")
    assert any(pattern.search(prose(path)) for pattern, _ in PATTERNS) is is_used


if __name__ == "__main__":
    for each in files():
        if each.startswith(tuple(sys.argv[1:]) or ""):
            print(*found(each), sep="\n", end="\n" if found(each) else "")
