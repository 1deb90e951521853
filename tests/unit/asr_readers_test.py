"""Recognised words become values."""

from datetime import date, time
from decimal import Decimal

import pytest

from voicebot.asr.dates import read_date
from voicebot.asr.digits import only_digits, read_digits, read_phone_number
from voicebot.asr.letters import read_letters
from voicebot.asr.money import Money, read_money
from voicebot.asr.numbers import read_number
from voicebot.asr.times import read_time
from voicebot.asr.yes_no import is_only_filler, read_yes_no

WEDNESDAY = date(2026, 3, 11)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("one two three four", "1234"),
        ("double four oh seven", "4407"),
        ("triple nine", "999"),
        ("my number is zero five", "05"),
        ("two hundred", "200"),
        ("one thousand", "1000"),
        ("nineteen eighty four", "1984"),
        ("twenty one twenty", "2120"),
        ("twenty oh five", "2005"),
        ("double", ""),
        ("hello", ""),
    ],
)
def test_digit_strings(text, digits):
    """Digits come in the order they were said, repeats and tens written out."""
    assert read_digits(text) == digits


def test_only_digits_tells_an_answer_from_a_sentence():
    """A carrier phrase is part of an answer, another request is not."""
    assert only_digits("uh my account number is four double two")
    assert not only_digits("cancel four")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("zero", 0),
        ("seventeen", 17),
        ("forty two", 42),
        ("a hundred and five", 105),
        ("nineteen hundred", 1900),
        ("two thousand and six", 2006),
        ("twelve thousand three hundred and forty five", 12345),
        ("one million two hundred thousand", 1200000),
        ("one two", None),
        ("twenty twelve", None),
        ("hundred", None),
        ("and five", None),
        ("five thousand two thousand", None),
        ("", None),
    ],
)
def test_numbers(text, number):
    """One cardinal number or nothing."""
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("twenty five dollars", "25", "USD"),
        ("i want to pay three pounds and twenty pence", "3.20", "GBP"),
        ("ninety nine cents", "0.99", None),
        ("three fifty", "3.50", None),
        ("forty", "40", None),
        ("five euros fifty", "5.50", "EUR"),
        ("twelve point five", "12.50", None),
        ("two hundred and ten dollars and five cents", "210.05", "USD"),
    ],
)
def test_money(text, amount, currency):
    """Major and minor units with and without a currency."""
    assert read_money(text) == Money(Decimal(amount), currency)


@pytest.mark.parametrize("text", ["", "dollars", "hello", "two hundred cents"])
def test_no_money(text):
    """Words that are no amount give nothing rather than zero."""
    assert read_money(text) is None


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", date(2026, 3, 11)),
        ("the day after tomorrow", date(2026, 3, 13)),
        ("in two weeks", date(2026, 3, 25)),
        ("friday", date(2026, 3, 13)),
        ("wednesday", date(2026, 3, 18)),
        ("last wednesday", date(2026, 3, 4)),
        ("last friday", date(2026, 3, 6)),
        ("friday the thirteenth", date(2026, 3, 13)),
        ("march first", date(2027, 3, 1)),
        ("the twenty first of march", date(2026, 3, 21)),
        ("may fifth nineteen eighty four", date(1984, 5, 5)),
        ("the third of june two thousand and five", date(2005, 6, 3)),
        ("december twenty fifth twenty twenty six", date(2026, 12, 25)),
        ("the ninth", date(2026, 4, 9)),
        ("february twenty ninth", date(2028, 2, 29)),
        ("february thirtieth", None),
        ("hello", None),
    ],
)
def test_dates(text, day):
    """Relative days, weekdays and calendar days, seen from a Wednesday."""
    assert read_date(text, WEDNESDAY) == day


@pytest.mark.parametrize(
    ("text", "clock", "certain"),
    [
        ("three o'clock", time(3, 0), False),
        ("half past three in the afternoon", time(15, 30), True),
        ("quarter to one", time(12, 45), False),
        ("ten thirty p m", time(22, 30), True),
        ("twelve a m", time(0, 0), True),
        ("nine oh five", time(9, 5), False),
        ("noon", time(12, 0), True),
        ("fifteen hundred", time(15, 0), True),
        ("twenty past four", time(4, 20), False),
    ],
)
def test_times(text, clock, certain):
    """Times as said, and whether the half of the day is known."""
    spoken = read_time(text)
    assert spoken is not None
    assert (spoken.time, spoken.certain) == (clock, certain)


def test_no_time():
    """Numbers that are no time of day."""
    assert read_time("thirty five") is None
    assert read_time("hello") is None


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("a b c", "ABC"),
        ("bravo oscar bravo", "BOB"),
        ("b as in boston c for charlie", "BC"),
        ("double l x ray", "LLX"),
        ("k l four seven", "KL47"),
        ("zed", "Z"),
        ("hello", ""),
    ],
)
def test_letters(text, letters):
    """Plain letters, the ICAO alphabet, explained letters, doubles, digits."""
    assert read_letters(text) == letters


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", True),
        ("yeah that's right", True),
        ("of course", True),
        ("no problem", True),
        ("no", False),
        ("no that's wrong", False),
        ("that's not right", False),
        ("no it isn't", False),
        ("it is", True),
        ("that is it thank you", True),
        ("i am", True),
        ("that is my sister", None),
        ("i am john smith", None),
        ("i don't think so", False),
        ("yes no", None),
        ("yes i don't", None),
        ("my balance", None),
        ("[unk]", None),
        ("", None),
    ],
)
def test_yes_no(text, answer):
    """Variants, negations, contradictions."""
    assert read_yes_no(text) is answer


def test_fillers_alone_are_nothing():
    """A hesitation is no answer."""
    assert is_only_filler("uh [unk] um")
    assert not is_only_filler("uh yes")


def test_phone_numbers():
    """Six to fifteen digits, with a plus where it was said."""
    assert read_phone_number("plus four four two oh seven nine four six") == "+4420794" + "6"
    assert read_phone_number("five five five oh one two three") == "5550123"
    assert read_phone_number("five five") is None
