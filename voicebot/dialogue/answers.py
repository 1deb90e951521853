"""What a caller's words or keys mean as the answer to one slot.

Words become values by the readers of ``voicebot.asr``; here they meet the slot's rules, and typed text
(tests, ``chat``) is put into words first.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from voicebot.asr.dates import read_date
from voicebot.asr.digits import only_digits, read_digits
from voicebot.asr.letters import read_letters
from voicebot.asr.money import read_money
from voicebot.asr.numbers import read_number
from voicebot.asr.spoken import MONTHS, WEEKDAYS
from voicebot.asr.spoken import words as spoken_words
from voicebot.asr.times import read_time
from voicebot.asr.yes_no import read_yes_no
from voicebot.dialogue.matching import words_of
from voicebot.dialogue.program import SlotRules
from voicebot.dialogue.rendering import render_value
from voicebot.tts.number_words import DIGITS, digits_one_by_one
from voicebot.tts.say_as import digits

SURE_MATCH = 0.8
CERTAIN = 0.9
MAX_NAME_WORDS = 4
MAX_TEXT_CHARACTERS = 500
LAST_AFTERNOON_HOUR = 6  # "at three" is in the afternoon, "at nine" in the morning
_LEADS = (
    *(
        "my name is",
        "the name is",
        "it's",
        "its",
        "it is",
        "this is",
        "i'm",
        "i am",
        "that's",
        "name is",
    ),
    *("um", "uh", "er", "yes", "yeah"),
)
# What people say instead of a name ("sorry, what?"), and words of sentences; Will and May are names.
_NO_NAMES = frozenset(
    spoken_words(
        """what what's who who's how how's why which when where hello sorry pardon please thanks wrong
        yes yeah no nope not don't can't isn't wasn't okay ok something nothing anything"""
    )
)
_OF_SENTENCES = frozenset(
    spoken_words(
        """the is are was were be been do does did have has had can could would should i you we they he
        she it me my your our their his her them this that these those there here of to for with about
        and or but if at on in from want need know think mean say said tell get got like go going just
        still really very"""
    )
)
_DATE_NUMBERS = re.compile(r"\b([0-3]?[0-9])[/.]([0-3]?[0-9])(?:[/.]((?:[12][0-9])?[0-9]{2}))?\b")
_ISO_DATE = re.compile(r"\b([12][0-9]{3})-([01][0-9])-([0-3][0-9])\b")
_CLOCK = re.compile(r"\b([0-2]?[0-9]):([0-5][0-9])\b")
_AMOUNT = re.compile(r"([£$€])?\s*([0-9]{1,9}(?:,[0-9]{3})*(?:\.[0-9]{1,2})?)\Z")
_SIGNS = {"£": "GBP", "$": "USD", "€": "EUR"}


_MONEY_WORDS = frozenset(["pounds", "pound", "pence", "dollars", "dollar", "cents", "euros", "euro"])
_FROM_TODAY = frozenset(["today", "tomorrow", "next", *WEEKDAYS])
_DAY_WORDS = frozenset([*MONTHS, *WEEKDAYS, "today", "tomorrow", "yesterday"])
_FIRST_OF_DIGITS = frozenset([*DIGITS, "oh", "double", "triple"])


@dataclass(frozen=True, slots=True)
class Answer:
    """A value as text, and whether the words left no doubt."""

    value: str
    sure: bool = True


def slot_answer(rules: SlotRules, text: str, today: dt.date) -> Answer | None:
    """The value that ``text`` gives, or None.

    Digits may be fewer or more than the slot wants: callers say long numbers in groups.

    Args:
        rules: The slot.
        text: What the caller said, as the answer to this slot.
        today: What "tomorrow" counts from.
    """
    return _READERS[rules.type](rules, text, today)


def _spoken(text: str) -> str:
    """Lower-case words, each typed digit as a word."""
    return " ".join(digits_one_by_one(w) if w.isdigit() else w for w in words_of(text))


def _digits(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    words = _spoken(text)
    found = read_digits(words) if only_digits(words) else ""
    return Answer(found) if found else None


def _number(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    typed = re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", text.strip())
    if typed:
        return Answer(typed[0])
    words = words_of(text)
    sign = "-" if words[:1] in (["minus"], ["negative"]) else ""
    words = words[1:] if sign else words
    at = words.index("point") if "point" in words else len(words)
    whole = read_number(" ".join(words[:at]))
    fraction = read_digits(" ".join(words[at + 1 :]))
    if whole is None or (at < len(words) and not fraction):
        return None
    return Answer(f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}")


def _money(rules: SlotRules, text: str, _: dt.date) -> Answer | None:
    typed = _AMOUNT.match(text.strip())
    if typed:
        currency = _SIGNS.get(typed[1] or "", rules.currency)
        return Answer(f"{Decimal(typed[2].replace(',', '')):.2f} {currency}")
    found = read_money(" ".join(words_of(text)))
    return None if found is None else Answer(f"{found.amount:.2f} {found.currency or rules.currency}")


def _date(rules: SlotRules, text: str, today: dt.date) -> Answer | None:
    found = _typed_date(text, today, month_first=rules.locale == "en-US")
    if found is None:
        words = words_of(text)
        words = words[: words.index("at")] if "at" in words else words  # what follows is the time
        found = read_date(" ".join(words), today)
    named = _FROM_TODAY.isdisjoint(words_of(text))  # "tomorrow" is no birthday, also not last year's
    if found is not None and named and rules.past and today < found <= today + dt.timedelta(days=366):
        found = _valid_date(found.year - 1, found.month, found.day)  # a birthday, not an appointment
    return None if found is None else Answer(found.isoformat())


def _typed_date(text: str, today: dt.date, *, month_first: bool) -> dt.date | None:
    iso = _ISO_DATE.search(text)
    if iso:
        return _valid_date(int(iso[1]), int(iso[2]), int(iso[3]))
    pair = _DATE_NUMBERS.search(text)
    if pair is None:
        return None
    day, month = (int(pair[2]), int(pair[1])) if month_first else (int(pair[1]), int(pair[2]))
    if pair[3]:
        year = int(pair[3])
        if year < 100:
            year += today.year // 100 * 100 - (100 if year > today.year % 100 + 10 else 0)
        return _valid_date(year, month, day)
    found = _valid_date(today.year, month, day)
    return found if found is None or found >= today else _valid_date(today.year + 1, month, day)


def _valid_date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def _time(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    typed = _CLOCK.search(text)
    if typed:
        return Answer(f"{int(typed[1]):02d}:{typed[2]}") if int(typed[1]) < 24 else None
    found = read_time(" ".join(words_of(text)))
    if found is None:
        return None
    hour = found.time.hour
    if not found.certain and 1 <= hour <= LAST_AFTERNOON_HOUR:
        hour += 12
    return Answer(f"{hour:02d}:{found.time.minute:02d}")


def _choice(rules: SlotRules, text: str, _: dt.date) -> Answer | None:
    match = rules.matcher.best(text)
    return None if match is None else Answer(match.intent, match.score >= SURE_MATCH)


def _name(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    spelled = spelled_out(text)
    if spelled:
        return Answer(spelled.capitalize())
    said = " ".join(words_of(text))
    for lead in sorted(_LEADS, key=len, reverse=True):
        said = said.removeprefix(lead + " ")
    words = said.split()
    if not 0 < len(words) <= MAX_NAME_WORDS or any(any(c.isdigit() for c in w) for w in words):
        return None
    if not _NO_NAMES.isdisjoint(words) or (len(words) > 1 and not _OF_SENTENCES.isdisjoint(words)):
        return None
    return Answer(" ".join(w.capitalize() for w in words))


def spelled_out(text: str) -> str:
    """The name that is spelled letter by letter, or nothing."""
    spelled = _spelled(text)
    return spelled if len(spelled) > 1 and spelled.isalpha() else ""


def _spelled(text: str) -> str:
    """What is spelled, when nothing else is said."""
    words = words_of(re.sub(r"\b(?:that's|it's|spelled|spelt|um|uh)\b", " ", text.lower()))
    joint = {"for", "as", "in", "like", "double", "triple", "and", "x", "ray", "you"}
    singles = [
        w for n, w in enumerate(words) if w not in joint and words[n - 1 : n] not in (["for"], ["in"])
    ]
    if not all(len(w) == 1 or w.isdigit() or read_letters(w) for w in singles):
        return ""
    return read_letters(_spoken(" ".join(words)))


def _spelling(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    found = _spelled(text)
    return Answer(found) if found else None


def _phone(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    words = _spoken(text).split()
    plus = words[:1] == ["plus"] or text.strip().startswith("+")
    rest = " ".join(words[1:] if words[:1] == ["plus"] else words)
    found = read_digits(rest) if only_digits(rest) else ""
    return Answer(("+" if plus else "") + found) if found else None


def _yes_no(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    answer = read_yes_no(text)
    return None if answer is None else Answer("true" if answer else "false")


def _text(_: SlotRules, text: str, __: dt.date) -> Answer | None:
    said = " ".join(text.split())[:MAX_TEXT_CHARACTERS]
    return Answer(said) if said else None


_READERS: dict[str, Callable[[SlotRules, str, dt.date], Answer | None]] = {
    "digits": _digits,
    "number": _number,
    "money": _money,
    "date": _date,
    "time": _time,
    "choice": _choice,
    "name": _name,
    "spelling": _spelling,
    "phone": _phone,
    "yes_no": _yes_no,
    "text": _text,
}


def keyed_answer(rules: SlotRules, keys: str, today: dt.date) -> str | None:
    """The value of keys: amounts in whole units, dates as DDMM, DDMMYY or DDMMYYYY, times as HHMM."""
    match rules.type:
        case "digits" | "phone" | "number":
            return keys or None
        case "money":
            return f"{int(keys)}.00 {rules.currency}" if keys else None
        case "time":
            if len(keys) != 4 or int(keys[:2]) > 23 or int(keys[2:]) > 59:
                return None
            return f"{keys[:2]}:{keys[2:]}"
        case "date":
            if len(keys) not in {4, 6, 8}:
                return None
            found = _date(rules, "/".join(p for p in (keys[:2], keys[2:4], keys[4:]) if p), today)
            return None if found is None else found.value
    return None


def complete(rules: SlotRules, value: str) -> bool:
    """Whether a value is whole: as many digits or letters as the slot wants."""
    if rules.type in {"digits", "phone", "spelling"}:
        return rules.min_digits <= len(value.lstrip("+")) <= rules.max_digits
    return True


def in_range(rules: SlotRules, value: str, today: dt.date) -> bool:
    """Whether a value lies between the slot's least and greatest."""
    for bound, sign in ((rules.low, 1), (rules.high, -1)):
        if not bound:
            continue
        if rules.type in {"number", "money"}:
            difference = Decimal(value.split(maxsplit=1)[0]) - Decimal(bound.split()[0])
            if difference * sign < 0:
                return False
        else:  # ISO dates and times sort as text
            limit = today.isoformat() if bound == "today" else bound
            if (value < limit) if sign == 1 else (value > limit):
                return False
    return True


