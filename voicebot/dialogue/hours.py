"""Opening hours: ``hours.open`` in a condition asks whether the call falls into them."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"([0-2][0-9]):([0-5][0-9])\s*-\s*([0-2][0-9]):([0-5][0-9])\Z")


Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """Spans in minutes of the local day, per weekday (0 = Monday); an end of 1440 is midnight.

    A span past midnight (``22:00-02:00``) belongs to the day on which it begins. ``special`` days have
    hours of their own, none where closed: ``2026-12-24`` is that day, ``12-25`` that day of every year.
    """

    spans: tuple[Spans, ...]
    special: Mapping[str, Spans] = field(default_factory=dict)

    def is_open(self, local: dt.datetime) -> bool:
        """Whether ``local`` (time in the plan's zone) falls into a span."""
        minute = local.hour * 60 + local.minute
        today = local.date()
        yesterday = today - dt.timedelta(days=1)
        return self._inside(today, minute) or self._inside(yesterday, minute + 1440)

    def _inside(self, day: dt.date, minute: int) -> bool:
        usual = self.spans[day.weekday()]
        name = day.isoformat()
        spans = self.special.get(name, self.special.get(name[5:], usual))
        return any(start <= minute < end for start, end in spans)


def parse_days(text: str) -> list[int]:
    """``mon-fri``, ``sat`` or ``mon,wed`` as weekday numbers.

    Raises:
        ValueError: With what is allowed.
    """
    days: list[int] = []
    for part in text.lower().split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"unknown day in {text!r}; days are {', '.join(DAYS)}")
        start = DAYS.index(first)
        end = DAYS.index(last) if dash else start
        days += [(start + n) % 7 for n in range((end - start) % 7 + 1)]
    return days


def parse_day(text: str) -> str:
    """``2026-12-25``, or ``12-25`` for every year, as written.

    Raises:
        ValueError: With what is allowed.
    """
    try:
        if re.fullmatch(r"[0-9]{2}-[0-9]{2}", text):
            dt.date.fromisoformat(f"2000-{text}")  # a leap year: 02-29 is a day
        else:
            return dt.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date; write 2026-12-25, or 12-25 for every year") from error
    return text


def parse_span(text: str) -> tuple[int, int]:
    """``08:00-20:00`` as minutes of the day; an end before the start is on the next day.

    Raises:
        ValueError: With what is allowed.
    """
    match = _SPAN.match(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is no span; write "08:00-20:00"')
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if start > 1440 or end > 1440 or start == end:
        raise ValueError(f"{text!r} is no span of a day")
    return start, end if end > start else end + 1440
