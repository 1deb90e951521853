"""The second reading without words: how well a grammar's words explain what was said."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import vosk

from voicebot.asr.calibration import Calibration, LogisticMap, model_fingerprint, write_calibration
from voicebot.asr.filler import FillerModel, FillerScore, filler_works
from voicebot.asr.vosk_model import packaged_model, read_model_directory
from voicebot.asr.vosk_recogniser import VoskFactory

DATA = Path(__file__).parent.parent / "data"
TINY = DATA / "asr" / "tiny-16k"
SECOND = np.random.default_rng(1).normal(0, 800, 8000).astype(np.int16)


def final(factory, audio, grammar):
    recogniser = factory.start(grammar)
    for start in range(0, len(audio), 160):
        recogniser.accept(audio[start : start + 160])
    return recogniser.finish()


@pytest.mark.models
def test_a_word_that_was_said_has_a_greater_margin_than_one_that_was_not():
    """The recording says "balance"; read as a word that it is not, any phones explain it better."""
    factory = VoskFactory(margin=True, warm=False)
    audio, _ = soundfile.read(DATA / "caller" / "balance.wav", dtype="int16")
    said = final(factory, audio, ["balance", "operator"])
    assert said.text == "balance"
    other = final(factory, audio, ["valid", "palace", "violin"])
    assert other.margin < said.margin - 2 if other.text else other.margin <= 0


@pytest.mark.models
def test_the_narrow_search_finds_the_same_score():
    """What makes it cheap changes nothing: the score is that of the wide search."""
    directory = read_model_directory(packaged_model())
    audio, _ = soundfile.read(DATA / "caller" / "goodbye.wav", dtype="int16")
    narrow = FillerModel(directory).start()
    narrow.accept(audio.tobytes())
    model = vosk.Model(model_path=str(directory.path))
    wide = FillerScore(vosk.KaldiRecognizer(model, 8000, '["[unk]"]'))
    wide.accept(audio.tobytes())
    assert narrow.finish() == pytest.approx(wide.finish(), abs=0.05)


def test_the_margin_is_measured_where_a_calibration_looks_at_it(tmp_path):
    """Otherwise the second reading costs nothing."""
    assert final(VoskFactory(TINY, warm=False), SECOND, ["one"]).margin is None
    assert final(VoskFactory(TINY, warm=False, margin=True), SECOND, ["one"]).margin is not None
    assert final(VoskFactory(TINY, warm=False, margin=True), SECOND, None).margin is None
    model = shutil.copytree(TINY, tmp_path / "model")
    fingerprint = model_fingerprint(model / "am" / "final.mdl")
    for weight, measured in ((0.0, False), (0.4, True)):
        kinds = {"": LogisticMap(0, 1, 0, 0, 0, weight)}
        write_calibration(model, Calibration(model=fingerprint, fitted="test", kinds=kinds))
        assert (final(VoskFactory(model, warm=False), SECOND, ["one"]).margin is not None) is measured


def test_further_readings_stay_as_many_as_were_asked_for():
    """The maps need three; who asked for none gets none."""
    factory = VoskFactory(TINY, warm=False, margin=True, alternatives=0)
    assert final(factory, SECOND, ["one", "two", "three"]).alternatives == ()


def test_a_model_with_a_fixed_graph_has_no_filler(tmp_path):
    """Nor one in the older flat layout."""
    assert filler_works(read_model_directory(TINY))
    model = shutil.copytree(TINY, tmp_path / "model")
    (model / "graph" / "HCLG.fst").write_bytes(b"graph")
    assert not filler_works(read_model_directory(model))
