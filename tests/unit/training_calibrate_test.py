"""Fitting what confidence is worth: numbers only, no recordings."""

import math

import numpy as np
import pytest

from sip_test_harness.asr_corpus import Clip
from training.calibrate import (
    Answer,
    Question,
    _refused_by_length,
    fit,
    fit_kinds,
    fit_strings,
    rightness,
    unseen,
)
from voicebot.asr.calibration import ANY_KIND, STRING_OF, Features

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


def strings(speaker, count, chance_of_one, seed=1):
    """Strings of eight words that are each right with this chance, heard ever surely or ever doubtfully."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(count):
        sure = chance.random() < 0.5
        one = Features(3.0 if sure else 0.0, 0.0, 0.0, 0.0)
        right = float(chance.random() < (chance_of_one if sure else 0.8) ** 8)
        found.append(Answer("digits", speaker, one, 0.9, right, (one,) * 8))
    return found


def test_strings_are_fitted_word_by_word():
    """The chance of one word comes out of strings of eight, and holds for strings of any length."""
    found = fit_strings(strings("a", 3000, 0.98))
    assert found.words == 0
    assert found.probability(Features(3.0, 0, 0, 0)) == pytest.approx(0.98, abs=0.01)
    assert found.probability(Features(0.0, 0, 0, 0)) == pytest.approx(0.8, abs=0.05)


def test_one_person_with_many_strings_does_not_speak_for_all():
    """400 strings by a bad speaker and 10 by each of ten good ones: the map lies between."""
    bad = strings("bad", 400, 0.85)
    good = [answer for n in range(10) for answer in strings(f"good {n}", 10, 0.99, seed=n + 2)]
    sure = Features(3.0, 0, 0, 0)
    assert fit_strings(bad).probability(sure) < 0.88
    assert 0.9 < fit_strings([*bad, *good]).probability(sure) < 0.98


def test_strings_and_single_digits_have_maps_of_their_own():
    """A string is not among what the map for single digits is fitted on."""
    maps = fit_kinds([*answers("digits", 300), *strings("a", 100, 0.9)])
    assert set(maps) == {ANY_KIND, "digits", STRING_OF + "digits"}
    assert maps["digits"] == fit_kinds(answers("digits", 300))["digits"]


def test_a_string_of_a_wrong_length_is_no_answer():
    """The slot asks again by itself; single words and other kinds are judged as they are."""
    question = Question("digits", Clip(SILENCE, "one two"), None, "one two")
    assert _refused_by_length(question, "one two three")
    assert not _refused_by_length(question, "one five")
    assert not _refused_by_length(Question("digits", Clip(SILENCE, "one"), None, "one"), "one two")
    assert not _refused_by_length(Question("choice", Clip(SILENCE, "a b"), None, "a b"), "a")


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
