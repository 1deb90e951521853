"""What "no, I said five" means: the value after the denial, if there is one.

    said               asked "Did you say Jane Doe?"
    "no"               a denial, nothing else
    "no that's wrong"  the same, longer
    "no, jane dow"     another value
    "jane dow"         another value: it resembles the first
    "what was that"    neither: not understood

Names and free text can be any words, so there a sentence corrects only when it denies, is spelled out,
or resembles what was asked back. The other types are their own proof: only a date reads as a date.
"""

import datetime as dt
from difflib import SequenceMatcher
from typing import Final

from voicebot.asr.spoken import words
from voicebot.dialogue.answers import Answer, slot_answer, spelled_out
from voicebot.dialogue.matching import words_of
from voicebot.dialogue.program import SlotRules

_DENIALS: Final = frozenset(["no", "nope", "nah", "not", "i", "said", "it's", "its", "wrong"])
_ANNOUNCED: Final = (
    *("my name is", "the name is", "name is", "i said", "it's", "its", "it is", "that's", "i'm", "i am"),
    "i meant",
)
_ONLY_DENIED: Final = frozenset(
    words(
        """no nope nah not that's that is it isn't it's its wrong right correct incorrect i didn't don't
        did do say said so think mean at all really quite sorry thank thanks you please"""
    )
)
ANY_WORDS: Final = frozenset(["name", "text"])
ALIKE: Final = 0.6
"""From this share of common letters on, one name is another hearing of the other."""


def without_denial(text: str) -> str:
    """What follows "no", "I said" and the like; empty when nothing follows but more of that."""
    rest = text.split()
    while rest and rest[0].strip(",.!").lower() in _DENIALS:
        rest.pop(0)
    if all(word in _ONLY_DENIED for word in words_of(" ".join(rest))):
        return ""
    return " ".join(rest)


def correction(
    rules: SlotRules, text: str, candidate: str, today: dt.date, *, denied: bool
) -> Answer | None:
    """The value that the caller gives instead of ``candidate``, or None.

    Args:
        rules: The slot.
        text: What was said to "Did you say …?".
        candidate: The value that was asked back.
        today: What "tomorrow" counts from.
        denied: The answer is a no.
    """
    rest = without_denial(text)
    found = slot_answer(rules, rest, today) if rest else None
    if found is None or not found.value or found.value == candidate:
        return None
    if rules.type not in ANY_WORDS or denied or rest != text.strip():
        return found
    if rest.lower().startswith(tuple(f"{lead} " for lead in _ANNOUNCED)):
        return found
    if rules.type == "name" and spelled_out(rest):
        return found
    return found if _alike(found.value, candidate) else None


def _alike(value: str, candidate: str) -> bool:
    new, old = words_of(value), words_of(candidate)
    return SequenceMatcher(None, " ".join(new), " ".join(old)).ratio() >= ALIKE
