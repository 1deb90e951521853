"""Times of day: "half past three", "ten thirty p m", "noon"."""

from dataclasses import dataclass
from datetime import time

from voicebot.asr.numbers import parse_number

_MORNING = ("a m", "in the morning", "am")
_AFTERNOON = ("p m", "in the afternoon", "in the evening", "at night", "pm", "tonight")


@dataclass(frozen=True)
class SpokenTime:
    """A time of day.

    Attributes:
        time: As said; without morning or afternoon the hour is 1 to 12.
        certain: Whether it is clear which half of the day is meant.
    """

    time: time
    certain: bool


def read_time(text: str) -> SpokenTime | None:
    """A time of day, or None when the words name none."""
    text = f" {' '.join(text.lower().replace('.', '').split())} "
    if " noon " in text or " midday " in text:
        return SpokenTime(time(12, 0), certain=True)
    if " midnight " in text:
        return SpokenTime(time(0, 0), certain=True)
    half = None
    for phrases, name in ((_MORNING, "am"), (_AFTERNOON, "pm")):
        for phrase in phrases:
            if f" {phrase} " in text:
                half, text = name, text.replace(f" {phrase} ", " ")
    words = [w for w in text.split() if w not in ("uh", "um", "please", "at", "around", "about", "the")]
    clock = _clock(words)
    if clock is None:
        return None
    hour, minute = clock
    if half == "pm" and hour < 12:
        hour += 12
    if half == "am" and hour == 12:
        hour = 0
    return SpokenTime(time(hour, minute), certain=half is not None or not 1 <= hour <= 12)


def _clock(words: list[str]) -> tuple[int, int] | None:
    """Hour and minute as said."""
    words = [w for w in words if w not in ("o'clock", "minutes", "minute", "hours")]
    for word, sign in (("past", 1), ("after", 1), ("to", -1), ("of", -1)):
        if word in words:
            cut = words.index(word)
            minutes, hour = _part(words[:cut]), parse_number(words[cut + 1 :])
            if minutes is None or hour is None or not 1 <= hour <= 12:
                return None
            if sign > 0:
                return hour, minutes
            return (hour - 1 or 12), 60 - minutes
    for cut in range(len(words), 0, -1):
        hour, rest = parse_number(words[:cut]), words[cut:]
        if hour is None or hour > 24:
            continue
        if not rest or rest == ["hundred"]:
            return hour % 24, 0
        minute = parse_number(rest[1:]) if rest[0] in ("oh", "zero") else parse_number(rest)
        if minute is not None and minute <= 59 and (minute >= 10 or rest[0] in ("oh", "zero")):
            return hour % 24, minute
    return None


def _part(words: list[str]) -> int | None:
    plain = [w for w in words if w != "a"]
    if plain == ["half"]:
        return 30
    if plain == ["quarter"]:
        return 15
    value = parse_number(plain)
    return value if value is not None and 1 <= value <= 59 else None
