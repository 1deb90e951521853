"""Values of a tool, each of the type that the plan declares."""

import re
from collections.abc import Mapping
from typing import Any

from voicebot.dialogue.events import JsonValue

MAX_TEXT_CHARACTERS = 2000
_SHAPES = {
    "digits": re.compile(r"[0-9]{1,64}\Z"),
    "money": re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?( [A-Z]{3})?\Z"),
    "date": re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]\Z"),
    "time": re.compile(r"[0-2][0-9]:[0-5][0-9](:[0-9.]+)?\Z"),
    "datetime": re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]"),
}


def typed_values(answer: Mapping[str, Any], returns: Mapping[str, str]) -> dict[str, JsonValue]:
    """The values that the plan declares, each of its type; everything else is dropped.

    Raises:
        ValueError: A declared value is missing or of another type: half an answer is none.
    """
    values: dict[str, JsonValue] = {}
    for name, kind in returns.items():
        value = answer.get(name)
        match kind:
            case "boolean":
                good = isinstance(value, bool)
            case "number":
                good = isinstance(value, int | float) and not isinstance(value, bool)
            case "text":
                good = isinstance(value, str) and len(value) <= MAX_TEXT_CHARACTERS
            case _:
                good = isinstance(value, str) and _SHAPES[kind].match(value) is not None
        if not good:
            raise ValueError(f"{name!r} is no {kind}")
        values[name] = value
    return values
