"""Whatever text comes in, only words and ``, . ? ! '`` go to an engine: engines misread everything else.

The rules are a fallback for free text (a language model's, an installer's). Where the dialogue knows
what a value is, it renders it by `say_as` first. They run from the most to the least specific, so that
"$342.16" is money before it is a number.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Final

from voicebot.core.errors import SynthesisError
from voicebot.tts import say_as
from voicebot.tts.lexicon import NO_LEXICON, Lexicon
from voicebot.tts.number_words import Locale, cardinal, digits_one_by_one, ordinal, year
from voicebot.tts.number_words import decimal as decimal_words

Rule = Callable[[re.Match[str], Locale], str]

_NUMBER: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_CURRENCY_OF: Final = {"$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR"}
_MAGNITUDE: Final = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion"}
_MONTH: Final = "|".join(f"{m}|{m[:3]}\\.?" for m in say_as.MONTHS)
_MONTH_OF: Final = {m[:3].lower(): n for n, m in enumerate(say_as.MONTHS, 1)}
_DAY: Final = r"([0-2]?\d|3[01])(?:st|nd|rd|th)?"
_ABBREVIATIONS: Final = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "prof": "professor",
    "e.g": "for example",
    "i.e": "that is",
    "etc": "and so on",
    "vs": "versus",
    "approx": "about",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "apt": "apartment",
    "ext": "extension",
    "min": "minutes",
    "hrs": "hours",
    "hr": "hour",
    "dept": "department",
    "acct": "account",
    "no": "number",
    "ref": "reference",
    "tel": "telephone",
    "inc": "incorporated",
    "ltd": "limited",
}
_MAY_END_SENTENCE: Final = frozenset({"etc", "inc", "ltd", "hr", "hrs", "min", "ave", "rd", "blvd"})
# These are words by themselves: only with their full stop, and before a digit, are they abbreviations.
_ONLY_BEFORE_DIGIT: Final = frozenset({"no", "ext", "apt", "tel", "ref"})
_FRACTIONS: Final = {"\u00bd": "a half", "\u00bc": "a quarter", "\u00be": "three quarters"}
_UNITS: Final = {
    "km": "kilometers",
    "kg": "kilograms",
    "cm": "centimeters",
    "mm": "millimeters",
    "gb": "gigabytes",
    "mb": "megabytes",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "ft": "feet",
    "mph": "miles per hour",
    "ms": "milliseconds",
    "kw": "kilowatts",
    "kwh": "kilowatt hours",
}
_SYMBOLS: Final = {
    "&": "and",
    "@": "at",
    "%": "percent",
    "+": "plus",
    "=": "equals",
    "*": "star",
    "°": "degrees",
    "$": "dollars",
    "£": "pounds",
    "€": "euros",
    "¥": "yen",
    "₹": "rupees",
    "\u00d7": "times",
    "÷": "divided by",
    "<": "less than",
    ">": "greater than",
    "½": "one half",
    "¼": "one quarter",
    "¾": "three quarters",
}


LONGEST_CHARACTERS: Final = 8000
"""About eight minutes of speech; what comes behind is not said."""


def normalize(text: str, locale: Locale = "en-US", lexicon: Lexicon = NO_LEXICON) -> str:
    """Words and ``, . ? ! '`` only, single spaces; empty when nothing can be spoken.

    Args:
        text: Any text, its first 8000 characters; markdown and emoji are taken out.
        locale: Decides dates such as 3/4/2026, "and" in numbers, and currency words.
        lexicon: Respellings, applied before everything else.
    """
    text = _MIXED_FRACTION.sub(
        partial(_apply, _and_a_fraction, locale), lexicon.apply(_strip_markup(text))
    )
    text = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY))
    for pattern, rule in _RULES:
        text = pattern.sub(partial(_apply, rule, locale), text)
    return _clean(text, locale)


def _apply(rule: Rule, locale: Locale, match: re.Match[str]) -> str:
    try:
        return f" {rule(match, locale)} "
    except SynthesisError:
        return match.group()


_TYPOGRAPHY: Final = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "“": '"',
        "”": '"',
        "…": ". ",
        "\u2013": "-",
        "—": ", ",
        "\u2212": "-",
        "½": " one half ",
        "¼": " one quarter ",
        "¾": " three quarters ",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
# Runs that nobody says would make the rules slow: 20,000 characters of "a-" took 16 s.
_BLANK_LINES: Final = re.compile(r"\n\s*")
_BLANK_RUN: Final = re.compile(r"[^\S\n]+")
_ENDLESS: Final = re.compile(r"(\S{100})(?=\S)")
_MARKUP: Final = (
    (re.compile(r"```.*?```", re.DOTALL), " "),
    (re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^)\n]{0,500}\)"), r"\1"),
    (re.compile(r"^[ \t]{0,3}(?:#{1,6}|>|[-*+•])\s+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), " "),
    (re.compile(r"(\*\*|__|~~|`)"), ""),
    (re.compile(r"(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)"), ""),
    (re.compile(r"<[^<>\n]{1,80}>"), " "),
    (re.compile(r"(?<![.?!:,;\s])[ \t]*\n+"), ". "),
)


def _strip_markup(text: str) -> str:
    text = _BLANK_RUN.sub(" ", _BLANK_LINES.sub("\n", text[:LONGEST_CHARACTERS]))
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return _ENDLESS.sub(r"\1 ", text)


def _clean(text: str, locale: Locale) -> str:
    spoken = []
    for character in text:
        if character == "#":
            spoken.append(" hash " if locale == "en-GB" else " pound ")
        elif character in _SYMBOLS:
            spoken.append(f" {_SYMBOLS[character]} ")
        elif character in ",.?!' \n\t":
            spoken.append(character)
        elif character in ";:()[]{}":
            spoken.append(", ")
        elif character.isdigit() or character.isnumeric():
            spoken.append(f" {_any_digit(character)} ")
        else:
            spoken.append(_plain_letter(character))
    text = "".join(spoken)
    text = re.sub(r"(?<![a-zA-Z])'|'(?![a-zA-Z])", " ", text)
    text = re.sub(r"\s+([,.?!])", r"\1", re.sub(r"\s+", " ", text))
    text = re.sub(r"[,.?!]*([.?!])[,.?!]*", r"\1", text)
    text = re.sub(r",+", ",", text)
    text = re.sub(r"([,.?!])(?=[a-zA-Z])", r"\1 ", text)
    text = text.strip(" ,")
    text = re.sub(r"^[.?!,\s]+", "", text)
    return text if re.search("[a-zA-Z]", text) else ""


def _plain_letter(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if plain.isalpha() else " "


def _any_digit(character: str) -> str:
    value = unicodedata.numeric(character, -1.0)
    return cardinal(int(value)) if value >= 0 and value == int(value) else ""


# ---------------------------------------------------------------- rules


def _money(match: re.Match[str], locale: Locale) -> str:
    sign, symbol, amount, magnitude = match.group(1, 2, 3, 4)
    currency = _CURRENCY_OF[symbol]
    minus = "minus " if sign else ""
    if magnitude:
        word = _MAGNITUDE.get(magnitude.lower(), magnitude.lower())
        return f"{minus}{decimal_words(amount, locale)} {word} {say_as.CURRENCIES[currency][1]}"
    return minus + say_as.money(amount, currency, locale=locale)


def _money_code(match: re.Match[str], locale: Locale) -> str:
    return say_as.money(match.group(1), match.group(2), locale=locale)


def _iso_date(match: re.Match[str], locale: Locale) -> str:
    return say_as.date(match.group(), locale=locale)


def _slash_date(match: re.Match[str], locale: Locale) -> str:
    first, second, written_year = (int(g) for g in match.groups())
    month, day = (second, first) if locale == "en-GB" else (first, second)
    if month > 12:
        month, day = day, month
    full_year = written_year + 2000 if written_year < 100 else written_year
    try:
        return say_as.date(dt.date(full_year, month, day), locale=locale)
    except ValueError as error:
        raise SynthesisError("no date") from error


def _month_day(match: re.Match[str], locale: Locale) -> str:
    return _named_date(match.group(1), int(match.group(2)), match.group(3), locale)


def _day_month(match: re.Match[str], locale: Locale) -> str:
    # Who writes "the 3rd of May" is read so everywhere.
    style: Locale = "en-GB" if match.group(2) else locale
    return _named_date(match.group(3), int(match.group(1)), match.group(4), style)


def _named_date(month: str, day: int, written_year: str | None, locale: Locale) -> str:
    if day == 0:
        raise SynthesisError("no date")
    words = say_as.day_of_month(day, _MONTH_OF[month[:3].lower()], locale=locale)
    return f"{words}, {year(int(written_year))}" if written_year else words


def _month_year(match: re.Match[str], _: Locale) -> str:
    return f"{say_as.MONTHS[_MONTH_OF[match.group(1)[:3].lower()] - 1]} {year(int(match.group(2)))}"


def _clock(match: re.Match[str], locale: Locale) -> str:
    hour, minute, half = int(match.group(1)), int(match.group(2) or 0), match.group(3)
    if half:
        if not 1 <= hour <= 12:
            raise SynthesisError("no time")
        hour = hour % 12 + (12 if half.lower().startswith("p") else 0)
    try:
        return say_as.time_of_day(dt.time(hour, minute), locale=locale)
    except ValueError as error:
        raise SynthesisError("no time") from error


def _phone(match: re.Match[str], _: Locale) -> str:
    return say_as.phone(match.group())


def _percent(match: re.Match[str], locale: Locale) -> str:
    return f"{decimal_words(match.group(1), locale)} percent"


def _ordinal(match: re.Match[str], locale: Locale) -> str:
    return ordinal(int(match.group(1)), locale)


def _unit(match: re.Match[str], locale: Locale) -> str:
    return f"{decimal_words(match.group(1), locale)} {_UNITS[match.group(2).lower()]}"


def _abbreviation(match: re.Match[str], _: Locale) -> str:
    words = _ABBREVIATIONS[match.group(1).lower()]
    # "etc. Then": the full stop ends the sentence as well; "Dr. Smith": it does not.
    ends = match.group(1).lower() in _MAY_END_SENTENCE and re.match(
        r"\s+[A-Z]", match.string[match.end() :]
    )
    return words + "." if ends else words


def _number_sign(match: re.Match[str], locale: Locale) -> str:
    return f"number {decimal_words(match.group(1), locale)}"


def _and_a_fraction(match: re.Match[str], locale: Locale) -> str:
    return f"{cardinal(int(match.group(1)), locale)} and {_FRACTIONS[match.group(2)]}"


def _degrees(match: re.Match[str], locale: Locale) -> str:
    scale = "Celsius" if match.group(2).upper() == "C" else "Fahrenheit"
    return f"{decimal_words(match.group(1), locale)} degrees {scale}"


def _range(match: re.Match[str], locale: Locale) -> str:
    return f"{decimal_words(match.group(1), locale)} to {decimal_words(match.group(2), locale)}"


def _address(match: re.Match[str], _: Locale) -> str:
    spoken = (f" {say_as.SYMBOL_NAMES[c]} " if c in say_as.SYMBOL_NAMES else c for c in match.group())
    return re.sub(r"\d", lambda d: f" {digits_one_by_one(d.group())} ", "".join(spoken))


def _web(match: re.Match[str], locale: Locale) -> str:
    shown = re.sub(r"^https?://(?:www\.)?", "", match.group())
    return _address(re.match(r".*", shown) or match, locale)


def _code(match: re.Match[str], _: Locale) -> str:
    return say_as.spell(match.group().replace("-", ""), alphabet=False)


def _number(match: re.Match[str], locale: Locale) -> str:
    text = match.group().replace(",", "")
    minus, plain = text.startswith("-"), text.lstrip("-")
    whole, _, fraction = plain.partition(".")
    # Leading zeros and long runs are names of things, not amounts.
    if (
        "," not in match.group()
        and not fraction
        and (len(whole) > 6 or (whole[0] == "0" and len(whole) > 1))
    ):
        return say_as.digits(whole)
    if 1900 <= int(whole) <= 2099 and not fraction and not minus and "," not in match.group():
        return year(int(whole))
    return decimal_words(text, locale)


_MIXED_FRACTION: Final = re.compile(rf"(?<![\w.,])(\d{{1,9}})\s?([{''.join(_FRACTIONS)}])")
_RULES: Final[tuple[tuple[re.Pattern[str], Rule], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), rule)
    for pattern, rule in (
        (r"\bhttps?://[^\s,]*[^\s,.?!)]", _web),
        (r"\bwww\.[^\s,]*[^\s,.?!)]", _address),
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
        (rf"(?<![\w.])(-)?([$£€¥₹])\s?({_NUMBER})(?:\s?(k|m|bn|b|thousand|million|billion)\b)?", _money),
        (rf"(?<![\w.])(-?(?:{_NUMBER}))\s?({'|'.join(say_as.CURRENCIES)})\b", _money_code),
        (r"\b\d{4}-\d{2}-\d{2}\b", _iso_date),
        (r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b", _slash_date),
        (rf"\b({_MONTH})\s+{_DAY}(?:,?\s+(\d{{4}}))?\b", _month_day),
        (rf"\b(?:the\s+)?{_DAY}\s+(of\s+)?({_MONTH})(?:,?\s+(\d{{4}}))?\b", _day_month),
        (rf"\b({_MONTH})\s+(\d{{4}})\b", _month_year),
        (r"\b(\d{1,2}):(\d{2})(?::\d{2})?\s?([ap]\.?m\b\.?)?", _clock),
        (r"\b(\d{1,2})()\s?([ap]\.?m\b\.?)", _clock),
        (r"\+\d[\d\s().-]{6,18}\d", _phone),
        (r"(?<![\w-])(?:1[\s.-])?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}(?![\w-])", _phone),
        (r"(?<![\w-])\d{3}-\d{4}(?![\w-])", _phone),
        (rf"(-?(?:{_NUMBER}))\s?%", _percent),
        (r"\b(\d{1,9})(?:st|nd|rd|th)\b", _ordinal),
        (rf"(?<!\w)(-?(?:{_NUMBER}))\s?°\s?([CF])\b", _degrees),
        (rf"#\s?({_NUMBER})(?![\w-])", _number_sign),
        (rf"\b({_NUMBER})\s?({'|'.join(_UNITS)})\b", _unit),
        (rf"\b({'|'.join(a for a in _ONLY_BEFORE_DIGIT)})\.?(?=\s?\d)", _abbreviation),
        (
            rf"\b({'|'.join(re.escape(a) for a in _ABBREVIATIONS.keys() - _ONLY_BEFORE_DIGIT)})\.(?!\w)",
            _abbreviation,
        ),
        (rf"(?<![\w-])({_NUMBER})\s?-\s?({_NUMBER})(?![\w-])", _range),
        (r"\b(?=[a-z0-9-]*\d)(?=[a-z0-9-]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*\b", _code),
        (rf"(?:(?<![\w.])-)?(?:{_NUMBER})", _number),
    )
)
