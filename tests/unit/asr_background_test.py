"""Background words are told from the caller's by how loud they are."""

import numpy as np
import pytest

from voicebot.asr.background import Loudness, without_background
from voicebot.asr.protocol import UNKNOWN_WORD, Word

MENU = ["check my balance", "my balance", "no", "three", "stop", UNKNOWN_WORD]


def said(text):
    return tuple(Word(word, 400 * n, 400 * n + 300, 0.9) for n, word in enumerate(text.split()))


def kept(text, levels):
    return [word.word for word in without_background(said(text), levels, MENU)]


@pytest.mark.parametrize(
    ("text", "levels", "left"),
    [
        ("no three", [80, 60], ["no", UNKNOWN_WORD]),
        ("three no stop", [60, 80, 58], [UNKNOWN_WORD, "no", UNKNOWN_WORD]),
        ("no three", [80, 75], ["no", "three"]),  # two by the caller: not for the recogniser to judge
        ("no", [3], ["no"]),
        ("", [], []),
        ("[unk]", [50], [UNKNOWN_WORD]),
        ("[unk] no", [90, 60], [UNKNOWN_WORD, "no"]),  # a slammed door is no word
    ],
)
def test_a_menu_has_one_phrase(text, levels, left):
    """What is 6 dB below the loudest phrase was said by somebody else."""
    assert kept(text, levels) == left


def test_a_phrase_is_as_loud_as_its_loudest_word():
    """Short words inside a phrase are quiet: "my" is not somebody else's."""
    assert kept("check my balance", [80, 70, 78]) == ["check", "my", "balance"]
    assert kept("check my balance no", [80, 70, 78, 70]) == ["check", "my", "balance", UNKNOWN_WORD]


def test_words_that_make_no_phrases_stay():
    """Vosk recombines words: what belongs together is then unknown."""
    assert kept("balance stop", [80, 40]) == ["balance", "stop"]


@pytest.mark.parametrize("piece", [1, 37, 160, 1000])
def test_loudness_does_not_depend_on_the_pieces(piece):
    """A word's level is that of its loudest 20 ms; audio that never came is silence."""
    samples = np.zeros(8000, np.int16)
    samples[3200:3360] = 1000
    samples[6400:6560] = 100
    loudness = Loudness()
    for start in range(0, samples.size, piece):
        loudness.feed(samples[start : start + piece])
    words = [Word("no", 300, 700, 1.0), Word("three", 790, 840, 1.0), Word("late", 1500, 1700, 1.0)]
    assert loudness.of(words) == pytest.approx([60, 40, 0], abs=0.01)
