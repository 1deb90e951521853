"""Words and keys as answers to slots of every type."""

import datetime as dt

import pytest

from voicebot.dialogue import load_dialplan
from voicebot.dialogue.answers import extract, in_range, keyed_answer, slot_answer

MONDAY = dt.date(2026, 11, 23)
PLAN = """
version: 1
name: t
locale: en-GB
routes: [ { match: { to: "*" }, flow: main } ]
slots:
  digits: { type: digits, length: 8, ask: x }
  number: { type: number, ask: x, validate: { min: 1, max: 10 } }
  money: { type: money, ask: x, validate: { min: 5, max: "100.00 GBP" } }
  date: { type: date, ask: x, validate: { min: today } }
  birthday: { type: date, past: true, ask: x, validate: { max: today } }
  time: { type: time, ask: x, validate: { min: "08:00", max: "18:00" } }
  choice: { type: choice, options: { lost: ["lost", "misplaced"], stolen: ["stolen"] }, ask: x }
  name: { type: name, ask: x }
  spelling: { type: spelling, min_length: 3, max_length: 10, ask: x }
  phone: { type: phone, ask: x }
  yes_no: { type: yes_no, ask: x }
  text: { type: text, ask: x }
flows: { main: [ { hangup: done } ] }
"""
SLOTS = load_dialplan(PLAN).slots


@pytest.mark.parametrize(
    ("slot", "text", "value"),
    [
        ("digits", "one two double four", "1244"), ("digits", "it's 1234 5678", "12345678"),
        ("digits", "my number is oh five", "05"), ("digits", "what is my balance", None), ("digits", "", None),
        ("number", "twelve", "12"), ("number", "three point one four", "3.14"), ("number", "minus seven", "-7"),
        ("number", "42", "42"), ("number", "banana", None),
        ("money", "forty two pounds ten", "42.10 GBP"), ("money", "twenty dollars", "20.00 USD"),
        ("money", "fifty pence", "0.50 GBP"), ("money", "$42.1", "42.10 USD"), ("money", "lots", None),
        ("date", "tomorrow", "2026-11-24"), ("date", "friday", "2026-11-27"), ("date", "24/12", "2026-12-24"),
        ("date", "the third of december", "2026-12-03"), ("date", "2026-12-24", "2026-12-24"),
        ("date", "thirty first of february", None), ("date", "whenever", None),
        ("birthday", "may first nineteen ninety", "1990-05-01"), ("birthday", "twelfth of december", "2025-12-12"),
        ("birthday", "05/03/84", "1984-03-05"), ("birthday", "tomorrow", "2026-11-24"),
        ("time", "half past nine", "09:30"), ("time", "three in the afternoon", "15:00"), ("time", "two", "14:00"),
        ("time", "14:05", "14:05"), ("time", "whenever", None),
        ("choice", "i think i misplaced it", "lost"), ("choice", "green", None),
        ("name", "my name is john smith", "John Smith"), ("name", "s m i t h", "Smith"),
        ("name", "that is a very long story my friend", None), ("name", "", None),
        ("spelling", "a b for bravo seven", "AB7"), ("spelling", "hello there", None),
        ("phone", "plus four four two oh seven one two three", "+44207123"), ("phone", "hello", None),
        ("yes_no", "yes please", "true"), ("yes_no", "not really", "false"), ("yes_no", "maybe", None),
        ("text", "  my boiler   leaks ", "my boiler leaks"), ("text", "", None),
    ],
)  # fmt: skip
def test_an_answer_in_words(slot, text, value):
    found = slot_answer(SLOTS[slot], text, MONDAY)
    assert (found.value if found else None) == value


@pytest.mark.parametrize(
    ("slot", "keys", "value"),
    [
        ("digits", "12345678", "12345678"), ("number", "7", "7"), ("money", "25", "25.00 GBP"),
        ("date", "2412", "2026-12-24"), ("birthday", "05031984", "1984-03-05"), ("date", "3113", None),
        ("date", "241", None), ("time", "1430", "14:30"), ("time", "2560", None), ("phone", "02071234567", "02071234567"),
    ],
)  # fmt: skip
def test_an_answer_by_keys(slot, keys, value):
    assert keyed_answer(SLOTS[slot], keys, MONDAY) == value


@pytest.mark.parametrize(
    ("slot", "value", "fits"),
    [
        ("number", "10", True), ("number", "11", False), ("money", "4.99 GBP", False), ("money", "100.00 GBP", True),
        ("date", "2026-11-22", False), ("date", "2026-11-23", True), ("birthday", "2026-11-24", False),
        ("time", "07:59", False), ("time", "18:00", True),
    ],
)  # fmt: skip
def test_values_out_of_range(slot, value, fits):
    assert in_range(SLOTS[slot], value, MONDAY) is fits


@pytest.mark.parametrize(
    ("slot", "text", "value"),
    [
        ("digits", "the balance of account one two three four five six seven eight please", "12345678"),
        ("digits", "i have one two cards", None), ("choice", "block my stolen card", "stolen"),
        ("choice", "block my card", None), ("date", "an appointment on friday", "2026-11-27"),
        ("time", "friday at half past nine", "09:30"), ("time", "i have three children", None),
        ("money", "pay twenty pounds to my landlord", "20.00 GBP"), ("money", "i have two cards", None),
        ("name", "i am john", None),
    ],
)  # fmt: skip
def test_a_value_said_on_the_way_is_found_only_when_certain(slot, text, value):
    found = extract(SLOTS[slot], text, MONDAY)
    assert (found[0].value if found else None) == value
