"""The fake recogniser."""

import numpy as np
import pytest

from voicebot.asr.build import build_factory
from voicebot.asr.fake import FakeFactory
from voicebot.config.settings import AsrSettings
from voicebot.core.errors import RecognitionError

SECOND = np.zeros(8000, np.int16)


def test_hears_the_script_turn_by_turn_then_nothing():
    """The n-th finished turn hears the n-th line; after the script there is silence."""
    factory = FakeFactory(["my balance", "", "yes"])
    heard = []
    for _ in range(4):
        recogniser = factory.start(None)
        recogniser.accept(SECOND)
        heard.append(recogniser.finish().text)
    assert heard == ["my balance", "", "yes", ""]


def test_a_turn_that_is_never_finished_does_not_use_up_a_line():
    """An ignored turn (a cough) leaves the script where it was."""
    factory = FakeFactory(["yes"])
    factory.start(None).close()
    recogniser = factory.start(None)
    assert recogniser.finish().text == "yes"


def test_the_whole_text_is_a_partial_once():
    """The partial comes after 100 ms of audio and is not repeated."""
    recogniser = FakeFactory(["one two"]).start(None)
    assert recogniser.accept(SECOND[:400]) is None
    partial = recogniser.accept(SECOND[:400])
    assert partial is not None
    assert (partial.text, partial.final, partial.audio_ms) == ("one two", False, 100)
    assert recogniser.accept(SECOND) is None


def test_words_spread_over_the_audio():
    """Each word has its share of the time and the scripted confidence."""
    recogniser = FakeFactory(["one two"], confidence=0.5).start(["one", "two"])
    recogniser.accept(SECOND.tobytes())
    final = recogniser.finish()
    assert [(w.word, w.start_ms, w.end_ms) for w in final.words] == [("one", 0, 500), ("two", 500, 1000)]
    assert final.confidence == 0.5
    assert final.final


def test_use_after_finish_is_an_error_as_in_the_real_engine():
    """A finished turn takes no audio."""
    recogniser = FakeFactory(["yes"]).start(None)
    recogniser.finish()
    with pytest.raises(RecognitionError, match="one turn"):
        recogniser.accept(SECOND)


def test_a_copy_for_each_call_starts_at_the_first_line():
    """Calls do not use up each other's script."""
    factory = FakeFactory(["yes", "no"])
    first, second = factory.for_call(), factory.for_call()
    assert first.start(None).finish().text == "yes"
    assert second.start(None).finish().text == "yes"


def test_settings_choose_the_fake_and_it_says_so():
    """The doctor and the log can tell that nobody listens."""
    factory = build_factory(AsrSettings(engine="fake", fake_script=("yes",)))
    assert "fake" in factory.description
    assert factory.start(None).finish().text == "yes"
