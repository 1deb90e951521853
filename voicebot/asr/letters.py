"""Spelled letters, plain or with a spelling alphabet ("b as in boston", "bravo")."""

from voicebot.asr.digits import read_digits
from voicebot.asr.spoken import DIGITS, words

# ICAO Annex 10 with its usual misspellings.
_ALPHABET = {
    word: word[0]
    for word in words(
        """alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike
        november oscar papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu"""
    )
}
_NAMES = {"zed": "z", "zee": "z", "are": "r", "you": "u", "why": "y", "oh": "o", "x-ray": "x"}
_AS_IN = (("as", "in"), ("like",), ("for",), ("as",))


def read_letters(text: str) -> str:
    """The letters and digits in the order they were said, upper case; "" when there are none.

    "b as in boston" is one B whatever the word; "double l" is LL; digits stay digits.
    """
    said = text.lower().replace("x ray", "xray").split()
    found, index, repeat = "", 0, 1
    while index < len(said):
        word = said[index]
        index += 1
        if word in ("double", "triple"):
            repeat = 2 if word == "double" else 3
            continue
        letter = _letter(word)
        if letter and not letter.isdigit():
            for lead in _AS_IN:
                end = index + len(lead)
                if tuple(said[index:end]) == lead and end < len(said):
                    index = end + 1
                    break
        if letter:
            found += letter * repeat
        repeat = 1
    return found.upper()


def _letter(word: str) -> str:
    if len(word) == 1 and word.isalpha():
        return word
    if word in _ALPHABET:
        return _ALPHABET[word]
    if word in DIGITS:
        return read_digits(word)
    return _NAMES.get(word, "")
