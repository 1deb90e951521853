"""Cuts text that arrives in pieces (a language model's) into sentences as soon as each is certain.

What comes out does not depend on how the text was cut on its way in. A piece ends at a full stop, a
question or exclamation mark or a line end; else at a comma, semicolon or colon behind six words (three
for the first piece, which somebody waits for); else, unpunctuated, at a space behind thirty words. It is
never cut inside a number, a date, an abbreviation or letters that are being spelled.
"""

import itertools
import re
from typing import Final

_ABBREVIATIONS: Final = frozenset(
    (
        *(
            "mr",
            "mrs",
            "ms",
            "dr",
            "prof",
            "st",
            "jr",
            "sr",
            "vs",
            "etc",
            "approx",
            "inc",
            "ltd",
            "dept",
        ),
        *("no", "ref", "tel", "ext", "e.g", "i.e", "a.m", "p.m", "u.s", "u.k"),
    )
)
_CLAUSE_WORDS: Final = 6
_FIRST_CLAUSE_WORDS: Final = 3
_LONGEST_WORDS: Final = 30
_CLOSING: Final = "\"')]*_"
_BOUNDARY: Final = re.compile(rf"[.?!]+[{re.escape(_CLOSING)}]*(?=\s)|\n+|[,;:](?=\s)")


class SentenceSplitter:
    """Feed pieces of text, get sentences; `flush` at the end gives the rest."""

    def __init__(self) -> None:
        self._pending = ""
        self._first = True

    def feed(self, text: str) -> list[str]:
        """Add text; returns the pieces that are certain now, stripped, none of them empty."""
        self._pending += text
        return self._take(final=False)

    def flush(self) -> list[str]:
        """What is left, when no more text comes; the splitter is then as new."""
        # A line end makes the last full stop one that is followed by something.
        self._pending += "\n"
        pieces = self._take(final=True)
        rest = self._pending.strip()
        self._pending, self._first = "", True
        return [*pieces, rest] if rest else pieces

    def _take(self, *, final: bool) -> list[str]:
        pieces = []
        while (cut := self._find_cut(final=final)) is not None:
            piece, self._pending = self._pending[:cut].strip(), self._pending[cut:]
            if piece:
                pieces.append(piece)
                self._first = False
        return pieces

    def _find_cut(self, *, final: bool) -> int | None:
        for boundary in _BOUNDARY.finditer(self._pending):
            before, after = self._pending[: boundary.end()], self._pending[boundary.end() :]
            following = after.lstrip()
            mark = boundary.group()[0]
            too_long = _cut_by_length(before)
            if too_long is not None:
                return too_long
            if not following and not final:
                return None  # what follows decides: wait for it
            if mark == "\n" or (mark in ".?!" and _ends_sentence(before, following)):
                return boundary.end()
            if mark in ",;:" and self._ends_clause(before, following):
                return boundary.end()
        return _cut_by_length(self._pending)

    def _ends_clause(self, before: str, following: str) -> bool:
        words = before.split()
        needed = _FIRST_CLAUSE_WORDS if self._first else _CLAUSE_WORDS
        if len(words) < needed or following[:1].isdigit():
            return False
        next_word = following.split(maxsplit=1)[0] if following else ""
        spelled = len(words[-1].strip(",;:")) == 1 or len(next_word.strip(",.;:")) == 1
        return not (spelled or words[-1][:-1].isdigit())


def _ends_sentence(before: str, following: str) -> bool:
    word = before.rsplit(maxsplit=1)[-1].rstrip(_CLOSING) if before.split() else ""
    if not word.endswith("."):
        return True
    bare = word.rstrip(".").lstrip("(\"'").lower()
    if not bare:
        return True
    if bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha() and bare != "i"):
        # "at 5 p.m. Then" ends a sentence all the same, "Dr. Smith" does not.
        return bare in {"a.m", "p.m", "etc"} and following[:1].isupper()
    # "1. First": the number of a list, not the end of one.
    return not (bare.isdigit() and len(before.split()) == 1)


def _cut_by_length(text: str) -> int | None:
    spaces = re.finditer(r"\S\s+(?=\S)", text)
    last = next(itertools.islice(spaces, _LONGEST_WORDS - 1, None), None)
    return last.end() if last else None
