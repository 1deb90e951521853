"""Cuts text into what is synthesised at once: whole sentences, and a short first piece."""

import re
from typing import Final

_END: Final = re.compile(r"(?<=[.?!])\s+")
_LONG_CHARACTERS: Final = 60
"""A longer first sentence is cut at a comma: flite's time to first audio grows with the sentence."""
_CLAUSE_WORDS: Final = 3


def split_sentences(words: str) -> list[str]:
    """Sentences of normalised text (each full stop ends one); ones without a letter are left out."""
    return [s for s in (part.strip() for part in _END.split(words)) if any(c.isalpha() for c in s)]


def split_first_clause(sentence: str) -> tuple[str, str]:
    """A long sentence in two at its first good comma (the comma stays left); short ones as they are."""
    if len(sentence) <= _LONG_CHARACTERS:
        return sentence, ""
    for comma in re.finditer(r",\s+", sentence):
        first, rest = sentence[: comma.start() + 1], sentence[comma.end() :]
        if len(first.split()) >= _CLAUSE_WORDS and len(rest.split()) >= _CLAUSE_WORDS:
            return first, rest
    return sentence, ""
