"""The Vosk recogniser: every misuse that kills a process is an exception, any model is taken by path."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from voicebot.asr.grammar import LIKELY_TIMES, grammar_for
from voicebot.asr.protocol import UNKNOWN_WORD
from voicebot.asr.vosk_recogniser import MAX_PHRASES, VoskFactory
from voicebot.core.errors import ConfigError, RecognitionError
from voicebot.core.expectation import Expectation

TINY = Path(__file__).parent.parent / "data" / "asr" / "tiny-16k"
SECOND = np.random.default_rng(1).normal(0, 800, 8000).astype(np.int16)


@pytest.fixture(scope="module")
def tiny():
    return VoskFactory(TINY, warm=False)


@pytest.mark.parametrize(
    "grammar", [[], "yes", [""], ["  "], [1], [b"yes"], {"yes"}, ["y\0es"], ["qwertz"], ["yes"] * (MAX_PHRASES + 1)]
)  # fmt: skip
def test_a_grammar_that_vosk_would_crash_on_is_refused(tiny, grammar):
    """Empty and malformed grammars segfault in C++; here they raise."""
    with pytest.raises(RecognitionError):
        tiny.start(grammar)


def test_a_grammar_is_normalised(tiny):
    """Lower case, unknown words replaced, [unk] last; what becomes the same by that stays once."""
    recogniser = tiny.start(["YES  no", "yes qwertz", "qwertz", "yes asdf"])
    assert recogniser.phrases == ["yes no", f"yes {UNKNOWN_WORD}", UNKNOWN_WORD]


def test_a_likely_phrase_counts_more_often(tiny):
    """Over a prompt "no" is likelier than what the step expects: it reaches Vosk as often as it counts."""
    expected = Expectation(kind="menu", phrases=("yes", "no"), likely=("no",))
    phrases = tiny.start(grammar_for(expectation=expected), "menu").phrases
    assert (phrases.count("yes"), phrases.count("no"), phrases.count(UNKNOWN_WORD)) == (
        1,
        LIKELY_TIMES,
        1,
    )


def test_unknown_words_are_reported(tiny):
    """The doctor can tell which words of a dialplan the model cannot hear."""
    assert tiny.unknown_words(["yes Qwertz", "asdf", UNKNOWN_WORD]) == ("asdf", "qwertz")


def test_use_by_two_threads_is_refused(tiny):
    """While one thread is inside, another gets an exception instead of corrupting memory."""
    recogniser = tiny.start(None)
    recogniser._busy.acquire()
    errors = []

    def other():
        for use in (lambda: recogniser.accept(SECOND), recogniser.finish, recogniser.close):
            try:
                use()
            except RecognitionError as error:
                errors.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(20)
    recogniser._busy.release()
    assert len(errors) == 3
    recogniser.accept(SECOND)
    recogniser.finish()


def test_a_grammar_cannot_be_changed(tiny):
    """What aborts Vosk in mid-utterance has no name here: a grammar comes with the turn."""
    names = {name for name in dir(tiny.start(["yes"])) if not name.startswith("_")}
    assert names == {"accept", "close", "finish", "partial", "phrases"}


def test_a_model_that_resamples_nothing_itself_gets_its_own_rate(tmp_path):
    """Given 8 kHz, Vosk fails to process a waveform for a 16 kHz model without these two options."""
    strict = shutil.copytree(TINY, tmp_path / "strict")
    conf = strict / "conf" / "mfcc.conf"
    kept = [line for line in conf.read_text().splitlines() if not line.startswith("--allow")]
    conf.write_text("\n".join(kept) + "\n")
    recogniser = VoskFactory(strict).start(["yes", "no"])
    for start in range(0, 8000, 160):
        recogniser.accept(SECOND[start : start + 160])
    assert recogniser.finish().audio_ms == 1000


@pytest.mark.parametrize("end", ["finish", "close"])
def test_a_recogniser_serves_one_turn(tiny, end):
    """Nothing but close may follow finish or close."""
    recogniser = tiny.start(["yes", "no"])
    recogniser.accept(SECOND)
    getattr(recogniser, end)()
    with pytest.raises(RecognitionError, match="one turn"):
        recogniser.accept(SECOND)
    with pytest.raises(RecognitionError, match="one turn"):
        recogniser.finish()
    recogniser.close()
    recogniser.close()


@pytest.mark.parametrize("pcm", [b"odd", SECOND.astype(np.float32), SECOND.reshape(2, -1), "text", None])
def test_audio_of_another_kind_is_refused(tiny, pcm):
    """Half samples, floats, channels and text."""
    recogniser = tiny.start(None)
    with pytest.raises(RecognitionError):
        recogniser.accept(pcm)


def test_bytes_and_arrays_are_the_same_audio(tiny):
    """Both forms, in any cut, give the same final hypothesis."""
    finals = []
    for chunks in ([SECOND.tobytes()], [SECOND], np.split(SECOND, 50)):
        recogniser = tiny.start(None)
        for chunk in chunks:
            recogniser.accept(chunk)
        finals.append(recogniser.finish())
    assert finals[0] == finals[1] == finals[2]
    assert finals[0].final
    assert finals[0].audio_ms == 1000


def test_no_audio_gives_no_text(tiny):
    """Finishing at once, and empty chunks, are allowed."""
    recogniser = tiny.start(["yes"])
    assert recogniser.accept(b"") is None
    assert recogniser.finish().text == ""


def test_a_missing_model_is_a_config_error(tmp_path):
    """Vosk would try to download a model it knows by name."""
    with pytest.raises(ConfigError):
        VoskFactory(tmp_path / "vosk-model-en-us")


def test_a_model_that_vosk_refuses_is_a_config_error(tmp_path):
    """The files are there but hold no model."""
    broken = shutil.copytree(TINY, tmp_path / "broken")
    (broken / "am" / "final.mdl").write_bytes(b"no model at all")
    with pytest.raises(ConfigError, match="refuses"):
        VoskFactory(broken)


def test_the_description_names_engine_model_and_rate(tiny):
    """One line for the log."""
    assert tiny.description.startswith("vosk, tiny-16k, 16000 Hz")


RAW = """
import json, resource, sys, vosk
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
vosk.SetLogLevel(-1)
model = vosk.Model(model_path=sys.argv[1])
recogniser = vosk.KaldiRecognizer(model, 16000, *({grammar}))
recogniser.AcceptWaveform(bytes(64000))
{then}
"""


@pytest.mark.parametrize(
    ("grammar", "then", "status"),
    [
        ("['[\"one\"]']", "recogniser.SetGrammar('[\"yes\"]')", {-signal.SIGABRT}),
        ("['{}']", "", {-signal.SIGSEGV, -signal.SIGABRT}),
        ("['[\"one\"]']", "print('alive')", {0}),
    ],
)
def test_without_these_checks_a_mistake_ends_the_process(grammar, then, status):
    """Vosk by itself, in a process of its own: a grammar changed in mid-utterance aborts, a bad one segfaults.

    The day on which this fails, Vosk has changed and the checks may be looked at again.
    """
    code = RAW.replace("{grammar}", grammar).replace("{then}", then)
    done = subprocess.run(
        [sys.executable, "-c", code, str(TINY)], capture_output=True, timeout=50, check=False
    )
    assert done.returncode in status, done.stderr
