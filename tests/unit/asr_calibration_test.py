"""What the engine believes becomes how often it is right."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from voicebot.asr.calibration import (
    FILE_NAME,
    STRING_OF,
    Calibration,
    LogisticMap,
    features_of,
    features_of_each,
    model_fingerprint,
    read_calibration,
    write_calibration,
)
from voicebot.asr.protocol import UNKNOWN_WORD, Word
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.core.errors import ConfigError

TINY = Path(__file__).parent.parent / "data" / "asr" / "tiny-16k"
ONLY_BIAS = LogisticMap(bias=0.0, least_confidence=0, ms_per_letter=0, words=0, unknown=0)
DIGITS = LogisticMap(bias=-1.0, least_confidence=1.0, ms_per_letter=0.5, words=-0.5, unknown=-1.0)


def word(text="seven", confidence=0.5, lasts_ms=300):
    return Word(text, 0, lasts_ms, confidence)


def calibration(**kinds):
    return Calibration(model="x", fitted="by hand", kinds={"": ONLY_BIAS, **kinds})


def test_an_ordinary_half_sure_word_has_features_of_zero():
    """The scale on which the weights can be read."""
    assert features_of([word()]) == features_of([word(lasts_ms=300)])
    features = features_of([word()])
    assert (features.least_confidence, features.ms_per_letter, features.words, features.unknown) == (
        0.0,
        0.0,
        0.0,
        0.0,
    )


@pytest.mark.parametrize(
    "worse",
    [
        [word(confidence=0.4)],
        [word(lasts_ms=60)],
        [word(), word()],
        [word(), word(UNKNOWN_WORD, 0.0)],
        [word(confidence=0.99), word(confidence=0.3)],
    ],
)
def test_doubt_haste_length_and_strange_sounds_lower_the_probability(worse):
    """Each feature works in its direction through the map of its kind."""
    scale = calibration(digits=DIGITS)
    assert scale.confidence("digits", worse) < scale.confidence("digits", [word()])


def test_kinds_without_a_map_take_the_common_one():
    """A date grammar that nobody had recordings for."""
    scale = calibration(digits=DIGITS)
    assert scale.confidence("date", [word()]) == 0.5
    assert scale.confidence("digits", [word()]) == pytest.approx(0.2689, abs=1e-4)


def test_a_string_is_right_when_each_word_is():
    """Eight sure digits are believed more than two of which one is doubtful; one word has its own map."""
    each = LogisticMap(bias=1.0, least_confidence=1.0, ms_per_letter=0, words=0, unknown=-1.0)
    scale = calibration(digits=DIGITS, **{STRING_OF + "digits": each})
    sure, doubtful = word(confidence=0.99), word(confidence=0.3)
    of_sure, of_doubtful = (each.probability(features_of([one])) for one in (sure, doubtful))
    assert scale.confidence("digits", [sure] * 8) == pytest.approx(of_sure**8, abs=1e-3)
    assert scale.confidence("digits", [sure, doubtful]) == pytest.approx(of_sure * of_doubtful, abs=1e-3)
    assert of_sure**8 > 0.8 > of_sure * of_doubtful
    assert scale.confidence("digits", [sure]) == calibration(digits=DIGITS).confidence("digits", [sure])
    assert scale.confidence("date", [sure] * 8) == 0.5  # kinds without such a map: as before


def test_something_strange_is_shared_by_the_words_of_a_string():
    """One unknown sound among eight digits is an eighth of a doubt in each."""
    strange = word(UNKNOWN_WORD, 0.0)
    each = features_of_each([word(), strange, *[word()] * 7], margin=16.0)
    assert [part.unknown for part in each] == [1 / 8] * 8
    assert {part.margin for part in each} == {2.0}
    assert features_of_each([strange]) == []


@pytest.mark.parametrize("words", [[], [word(UNKNOWN_WORD, 0.0)]])
def test_nothing_understood_is_never_right(words):
    """No known word: 0, whatever the bias."""
    assert calibration().confidence("", words) == 0.0


def test_extreme_beliefs_stay_probabilities():
    """1.0 and 0.0 from the engine overflow nothing."""
    scale = calibration(digits=LogisticMap(500.0, 500.0, 0, 0, 0))
    for belief in (0.0, 1.0):
        assert 0 <= scale.confidence("digits", [word(confidence=belief)]) <= 1


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(TINY, tmp_path / "model")


def test_the_recogniser_applies_the_maps_of_its_model(model):
    """Final hypotheses carry the calibrated figure, by kind; without maps the mean of the words."""
    maps = {"yes_no": LogisticMap(-20.0, 0, 0, 0, 0), "": LogisticMap(20.0, 0, 0, 0, 0)}
    fingerprint = model_fingerprint(model / "am" / "final.mdl")
    write_calibration(model, Calibration(model=fingerprint, fitted="test", kinds=maps))
    factory = VoskFactory(model, warm=False)
    assert "not calibrated" not in factory.description
    audio = np.random.default_rng(1).normal(0, 3000, 16000).astype(np.int16)
    for kind, extreme in (("yes_no", 0.0), ("menu", 1.0)):
        recogniser = factory.start(["one"], kind)
        recogniser._segments = [_one_word()]
        recogniser.accept(audio[:160])
        final = recogniser.finish()
        assert final.confidence == pytest.approx(extreme, abs=1e-6)


def _one_word():
    from voicebot.asr.protocol import Hypothesis

    return Hypothesis(text="one", words=(word("one", 0.9),), final=True)


def test_maps_of_another_model_are_left_aside(model):
    """A model that was trained again has other beliefs: its old maps would lie."""
    write_calibration(model, Calibration(model="0" * 16, fitted="before", kinds={"": ONLY_BIAS}))
    assert read_calibration(model, model / "am" / "final.mdl") is None
    assert "confidence not calibrated" in VoskFactory(model, warm=False).description


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model": 1}', '{"model": "x", "fitted": "", "kinds": {"": {}}}']
)
def test_a_broken_file_is_a_sentence(model, text):
    """It says which file and what to do."""
    (model / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=r"confidence\.json is no calibration.*training\.calibrate"):
        read_calibration(model, model / "am" / "final.mdl")


def test_what_is_written_is_read(model):
    """And a person can read it."""
    made = Calibration(
        model=model_fingerprint(model / "am" / "final.mdl"), fitted="here", kinds={"digits": DIGITS}
    )
    write_calibration(model, made)
    assert read_calibration(model, model / "am" / "final.mdl") == made
    assert json.loads((model / FILE_NAME).read_text())["kinds"]["digits"]["bias"] == -1.0
