"""Run-time grammars for what a dialogue step expects.

Vosk turns a list of phrases into a backed-off bigram: words recombine, so a digit grammar needs each
digit once to allow strings of any length. Every grammar carries words that compete, so that their
sounds are not taken for words that matter, and, added by the recogniser, ``[unk]``.
"""

from collections.abc import Iterable

from voicebot.asr.spoken import DIGITS, FILLERS, MONTHS, NO, ORDINALS, TEENS, TENS, WEEKDAYS, YES
from voicebot.core.expectation import Expectation

LIKELY_TIMES = 6
"""A likely phrase counts as so many others: Vosk counts how often a phrase is in a grammar.

Chosen on recordings of "stop" and "no" that are no test speakers': with 1 24 of 35 are heard, with 6 28;
with 8 two of 40 bursts like coughs are taken for such words, with 6 none."""

_SPOKEN_DIGITS = (*DIGITS, "oh")

DIGIT_PHRASES = (
    *_SPOKEN_DIGITS,
    *(f"{first} {second}" for first in DIGITS for second in DIGITS),
    *(f"double {digit}" for digit in _SPOKEN_DIGITS),
    *(f"triple {digit}" for digit in _SPOKEN_DIGITS),
    "hundred",
    "thousand",
    *TEENS,
    *TENS,
)
NUMBER_PHRASES = (
    *DIGITS,
    *TEENS,
    *TENS,
    *("hundred", "thousand", "million", "and", "a hundred", "a thousand", "hundred and", "point"),
    *(f"{tens} {digit}" for tens in TENS for digit in DIGITS[1:]),
    *(f"{digit} hundred" for digit in DIGITS[1:]),
)
MONEY_PHRASES = (
    *NUMBER_PHRASES,
    *("dollar", "dollars", "cents", "pound", "pounds", "pence", "euro", "euros"),
    *("dollars and", "pounds and", "euros and"),
)
DATE_PHRASES = (
    *(*MONTHS, *WEEKDAYS, *ORDINALS, *DIGITS, *TEENS, *TENS, "twentieth", "thirtieth"),
    *("today", "tomorrow", "yesterday", "the day after tomorrow", "next week", "two thousand"),
    *("the", "of", "next", "this", "on", "last"),
    *(f"{tens} {ordinal}" for tens in TENS[:2] for ordinal in ORDINALS[:9]),
    *(f"the {ordinal} of" for ordinal in ORDINALS),
    *(f"of {month}" for month in MONTHS),
    *(f"{lead} {day}" for lead in ("next", "this", "on") for day in WEEKDAYS),
)
TIME_PHRASES = (
    *(*DIGITS, *TEENS, *TENS, "oh", "noon", "midnight", "past", "to", "at"),
    *("o'clock", "half past", "quarter past", "quarter to", "a m", "p m"),
    *("in the morning", "in the afternoon", "in the evening", "at night"),
    *(f"{hour} o'clock" for hour in (*DIGITS[1:], *TEENS[:3])),
)

_BY_KIND: dict[str, tuple[str, ...]] = {
    "yes_no": (*YES, *NO),
    "digits": DIGIT_PHRASES,
    "number": NUMBER_PHRASES,
    "money": MONEY_PHRASES,
    "date": DATE_PHRASES,
    "time": TIME_PHRASES,
}


def grammar_for(expectation: Expectation, always: Iterable[str] = ()) -> list[str] | None:
    """The grammar of a dialogue step, or None for free speech.

    Args:
        expectation: What the step waits for; its phrases come first. Likely ones of them are repeated.
        always: Global commands that may be said at any step ("operator", "repeat that").
    """
    phrases = [*expectation.phrases, *_BY_KIND.get(expectation.kind, ())]
    if not phrases:
        return None
    once = dict.fromkeys([*phrases, *always, *FILLERS])
    return [*once, *expectation.likely * (LIKELY_TIMES - 1)]
