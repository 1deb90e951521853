"""Numbers as words, without hyphens, in American or British English."""

from functools import lru_cache
from typing import Final, Literal

from num2words import num2words

Locale = Literal["en-US", "en-GB"]

DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LARGEST: Final = 10**15


@lru_cache(maxsize=4096)
def cardinal(number: int, locale: Locale = "en-US") -> str:
    """342 is "three hundred forty two", with "and" in en-GB; beyond 10^15 the digits are read out."""
    if abs(number) >= _LARGEST:
        sign = "minus " if number < 0 else ""
        return sign + digits_one_by_one(str(abs(number)))
    return _plain(num2words(number), locale)


@lru_cache(maxsize=1024)
def ordinal(number: int, locale: Locale = "en-US") -> str:
    """21 is "twenty first"."""
    if number >= _LARGEST:
        return cardinal(number, locale)
    return _plain(num2words(number, to="ordinal"), locale)


def year(number: int) -> str:
    """1905 is "nineteen oh five", 2000 "two thousand", 2026 "twenty twenty six"."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or (rest < 10 and century % 10 == 0):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    if rest < 10:
        return f"{cardinal(century)} oh {DIGITS[rest]}"
    return f"{cardinal(century)} {cardinal(rest)}"


def decimal(text: str, locale: Locale = "en-US") -> str:
    """3.05 is "three point zero five"; a leading minus is spoken, thousands commas are not."""
    text = text.replace(",", "")
    sign = "minus " if text.startswith("-") else ""
    whole, _, fraction = text.lstrip("+-").partition(".")
    words = sign + cardinal(int(whole or "0"), locale)
    return f"{words} point {digits_one_by_one(fraction)}" if fraction else words


def digits_one_by_one(digits: str) -> str:
    """205 is "two zero five"; what is no ASCII digit is left out."""
    return " ".join(DIGITS[int(d)] for d in digits if d in "0123456789")


def _plain(words: str, locale: Locale) -> str:
    words = words.replace("-", " ").replace(",", "")
    return words if locale == "en-GB" else words.replace(" and ", " ")
