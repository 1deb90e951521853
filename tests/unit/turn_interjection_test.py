"""A word that interrupts is told from one that hums along by its sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicebot.config.settings import TurnSettings
from voicebot.turn.interjection import (
    BANDS,
    FRAMES,
    HUMS_ALONG,
    INTERRUPTS,
    NO_VOICE,
    QUIET,
    Interjection,
    features,
    packaged,
    word_in,
)

CALLER = Path(__file__).parents[1] / "data" / "caller"


def said(name):
    """A word as a telephone line carries it, with 200 ms before it."""
    samples, rate_hz = soundfile.read(CALLER / f"{name}.wav", dtype="int16")
    assert rate_hz == 8000
    return np.concatenate([np.zeros(1600, np.int16), samples, np.zeros(1600, np.int16)])


def noise(milliseconds, amplitude=3000):
    values = np.random.default_rng(milliseconds).normal(0, amplitude, milliseconds * 8)
    return np.rint(np.clip(values, -32768, 32767)).astype(np.int16)


def quiet(milliseconds):
    return np.zeros(milliseconds * 8, np.int16)


def test_no_interrupts_and_yes_hums_along():
    """Whatever their level."""
    settings = TurnSettings()
    for quieter in (1, 8):
        assert packaged().odds(said("no") // quieter) > settings.barge_in_sound_odds
        assert packaged().odds(said("yes") // quieter) < 0.0


def test_noise_is_no_word_that_interrupts():
    for milliseconds in (60, 150, 400, 900):
        assert packaged().odds(np.concatenate([quiet(100), noise(milliseconds), quiet(200)])) < 0.0


def test_the_word_is_the_loudest_stretch_without_a_long_gap():
    """A weaker sound 300 ms before it is another's; one 200 ms before it is part of it."""
    loud, weak = noise(400), noise(200, amplitude=500)
    apart = np.concatenate([quiet(200), weak, quiet(300), loud, quiet(500)])
    together = np.concatenate([quiet(200), weak, quiet(200), loud, quiet(500)])
    assert word_in(apart).size == (400 + 2 * 30) * 8
    assert word_in(together).size == (200 + 200 + 400 + 2 * 30) * 8


def test_features_do_not_depend_on_the_level():
    word = noise(300, amplitude=8000)
    assert np.median(np.abs(features(word) - features(word // 4))) < 0.02
    assert features(word).shape == (FRAMES, BANDS)
    assert (features(word)[40:] == QUIET).all()


@pytest.mark.parametrize("samples", [0, 1, 79, 399])
def test_too_little_is_no_word(samples):
    assert packaged().odds(noise(100)[:samples]) is None


def test_what_is_longer_than_a_word_is_not_judged():
    """Sentences are for the recogniser."""
    assert packaged().odds(noise(1200)) is not None
    assert packaged().odds(noise(1210)) is None


@pytest.mark.parametrize("samples", [400, 401, 8000, 24_000])
def test_silence_is_judged_without_an_error(samples):
    odds = packaged().odds(np.zeros(samples, np.int16))
    assert odds is None or np.isfinite(odds)


@pytest.mark.parametrize(
    ("side", "odds"), [(INTERRUPTS, 6.9), (HUMS_ALONG, -6.9), (NO_VOICE, -6.9), (3, 0.0)]
)
def test_the_odds_are_those_of_the_two_sides(side, odds):
    """One output that is sure, of each side: other words say nothing."""
    network = dict(packaged().weights)
    network["out"] = np.zeros_like(network["out"])
    network["out_bias"] = np.full_like(network["out_bias"], -50.0)
    network["out_bias"][np.flatnonzero(network["sides"] == side)[0]] = 50.0
    assert Interjection(network).score(features(noise(300))) == pytest.approx(odds, abs=0.02)
