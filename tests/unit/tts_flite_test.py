import importlib.util
import sys
import threading

import numpy as np
import pytest

from voicebot.audio.active_level import active_speech_level
from voicebot.audio.g711 import decode_ulaw
from voicebot.audio.level import peak_dbov
from voicebot.audio.narrowband import NarrowbandChain
from voicebot.config.settings import TtsSettings
from voicebot.core.errors import SynthesisError
from voicebot.tts import espeak, flite
from voicebot.tts.build import build_renderer
from voicebot.tts.espeak import EspeakVoice
from voicebot.tts.flite import VOICES, FliteVoice
from voicebot.tts.profiles import load_profile

pytestmark = pytest.mark.models
TEXT = "Your balance is three hundred forty two dollars and sixteen cents."


def collect(voice, text=TEXT):
    pieces = []
    voice.synthesize(text, lambda s: pieces.append(s) is None)
    return np.concatenate(pieces)


@pytest.mark.parametrize("name", VOICES)
def test_a_flite_voice_streams_speech(name):
    """Many pieces of int16, several seconds together."""
    pieces = []
    FliteVoice(name).synthesize(TEXT, lambda s: pieces.append(s) is None)
    assert len(pieces) > 50
    assert 2.5 < sum(p.size for p in pieces) / 16000 < 7


@pytest.mark.parametrize("name", VOICES)
def test_pieces_join_inaudibly(name):
    """From the engine and after the chain no step at a join is larger than the signal's own within 10 ms."""
    pieces = []
    FliteVoice(name).synthesize(TEXT, lambda s: pieces.append(s.copy()) is None)
    chain = NarrowbandChain(16000, load_profile(name))
    shaped = [*(chain.feed(piece) for piece in pieces), chain.flush()]
    for stream, near in ((pieces, 160), (shaped, 80)):
        steps = np.abs(np.diff(np.concatenate(stream).astype(float)))
        joins = np.cumsum([piece.size for piece in stream])[:-1] - 1
        inner = joins[(joins > near) & (joins < steps.size - near - 1)]
        own = [max(steps[j - near : j].max(), steps[j + 1 : j + 1 + near].max()) for j in inner]
        assert len(own) > 50
        assert (steps[inner] <= 1.25 * np.maximum(own, 50)).all()


def test_flite_stops_within_one_piece():
    """After the sink said stop it is not called again."""
    calls = []
    FliteVoice("rms").synthesize(TEXT, lambda s: calls.append(s.size) or len(calls) < 5)
    assert len(calls) == 5


def test_an_error_in_the_sink_is_not_swallowed():
    """Ctypes would print it and flite go on: it comes out of synthesize instead."""

    def broken(_samples):
        raise ValueError("sink broke")

    with pytest.raises(ValueError, match="sink broke"):
        FliteVoice("rms").synthesize(TEXT, broken)


def test_threads_speak_with_one_voice_at_the_same_time():
    """Four threads get the lengths that one thread gets: nobody's audio goes to another's sink."""
    voice, texts = (
        FliteVoice("rms"),
        ["One moment.", TEXT, "Please hold the line.", "Goodbye, and thank you."],
    )
    expected = [collect(voice, t).size for t in texts]
    got = [[] for _ in texts]

    def work(index):
        for _ in range(4):
            got[index].append(collect(voice, texts[index]).size)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [[n] * 4 for n in expected]


def test_a_missing_library_says_what_to_install(monkeypatch):
    """The sentence names the Debian package."""
    monkeypatch.setattr(flite, "_LIBRARY", "libflite-not-there.so.9")
    flite._load_flite.cache_clear()
    try:
        with pytest.raises(SynthesisError, match="apt-get install libflite1"):
            FliteVoice("rms")
    finally:
        flite._load_flite.cache_clear()


def test_an_unknown_flite_voice_is_refused():
    """The message lists what there is."""
    with pytest.raises(SynthesisError, match="rms, slt, awb"):
        FliteVoice("kevin")


def test_espeak_speaks_and_stops():
    """The child process streams speech and is gone after a stop."""
    assert collect(EspeakVoice()).size > 2 * 22050
    calls = []
    EspeakVoice().synthesize(TEXT, lambda s: calls.append(s.size) or len(calls) < 2)
    assert len(calls) == 2


@pytest.mark.parametrize("name", [*VOICES, "espeak"])
def test_every_voice_has_the_telephone_level(name):
    """-22 dBov within 1 dB after the band, and no sample above -3 dBFS."""
    text = "Hello, and welcome. " + TEXT + " Please say your account number, or press the keys."
    audio = decode_ulaw(b"".join(build_renderer(TtsSettings()).render(text, voice=name)))
    assert active_speech_level(audio).level_dbov == pytest.approx(-22.0, abs=1.0)
    assert peak_dbov(audio) < -2.8


def test_without_flite_espeak_speaks(monkeypatch):
    """A machine with no libflite1 builds a renderer that talks."""
    monkeypatch.setattr(flite, "_LIBRARY", "libflite-not-there.so.9")
    flite._load_flite.cache_clear()
    try:
        audio = b"".join(build_renderer(TtsSettings()).render("Hello."))
    finally:
        flite._load_flite.cache_clear()
    assert len(audio) > 2000


def test_without_espeak_the_message_says_what_to_install(monkeypatch):
    """Debian's program or PyPI's package."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(espeak, "find_spec", lambda _: None)
    with pytest.raises(SynthesisError, match="apt-get install espeak-ng"):
        EspeakVoice()


@pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="the extra voicebot[espeak] is not installed",
)
def test_espeak_from_pypi_speaks_in_a_child(monkeypatch):
    """Where Debian's program is missing; the GPL library stays out of this process."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert collect(EspeakVoice()).size > 2 * 22050
    assert "espeakng_loader" not in sys.modules


def test_an_espeak_that_fails_is_an_error(monkeypatch):
    """A child that ends at once: no audio is no speech."""
    monkeypatch.setattr("shutil.which", lambda _: "/bin/false")
    with pytest.raises(SynthesisError, match="espeak-ng"):
        EspeakVoice().synthesize(TEXT, lambda _: True)
