"""Days: "the twenty first of march", "next friday", "tomorrow"."""

from datetime import date, timedelta

from voicebot.asr.numbers import parse_number
from voicebot.asr.spoken import MONTHS, ORDINALS, WEEKDAYS

_ORDINAL_DAYS = {word: day for day, word in enumerate(ORDINALS, start=1)} | {
    "twentieth": 20,
    "thirtieth": 30,
}
_RELATIVE = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}
_IN_DAYS = {"day": 1, "days": 1, "week": 7, "weeks": 7}


def read_date(text: str, today: date) -> date | None:
    """A calendar day, or None when the words name none.

    A day without a year is the next such day from today on; a weekday is the next one after today,
    "next" adds nothing to that except on that very day, "last" looks back.
    """
    words = [w for w in text.lower().replace("-", " ").split() if w not in ("uh", "um", "please")]
    relative = _relative(words, today)
    if relative is not None:
        return relative
    month = next((w for w in words if w in MONTHS), None)
    if month is not None:
        return _calendar(words, MONTHS.index(month) + 1, words.index(month), today)
    weekday = next((w for w in words if w in WEEKDAYS), None)
    if weekday is not None:
        return _weekday(words, WEEKDAYS.index(weekday), today)
    day = _day(words)
    return None if day is None else _next_with_day(day, today)


def _relative(words: list[str], today: date) -> date | None:
    text = " ".join(words)
    if "day after tomorrow" in text:
        return today + timedelta(days=2)
    if "day before yesterday" in text:
        return today - timedelta(days=2)
    for word, days in _RELATIVE.items():
        if word in words:
            return today + timedelta(days=days)
    for index, word in enumerate(words):
        if word in _IN_DAYS and index:
            if words[index - 1] in ("next", "last"):
                sign = 1 if words[index - 1] == "next" else -1
                return today + timedelta(days=sign * _IN_DAYS[word])
            count = 1 if words[index - 1] in ("a", "one") else parse_number([words[index - 1]])
            if count is not None and "in" in words[:index]:
                return today + timedelta(days=count * _IN_DAYS[word])
            if count is not None and "ago" in words[index:]:
                return today - timedelta(days=count * _IN_DAYS[word])
    return None


def _calendar(words: list[str], month: int, place: int, today: date) -> date | None:
    before, after = words[:place], words[place + 1 :]
    day = _day(before)
    rest = after
    if day is None:
        day, used = _leading_day(after)
        rest = after[used:]
    if day is None:
        return None
    year = _year(rest)
    if year is None and rest and rest[-1] not in ("the", "of"):
        return None
    if year is not None:
        return _valid(year, month, day)
    # The 29th of February may be some years away.
    for candidate in range(today.year, today.year + 9):
        found = _valid(candidate, month, day)
        if found is not None and found >= today:
            return found
    return None


def _day(words: list[str]) -> int | None:
    """The day of the month anywhere in the words."""
    for index in range(len(words)):
        day, _ = _leading_day(words[index:])
        if day is not None:
            return day
    return None


def _leading_day(words: list[str]) -> tuple[int | None, int]:
    """A day at the front, and how many words it took: "(the) twenty first", "twenty one", "five"."""
    skip = 1 if words and words[0] == "the" else 0
    front = words[skip:]
    if not front:
        return None, 0
    if front[0] in _ORDINAL_DAYS:
        return _ORDINAL_DAYS[front[0]], skip + 1
    if front[0] in ("twenty", "thirty") and len(front) > 1 and _ORDINAL_DAYS.get(front[1], 99) < 10:
        return (20 if front[0] == "twenty" else 30) + _ORDINAL_DAYS[front[1]], skip + 2
    # "may twenty twenty five" is a month and a year, so two words first, but no year's halves.
    for used in (2, 1):
        value = parse_number(front[:used]) if len(front) >= used else None
        if value is not None and 1 <= value <= 31 and "and" not in front[:used]:
            return value, skip + used
    return None, 0


def _year(words: list[str]) -> int | None:
    """A year: "nineteen eighty four", "two thousand (and) five", "twenty twenty five"."""
    words = [w for w in words if w not in ("of", "in", "the", "year")]
    if not words:
        return None
    whole = parse_number(words)
    if whole is not None and 1900 <= whole <= 2100:
        return whole
    for cut in (1, 2):
        head, tail = parse_number(words[:cut]), words[cut:]
        if head in (19, 20) and tail:
            low = parse_number(tail[1:]) if tail[0] == "oh" else parse_number(tail)
            if low is not None and (10 <= low <= 99 or (tail[0] == "oh" and low <= 9)):
                return head * 100 + low
    return None


def _weekday(words: list[str], weekday: int, today: date) -> date | None:
    ahead = (weekday - today.weekday()) % 7 or 7
    found = today + timedelta(days=ahead)
    if "last" in words:
        found -= timedelta(days=7)
        if found >= today:
            found -= timedelta(days=7)
    day = _day([w for w in words if w not in WEEKDAYS])
    if day is None or found.day == day:
        return found
    for weeks in range(1, 60):  # "friday the thirteenth"
        later = found + timedelta(weeks=weeks)
        if later.day == day:
            return later
    return None


def _next_with_day(day: int, today: date) -> date | None:
    year, month = today.year, today.month
    for _ in range(3):
        found = _valid(year, month, day)
        if found is not None and found >= today:
            return found
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return None


def _valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
