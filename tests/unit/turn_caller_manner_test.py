"""Urgency, hesitation and shouting are told from plain facts of a turn."""

import pytest

from voicebot.config.settings import TurnSettings
from voicebot.turn.caller_manner import CallerManner, Manner


@pytest.mark.parametrize(
    ("text", "manner"),
    [
        ("my balance", Manner()),
        ("my card was stolen", Manner(urgent=True)),
        ("there is fraud on my account", Manner(urgent=True)),
        ("do it right away please", Manner(urgent=True)),
        ("turn right and go away", Manner()),
        ("um", Manner(hesitant=True)),
        ("um i er think savings", Manner(hesitant=True)),
        ("um i would like to know what is on my savings account", Manner()),
        ("", Manner()),
    ],
)
def test_words_say_whether_a_caller_is_in_a_hurry_or_hesitates(text, manner):
    assert CallerManner(TurnSettings()).of(text, None) == manner


def test_loud_is_louder_than_this_caller_was_before():
    """A loud telephone alone is no shouting; 8 dB more than the caller's own turns before is."""
    caller = CallerManner(TurnSettings())
    assert not caller.of("balance", -18.0).loud
    for level_dbov in (-26.0, -25.0, -27.0):
        caller.ended(level_dbov)
    assert not caller.of("balance", -20.0).loud
    assert caller.of("balance", -17.0).loud


def test_a_line_driven_to_its_limit_is_loud_from_the_first_word():
    assert CallerManner(TurnSettings()).of("balance", -9.0).loud
