"""Digit strings: account numbers, PINs, card and phone numbers."""

from voicebot.asr.numbers import ONES, SMALL, TENS_VALUES
from voicebot.asr.spoken import FILLERS, words

_ZERO = frozenset({"oh", "o", "zero", "nought", "nil"})
_REPEAT = {"double": 2, "triple": 3, "treble": 3}
_CARRIERS = frozenset(
    words(
        """number pin account card code digits digit dash hyphen space then that's and yes so okay are
        it was phone telephone customer"""
    )
)
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 6, 15
"""ITU-T E.164 allows 15 at most; shorter than six is an extension."""


def read_digits(text: str) -> str:
    """The digits in the order they were said, "" when there are none.

    "double four" is 44, "oh" is 0, "nineteen eighty four" is 1984, "two hundred" is 200, "one
    thousand" is 1000, "twenty one" is 21. Words that are no digits are passed over.
    """
    said = [word for word in text.lower().split() if word not in FILLERS]
    digits, index = "", 0
    while index < len(said):
        word = said[index]
        following = said[index + 1] if index + 1 < len(said) else ""
        digit = _digit(following)
        if word in _REPEAT and digit:
            digits += digit * _REPEAT[word]
            index += 2
        elif word in TENS_VALUES:
            joined = ONES.get(following, 0) if following != "oh" else 0
            digits += str(TENS_VALUES[word] + joined)
            index += 2 if joined else 1
        elif word in ("hundred", "thousand"):
            digits += "00" if word == "hundred" else "000"
            index += 1
        else:
            digits += _digit(word) or (str(SMALL[word]) if word in SMALL else "")
            index += 1
    return digits


def only_digits(text: str) -> bool:
    """Whether nothing but digits, fillers and words like "my number is" was said."""
    return all(
        word in FILLERS or word in _CARRIERS or word in _REPEAT or word in ("hundred", "thousand")
        or word in SMALL or word in TENS_VALUES or bool(_digit(word))
        for word in text.lower().split()
    )  # fmt: skip


def read_phone_number(text: str) -> str | None:
    """A telephone number as digits, "+" in front when "plus" was said; None when too short or long."""
    digits = read_digits(text)
    if not MIN_PHONE_DIGITS <= len(digits) <= MAX_PHONE_DIGITS:
        return None
    return f"+{digits}" if "plus" in text.lower().split() else digits


def _digit(word: str) -> str:
    if word in _ZERO:
        return "0"
    return str(ONES[word]) if word in ONES else ""
