"""The packaged model understands people it never heard, through a simulated telephone channel.

A smoke test over a few clips: it catches a broken model, graph or resampler. The accuracy is measured by
``tests/bench/asr.py`` and stated in the model card.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from voicebot.asr.digits import read_digits
from voicebot.asr.grammar import grammar_for
from voicebot.asr.protocol import UNKNOWN_WORD
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.asr.yes_no import read_yes_no
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.core.expectation import Expectation
from voicebot.dialogue.model_steps import LowConfidence

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

DATA = Path(__file__).parent.parent / "data"
BAND = signal.butter(4, [300, 3400], "bandpass", fs=8000, output="sos")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COMMANDS = ["yes", "no", "stop", "go", "left", "right", "up", "down", "on", "off"]
MENU = (
    "balance", "my balance", "account balance", "opening hours", "goodbye", "bye", "nothing", "hang up",
    "agent", "operator", "speak to a person", "repeat that", "help",
)  # fmt: skip


@pytest.fixture(scope="module")
def factory():
    return VoskFactory()


def phone(audio):
    narrow = np.clip(np.rint(signal.sosfilt(BAND, audio)), -32768, 32767).astype(np.int16)
    return decode_ulaw(encode_ulaw(narrow))


def hear(factory, audio, grammar, kind=""):
    """Decode in 20 ms frames; returns the final and the last partial hypothesis."""
    noise = np.rint(np.random.default_rng(1).normal(0, 3, 4800)).astype(np.int16)
    whole = phone(np.concatenate([noise[:1600], audio, noise[1600:]]))
    recogniser = factory.start(grammar, kind)
    for start in range(0, len(whole), 160):
        recogniser.accept(whole[start : start + 160])
    partial = recogniser.partial
    return recogniser.finish(), partial


def clips(kind):
    for path in sorted((DATA / "asr" / "clips").glob(f"*-{kind}-*.flac")):
        yield path.name.split("-")[0], soundfile.read(path, dtype="int16")[0]


def test_digits_of_unseen_speakers(factory):
    """At least nine of ten single digits, each by two voices."""
    heard = [(word, hear(factory, audio, DIGITS)[0].text) for word, audio in clips("fsdd")]
    wrong = [pair for pair in heard if pair[0] != pair[1]]
    assert len(heard) == 20
    assert len(wrong) <= 2, wrong


def test_command_words_of_unseen_speakers(factory):
    """At least six of ten short command words by as many voices."""
    heard = [(word, hear(factory, audio, COMMANDS)[0].text) for word, audio in clips("sc")]
    wrong = [pair for pair in heard if pair[0] != pair[1]]
    assert len(heard) == 10
    assert len(wrong) <= 4, wrong


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("balance", "balance"),
        ("account_balance", "account balance"),
        ("my_balance", "my balance"),
        ("goodbye", "goodbye"),
        ("operator", "operator"),
    ],
)
def test_callers_of_the_sample_calls_are_understood(factory, name, words):
    """The recordings that ``make call`` plays, with the bank's menu grammar; none has to be asked back."""
    audio, rate_hz = soundfile.read(DATA / "caller" / f"{name}.wav", dtype="int16")
    assert rate_hz == 8000
    final, _ = hear(factory, audio, grammar_for(Expectation(kind="menu", phrases=MENU)), "menu")
    assert final.text == words
    assert final.confidence > LowConfidence().below


@pytest.mark.parametrize(("name", "answer"), [("yes", True), ("no", False)])
def test_yes_and_no(factory, name, answer):
    """Two human answers with the yes/no grammar."""
    audio, _ = soundfile.read(DATA / "caller" / f"{name}.wav", dtype="int16")
    final, _ = hear(factory, audio, grammar_for(Expectation(kind="yes_no"), MENU))
    assert read_yes_no(final.text) is answer


def test_an_account_number_with_times_and_a_ready_partial(factory):
    """Eight digits in order; the last partial is already the answer; word times rise inside the audio."""
    audio, _ = soundfile.read(DATA / "caller" / "account_number.wav", dtype="int16")
    final, partial = hear(factory, audio, grammar_for(Expectation(kind="digits"), MENU))
    assert read_digits(final.text) == "12345678"
    assert partial.text == final.text
    starts = [word.start_ms for word in final.words]
    assert starts == sorted(starts)
    assert all(0 <= w.start_ms < w.end_ms <= final.audio_ms for w in final.words)
    assert all(0 <= w.confidence <= 1 for w in final.words)


def test_a_voice_in_the_background_adds_no_words(factory):
    """Somebody says "three" behind the caller, 24 dB less loud: the caller said "no" only."""
    spoken = dict(clips("sc"))["no"].astype(float), dict(clips("fsdd"))["three"].astype(float)
    no, three = (audio / np.abs(audio).max() for audio in spoken)
    samples = np.concatenate([8000 * no, np.zeros(1200), 500 * three]).astype(np.int16)
    heard, _ = hear(factory, samples, ["no", "three", "left"], "menu")
    assert heard.text == "no"
    assert [word.word for word in heard.words] == ["no", UNKNOWN_WORD]  # it was heard, and put aside


def test_silence_and_noise_give_no_words(factory):
    """Eight seconds of line noise are not taken for an answer."""
    noise = np.rint(np.random.default_rng(3).normal(0, 30, 8000 * 8)).astype(np.int16)
    final, _ = hear(factory, noise, grammar_for(Expectation(kind="menu", phrases=MENU)))
    assert final.text == ""


def test_alternatives_are_ranked(factory):
    """Asked for readings, the final hypothesis carries others than its own, best first, none twice."""
    several = VoskFactory(alternatives=5, warm=False)
    hears = [audio for kind in ("fsdd", "sc") for _, audio in clips(kind)]
    finals = [hear(several, audio, [*DIGITS, *COMMANDS])[0] for audio in hears]
    assert any(final.alternatives for final in finals)
    for final in finals:
        confidences = [a.confidence for a in final.alternatives]
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) <= 1.001
        texts = [final.text, *(a.text for a in final.alternatives)]
        assert len(set(texts)) == len(texts)
        assert all(0 <= w.confidence <= 1 for w in final.words)


def test_readings_do_not_change_what_is_heard(factory):
    """The best reading is the same with and without further ones, its words as sure."""
    several = VoskFactory(alternatives=5, warm=False)
    audio, _ = soundfile.read(DATA / "caller" / "account_number.wav", dtype="int16")
    grammar = grammar_for(Expectation(kind="digits"), MENU)
    alone, with_others = hear(factory, audio, grammar)[0], hear(several, audio, grammar)[0]
    assert with_others.text == alone.text
    for one, other in zip(alone.words, with_others.words, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=0.15)


def test_hundreds_of_turns_leave_nothing_behind(factory):
    """Recognisers are freed: memory grows by less than 12 MB over 120 short turns after a warm-up."""
    audio, _ = soundfile.read(DATA / "caller" / "yes.wav", dtype="int16")

    def turns(count):
        for _ in range(count):
            recogniser = factory.start(["yes", "no"])
            recogniser.accept(audio[:6000])
            recogniser.finish()
            recogniser.close()

    def resident_mb():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    turns(40)
    before = resident_mb()
    turns(120)
    assert resident_mb() - before < 12
