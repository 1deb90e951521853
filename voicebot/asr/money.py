"""Amounts of money."""

from dataclasses import dataclass
from decimal import Decimal

from voicebot.asr.numbers import NUMBER_WORDS, parse_number

_MAJOR = {"dollar": "USD", "dollars": "USD", "bucks": "USD", "pound": "GBP", "pounds": "GBP",
          "quid": "GBP", "euro": "EUR", "euros": "EUR"}  # fmt: skip
_MINOR = {"cent": None, "cents": None, "penny": "GBP", "pence": "GBP", "p": "GBP"}
_GLUE = frozenset({"and", "a", "point"})


@dataclass(frozen=True)
class Money:
    """An amount.

    Attributes:
        amount: With two decimals.
        currency: ISO 4217, or None when the caller did not say.
    """

    amount: Decimal
    currency: str | None


def read_money(text: str) -> Money | None:
    """An amount: "twenty five dollars and ten cents", "three fifty", "ninety nine pence", "forty".

    Without a currency, two numbers side by side are read as major and minor unit ("three fifty" is
    3.50), one number as the major unit.
    """
    words = [
        w
        for w in text.lower().replace("-", " ").split()
        if w in NUMBER_WORDS | _GLUE | {*_MAJOR, *_MINOR}
    ]
    currency: str | None = None
    major: int | None = None
    minor = 0
    run: list[str] = []
    for word in words:
        if word in _MAJOR:
            major, run = _number(run), []
            currency = _MAJOR[word]
            if major is None:
                return None
        elif word in _MINOR:
            cents, run = _number(run), []
            if cents is None or cents > 99:
                return None
            minor, currency = cents, currency or _MINOR[word]
            major = major or 0
        else:
            run.append(word)
    if any(word in NUMBER_WORDS for word in run):
        tail = _without_currency(run, given=major is not None)
        if tail is None:
            return None
        major, minor = (major, tail[1]) if major is not None else tail
    if major is None:
        return None
    return Money(Decimal(major) + Decimal(minor) / 100, currency)


def _without_currency(run: list[str], *, given: bool) -> tuple[int, int] | None:
    """Major and minor unit of numbers with no currency word behind them."""
    if given:  # "five dollars fifty"
        cents = _number(run)
        return (0, cents) if cents is not None and cents <= 99 else None
    if "point" in run:
        cut = run.index("point")
        whole, digits = _number(run[:cut]), [parse_number([w]) for w in run[cut + 1 :]]
        if whole is None or not 1 <= len(digits) <= 2 or any(d is None for d in digits):
            return None
        text = "".join(str(d) for d in digits)
        return (whole, int(f"{text}0"[:2])) if len(text) <= 2 else None
    whole = _number(run)
    if whole is not None:
        return whole, 0
    for cut in range(1, len(run)):
        first, second = _number(run[:cut]), _number(run[cut:])
        if first is not None and second is not None and 10 <= second <= 99:
            return first, second
    return None


def _number(run: list[str]) -> int | None:
    words = list(run)
    while words and words[0] == "and":
        words.pop(0)
    while words and words[-1] in ("and", "a"):
        words.pop()
    return parse_number(words)
