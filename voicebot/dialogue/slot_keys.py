"""Keys of a slot that its type does not know: refused, because a plan that has them means something."""

from collections.abc import Iterator
from typing import Final

from voicebot.dialogue.model import Slot

KEYABLE: Final = frozenset(["digits", "number", "money", "date", "time", "phone"])
"""Types whose values can be entered on a keypad."""
_COUNTED: Final = frozenset(["digits", "phone", "spelling"])
_ONLY_FOR: Final = {
    "length": _COUNTED,
    "min_length": _COUNTED,
    "max_length": _COUNTED,
    "options": frozenset(["choice"]),
    "dtmf": frozenset(["choice"]),
    "currency": frozenset(["money"]),
    "past": frozenset(["date"]),
}


def useless_keys(slot: Slot) -> Iterator[tuple[str, str]]:
    """Each key of ``slot`` that would have no effect, and why."""
    given = slot.model_fields_set
    for key, types in _ONLY_FOR.items():
        if key in given and slot.type not in types:
            yield key, f"has no effect: {key!r} is for {_listed(types)}"
    if slot.length is not None and given & {"min_length", "max_length"}:
        yield "length", "give either length, or min_length and max_length"
    if slot.read_back in {"grouped", "digits"} and slot.type not in {"digits", "phone"}:
        yield "read_back", f"a {slot.type} is read back as 'value'"
    if slot.read_back != "none" and slot.sensitive:
        yield "read_back", "a sensitive slot is never said"
    if slot.read_back != "none" and "speech" not in slot.input:
        yield "read_back", "has no effect: what is keyed in is confirmed, not read back"
    if not slot.input:
        yield "input", "leaves no way to answer"
    if slot.input == ["dtmf"] and slot.type not in KEYABLE | {"yes_no"} and not slot.dtmf:
        yield (
            "input",
            f"a {slot.type} cannot be keyed in" + (": add 'dtmf'" if slot.type == "choice" else ""),
        )
    if slot.dtmf and "dtmf" not in slot.input:
        yield "dtmf", "has no effect: 'input' allows speech only"


def _listed(types: frozenset[str]) -> str:
    *first, last = sorted(types)
    return f"{', '.join(first)} and {last}" if first else last
