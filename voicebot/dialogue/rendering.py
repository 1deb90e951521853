"""Typed values as words. The forms are those of ``voicebot.tts.say_as``; nothing is rendered twice."""

from typing import Any

from voicebot.core.errors import SynthesisError
from voicebot.tts.number_words import Locale
from voicebot.tts.say_as import SAY_AS, say_as

FILTERS = frozenset([*SAY_AS, "datetime", "text"])
# How a value of a known type is said when the template names no filter.
FILTER_OF_TYPE = {
    "digits": "digits",
    "money": "money",
    "date": "date",
    "time": "time",
    "datetime": "datetime",
    "number": "number",
    "phone": "phone",
}


def speech_locale(locale: str) -> Locale:
    """The nearest locale that has number words."""
    return "en-US" if locale in {"en-US", "en-CA"} else "en-GB"


def render_value(value: Any, kind: str, locale: Locale) -> str:
    """``value`` as words; empty for None; as it is when it does not fit its kind.

    Args:
        value: What the dialplan holds: text, number, truth value or None.
        kind: A filter name, or "" for plain text.
        locale: How numbers, money and dates are said.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    try:
        match kind:
            case "" | "text":
                return say_as("number", text, locale) if isinstance(value, int | float) else text
            case "datetime":
                date, _, time = text.partition("T")
                return f"{say_as('date', date, locale)}, {say_as('time', time[:5], locale)}"
            case "time" if "T" in text:
                return say_as("time", text.partition("T")[2][:5], locale)
            case _:
                return say_as(kind, text, locale)
    except SynthesisError:
        return text