def stored_value(rules: SlotRules, value: str) -> str | bool | int | float:
    """The value as it stands in variables: truth values and numbers are no text."""
    if rules.type == "yes_no":
        return value == "true"
    if rules.type == "number":
        return float(value) if "." in value else int(value)
    return value


def extract(rules: SlotRules, text: str, today: dt.date) -> tuple[Answer, str] | None:
    """A value said on the way ("block my lost card"), and the text without it; only when certain."""
    words = _spoken(text).split()
    match rules.type:
        case "digits" | "phone":
            for start in range(len(words)):
                for end in range(len(words), start, -1):
                    if words[start] not in _FIRST_OF_DIGITS:
                        break
                    part = " ".join(words[start:end])
                    found = read_digits(part) if only_digits(part) else ""
                    if len(found) > 2 and complete(rules, found):
                        return Answer(found), " ".join(words[:start] + words[end:])
        case "choice":
            match = rules.matcher.best(text)
            if match is not None and match.score >= CERTAIN:
                return Answer(match.intent), text
        case "date":
            answer = _date(rules, text, today) if _DAY_WORDS & set(words) else None
            if answer is not None:
                return answer, text
        case "time":
            for mark in ("at", "around", "about"):
                if mark in text.split():
                    before, _, after = text.partition(f"{mark} ")
                    answer = _time(rules, after, today)
                    if answer is not None:
                        return answer, before
        case "money":
            if _MONEY_WORDS & set(words):
                answer = _money(rules, text, today)
                if answer is not None:
                    return answer, text
    return None


def describe(rules: SlotRules, value: str) -> str:
    """The value in words, for reading it back."""
    match rules.type:
        case "digits":
            return digits(value)
        case "yes_no":
            return "yes" if value == "true" else "no"
        case "choice":
            return rules.matcher.label(value)
        case "spelling":
            return render_value(value, "spell", rules.locale)
        case "name" | "text":
            return value
        case kind:
            return render_value(value, kind, rules.locale)
