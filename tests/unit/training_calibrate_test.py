"""Fitting what confidence is worth: numbers only, no recordings."""

import math

import numpy as np
import pytest

from sip_test_harness.asr_corpus import Clip
from training.calibrate import Answer, Question, fit, fit_kinds, rightness, unseen
from voicebot.asr.calibration import ANY_KIND, Features

SILENCE = np.zeros(800, np.int16)


def answers(kind, count, seed=1, slope=1.5, bias=-1.0):
    """Answers whose chance of being right is a known function of the engine's belief."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        odds = float(chance.uniform(-3.9, 3.9))
        right = chance.random() < 1 / (1 + math.exp(-(bias + slope * odds)))
        features = Features(odds, float(chance.normal(0, 0.5)), 0.0, 0.0)
        found.append(Answer(kind, f"speaker {number % 40}", features, 0.9, float(right)))
    return found


def test_the_fit_finds_the_law_behind_the_answers():
    """Bias and slope within sampling error; features without meaning stay near zero."""
    found = fit(answers("digits", 4000))
    assert found.bias == pytest.approx(-1.0, abs=0.2)
    assert found.least_confidence == pytest.approx(1.5, abs=0.2)
    assert found.ms_per_letter == pytest.approx(0, abs=0.2)


def test_a_kind_with_few_answers_takes_the_common_map():
    """A map of its own needs right and wrong answers enough."""
    maps = fit_kinds([*answers("digits", 300), *answers("yes_no", 20, seed=2)])
    assert set(maps) == {ANY_KIND, "digits"}
    assert set(fit_kinds([*answers("choice", 300), *answers("free", 40)])) == {
        ANY_KIND,
        "choice",
        "menu",
        "free",
    }


def test_speakers_are_judged_by_maps_that_did_not_hear_them():
    """One speaker who is always wrong pulls down everybody's map but the own one."""
    good = answers("digits", 400, bias=3.0)
    liar = [Answer("digits", "liar", Features(3.0, 0, 0, 0), 0.9, 0.0)] * 100
    found = unseen([*good, *liar])
    assert min(found[400:]) > 0.9  # those who judge never heard the liar
    assert fit([*good, *liar]).probability(Features(3.0, 0, 0, 0)) < 0.9


@pytest.mark.parametrize(
    ("kind", "expected", "slots", "heard", "right"),
    [
        ("digits", "zero four four", (), "uh oh double four", 1.0),
        ("digits", "", (), "four", 0.0),
        ("digits", "", (), "uh", 1.0),
        ("yes_no", "yes", (), "yeah", 1.0),
        ("yes_no", "", (), "yes", 0.0),
        ("choice", "stop", (), "stop", 1.0),
        ("choice", "", ("small", "latte"), "a small latte please", 1.0),
        ("choice", "", ("small", "latte"), "a latte", 0.0),
        ("free", "one two three four", (), "one two six", 0.5),
        ("free", "one", (), "two three four", 0.0),
    ],
)
def test_what_counts_as_right(kind, expected, slots, heard, right):
    """By value for digits, by meaning for yes and no, by slots for orders, by words for free speech."""
    question = Question(kind, Clip(SILENCE, expected, slots=slots), None, expected)
    assert rightness(question, heard) == right
