"""Typed values as words: the dialogue says what a value is, nobody has to guess from its digits.

Each function returns lower-case words and commas (a comma is a short pause), never a digit or a symbol.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from voicebot.core.errors import SynthesisError
from voicebot.tts.number_words import (
    DIGITS,
    Locale,
    cardinal,
    digits_one_by_one,
)
from voicebot.tts.number_words import decimal as decimal_words
from voicebot.tts.number_words import ordinal as ordinal_words
from voicebot.tts.number_words import year as year_words

# (one, many, one hundredth, many hundredths); no hundredths where the currency has none.
CURRENCIES: Final[dict[str, tuple[str, str, str, str]]] = {
    "USD": ("dollar", "dollars", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "CAD": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "AUD": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
    "INR": ("rupee", "rupees", "paisa", "paise"),
    "JPY": ("yen", "yen", "", ""),
}
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SPELLING_ALPHABET: Final = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (
            *("Alpha", "Bravo", "Charlie", "Delta", "Echo", "Foxtrot", "Golf", "Hotel", "India"),
            *("Juliett", "Kilo", "Lima", "Mike", "November", "Oscar", "Papa", "Quebec", "Romeo"),
            *("Sierra", "Tango", "Uniform", "Victor", "Whiskey", "X ray", "Yankee", "Zulu"),
        ),
        strict=True,
    )
)
"""ICAO/ITU spelling alphabet."""
LETTER_NAMES: Final = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [
            "ay",
            "bee",
            "see",
            "dee",
            "ee",
            "eff",
            "jee",
            "aitch",
            "eye",
            "jay",
            "kay",
            "ell",
            "em",
            "en",
            "oh",
            "pee",
            "cue",
            "are",
            "ess",
            "tee",
            "you",
            "vee",
            "double-you",
            "ex",
            "why",
            "zee",
        ],
        strict=True,
    )
)
SYMBOL_NAMES: Final = {
    ".": "dot",
    "@": "at",
    "-": "dash",
    "_": "underscore",
    "/": "slash",
    "+": "plus",
    "#": "hash",
    "*": "star",
    "&": "and",
    ":": "colon",
    "=": "equals",
    "?": "question mark",
    "%": "percent",
    "\\": "backslash",
    "~": "tilde",
    "!": "exclamation mark",
    "'": "apostrophe",
    ",": "comma",
}


def money(amount: str | Decimal | int, currency: str = "USD", *, locale: Locale = "en-US") -> str:
    """42.10 GBP is "forty two pounds and ten pence".

    Args:
        amount: In whole units; thousands commas are allowed; rounded to hundredths.
        currency: ISO 4217 code; one of `CURRENCIES`.
        locale: How numbers are read.

    Raises:
        SynthesisError: No number, or an unknown currency.
    """
    names = CURRENCIES.get(currency.upper())
    if names is None:
        raise SynthesisError(f"unknown currency {currency!r}; known: {', '.join(CURRENCIES)}")
    one, many, hundredth, hundredths = names
    value = _number(amount).quantize(Decimal("0.01") if hundredth else Decimal(1), ROUND_HALF_UP)
    sign = "minus " if value < 0 else ""
    whole, rest = divmod(int(abs(value) * 100), 100)
    units = f"{cardinal(whole, locale)} {one if whole == 1 else many}"
    cents = f"{cardinal(rest, locale)} {hundredth if rest == 1 else hundredths}"
    if not rest:
        return sign + units
    return sign + (f"{units} and {cents}" if whole else cents)


def digits(text: str, groups: Sequence[int] = ()) -> str:
    """Digit by digit, a pause after each group: "5550198", groups 3, 4.

    Args:
        text: Other characters than digits are left out.
        groups: Lengths; empty keeps the groups of the text, or, where it has none, cuts as phone numbers
            and ids are spoken (3-3-4 for ten, else threes or fours).
    """
    plain = _ascii_digits(text)
    parts, start = [], 0
    groups = groups or _written_groups(text)
    for length in groups or _usual_groups(len(plain)):
        parts.append(plain[start : start + length])
        start += length
    parts.append(plain[start:])
    return ", ".join(digits_one_by_one(p) for p in parts if p)


def date(value: str | dt.date, *, locale: Locale = "en-US", weekday: bool = False) -> str:
    """2026-11-21 is "November twenty first, twenty twenty six", in en-GB "the twenty first of …".

    Raises:
        SynthesisError: No ISO 8601 date.
    """
    if isinstance(value, str):
        try:
            value = dt.date.fromisoformat(value[:10])
        except ValueError as error:
            raise SynthesisError(f"{value!r} is no date (YYYY-MM-DD)") from error
    day = day_of_month(value.day, value.month, locale=locale)
    prefix = f"{WEEKDAYS[value.weekday()]}, " if weekday else ""
    return f"{prefix}{day}, {year_words(value.year)}"


def day_of_month(day: int, month: int, *, locale: Locale = "en-US") -> str:
    """November twenty first is "November twenty first", in en-GB "the twenty first of November"."""
    name = MONTHS[month - 1]
    if locale == "en-GB":
        return f"the {ordinal_words(day)} of {name}"
    return f"{name} {ordinal_words(day)}"


def time_of_day(value: str | dt.time, *, locale: Locale = "en-US") -> str:
    """14:05 is "two oh five p m", 12:00 "twelve noon", 00:00 "midnight".

    Raises:
        SynthesisError: No time of day.
    """
    if isinstance(value, str):
        try:
            value = dt.time.fromisoformat(value.strip().rjust(5, "0"))
        except ValueError as error:
            raise SynthesisError(f"{value!r} is no time of day (HH:MM)") from error
    hour, minute = value.hour, value.minute
    if minute == 0 and hour in (0, 12):
        return "midnight" if hour == 0 else "twelve noon"
    spoken_hour = cardinal((hour + 11) % 12 + 1, locale)
    half = "a m" if hour < 12 else "p m"
    if minute == 0:
        return f"{spoken_hour} {half}" if locale == "en-GB" else f"{spoken_hour} o'clock {half}"
    minutes = f"oh {DIGITS[minute]}" if minute < 10 else cardinal(minute, locale)
    return f"{spoken_hour} {minutes} {half}"


def ordinal(number: int | str, *, locale: Locale = "en-US") -> str:
    """21 is "twenty first".

    Raises:
        SynthesisError: No whole number.
    """
    return ordinal_words(_whole(number), locale)


def number(value: str | Decimal | int, *, locale: Locale = "en-US") -> str:
    """-3.05 is "minus three point zero five".

    Raises:
        SynthesisError: No number.
    """
    return decimal_words(format(_number(value), "f"), locale)


def percent(value: str | Decimal | int, *, locale: Locale = "en-US") -> str:
    """4.5 is "four point five percent".

    Raises:
        SynthesisError: No number.
    """
    if isinstance(value, str):
        value = value.replace("%", "")
    return f"{number(value, locale=locale)} percent"


def phone(text: str) -> str:
    """+1 555 555 0198 is "plus one, five five five, five five five, zero one nine eight"."""
    plain = _ascii_digits(text)
    international = text.strip().startswith("+") or (len(plain) == 11 and plain[0] == "1")
    if international and len(plain) == 11 and plain[0] == "1":
        prefix = "plus one, " if text.strip().startswith("+") else "one, "
        return prefix + digits(plain[1:], (3, 3, 4))
    if international:
        written = _written_groups(text)
        if written:
            return f"plus {digits(text)}"
        return f"plus {digits(plain[:2])}, {digits(plain[2:])}"
    if len(plain) == 10:
        return digits(plain, (3, 3, 4))
    return digits(text)


def spell(text: str, *, alphabet: bool = True, locale: Locale = "en-US") -> str:
    """B7 is "B as in Bravo, seven"; without the alphabet "bee, seven"."""
    spoken = []
    for character in unicodedata.normalize("NFKD", text):
        letter = character.lower()
        name = "zed" if letter == "z" and locale == "en-GB" else LETTER_NAMES.get(letter, "")
        if letter in SPELLING_ALPHABET and alphabet:
            spoken.append(f"{name} as in {SPELLING_ALPHABET[letter]}")
        elif name:
            spoken.append(name)
        elif letter in "0123456789":
            spoken.append(DIGITS[int(letter)])
        elif letter in SYMBOL_NAMES:
            spoken.append(SYMBOL_NAMES[letter])
    return ", ".join(spoken).replace("-", " ")


SAY_AS: Final[dict[str, Callable[[str, Locale], str]]] = {
    "money": lambda text, locale: _money_text(text, locale),  # noqa: PLW0108  defined further down
    "digits": lambda text, _: digits(text),
    "date": lambda text, locale: date(text, locale=locale),
    "time": lambda text, locale: time_of_day(text, locale=locale),
    "ordinal": lambda text, locale: ordinal(text, locale=locale),
    "number": lambda text, locale: number(text, locale=locale),
    "percent": lambda text, locale: percent(text, locale=locale),
    "phone": lambda text, _: phone(text),
    "spell": lambda text, locale: spell(text, locale=locale),
}
"""Kinds a dialplan may name."""


def say_as(kind: str, value: str, locale: Locale = "en-US") -> str:
    """`value` as words, by the name of its kind: ``say_as("money", "42.10 GBP")``.

    Raises:
        SynthesisError: Unknown kind, or a value that is none of its kind.
    """
    rule = SAY_AS.get(kind)
    if rule is None:
        raise SynthesisError(f"unknown say_as {kind!r}; known: {', '.join(SAY_AS)}")
    return rule(value, locale)


def _money_text(text: str, locale: Locale) -> str:
    parts = text.split()
    currency = next((p for p in parts if p.upper() in CURRENCIES), "")
    amount = "".join(p for p in parts if p != currency)
    for symbol, code in (("$", "USD"), ("£", "GBP"), ("€", "EUR")):
        if symbol in amount:
            currency, amount = currency or code, amount.replace(symbol, "")
    return money(amount, currency or ("GBP" if locale == "en-GB" else "USD"), locale=locale)


def _written_groups(text: str) -> tuple[int, ...]:
    lengths = tuple(len(group) for group in re.findall("[0-9]+", unicodedata.normalize("NFKC", text)))
    return lengths if len(lengths) > 1 else ()


def _usual_groups(count: int) -> tuple[int, ...]:
    if count == 10:
        return 3, 3, 4
    if count == 7:
        return 3, 4
    size = 4 if count % 4 == 0 and count > 4 else 3
    return (size,) * (count // size) if count > 4 else (count,)


def _ascii_digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", unicodedata.normalize("NFKC", text))


def _number(value: str | Decimal | int) -> Decimal:
    try:
        number = Decimal(value.replace(",", "").strip() if isinstance(value, str) else value)
    except InvalidOperation as error:
        raise SynthesisError(f"{value!r} is no number") from error
    if not number.is_finite() or abs(number) >= Decimal(10) ** 15:
        raise SynthesisError(f"{value!r} cannot be spoken as a number")
    return number


def _whole(value: int | str) -> int:
    number = _number(value)
    if number != number.to_integral_value() or number < 0:
        raise SynthesisError(f"{value!r} is no whole number")
    return int(number)
