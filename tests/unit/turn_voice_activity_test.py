import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.bench.concealment import load_clips
from voicebot.core.errors import EngineError
from voicebot.turn import voice_activity
from voicebot.turn.voice_activity import (
    QUIET_DBOV,
    WINDOW_SAMPLES,
    ScriptedVoiceActivity,
    VadWindow,
    VoiceActivity,
    VoiceActivityDetector,
    find_model,
)


def voiced(count: int) -> np.ndarray:
    """A vowel-like buzz: 120 Hz pulses through two resonances, with a syllable rhythm."""
    from scipy.signal import lfilter

    pulses = np.zeros(count)
    pulses[::66] = 1.0
    signal = pulses
    for frequency_hz, bandwidth_hz in ((700, 90), (1200, 110), (2500, 160)):
        radius = np.exp(-np.pi * bandwidth_hz / 8000)
        signal = lfilter(
            [1.0], [1.0, -2 * radius * np.cos(2 * np.pi * frequency_hz / 8000), radius**2], signal
        )
    rhythm = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(count) / 8000)
    signal = signal * rhythm
    return np.rint(signal / np.abs(signal).max() * 9000).astype(np.int16)


def test_chunks_do_not_matter():
    """Any cut into chunks gives the same windows at the same stream positions."""
    random = np.random.default_rng(1)
    samples = np.rint(random.normal(0, 2000, 4000)).astype(np.int16)
    whole = VoiceActivity().feed(samples)
    vad, parts = VoiceActivity(), []
    for start in range(0, samples.size, 160):
        parts += vad.feed(samples[start : start + 160])
    assert parts == whole
    assert [w.end_sample for w in whole] == list(
        range(WINDOW_SAMPLES, 4000 - 4000 % WINDOW_SAMPLES + 1, WINDOW_SAMPLES)
    )


def test_voice_and_silence_are_told_apart():
    """A vowel-like sound is speech, digital silence and faint noise are not."""
    random = np.random.default_rng(1)
    noise = np.rint(random.normal(0, 30, 8000)).astype(np.int16)
    assert max(w.probability for w in VoiceActivity().feed(np.zeros(8000, np.int16))) < 0.1
    assert max(w.probability for w in VoiceActivity().feed(noise)) < 0.3
    assert max(w.probability for w in VoiceActivity().feed(voiced(8000))) > 0.7


def test_streams_share_the_model_but_not_the_state():
    """Two calls use one loaded model; what one hears does not change the other."""
    a, b = VoiceActivity(), VoiceActivity()
    assert a._session is b._session
    alone = VoiceActivity().feed(voiced(4096))
    mixed = []
    for start in range(0, 4096, 256):
        mixed += a.feed(voiced(4096)[start : start + 256])
        b.feed(np.zeros(256, np.int16))
    assert mixed == alone


def test_reset_forgets():
    """After reset the same audio gets the same answer from position 0."""
    vad = VoiceActivity()
    first = vad.feed(voiced(3000))
    vad.reset()
    assert vad.feed(voiced(3000)) == first


def test_torch_is_never_imported():
    """Loading the model imports neither silero_vad nor torch."""
    program = (
        "import sys; from voicebot.turn.voice_activity import VoiceActivity; VoiceActivity();"
        "print(sorted({'torch', 'silero_vad'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_missing_wheel_says_what_to_do(monkeypatch):
    """Without the wheel the error names the package to install."""
    monkeypatch.setattr(voice_activity.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match="uv pip install --no-deps silero-vad"):
        find_model()


def test_missing_or_broken_model_file(monkeypatch, tmp_path):
    """A wheel without its model, or with a damaged one, is an engine error and not a traceback of onnxruntime's."""
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(voice_activity.importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(EngineError, match="reinstall"):
        find_model()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        VoiceActivity(broken)


def test_scripted_fake_answers_on_the_same_grid():
    """The fake hears speech where the script says, window by window, for any chunks."""
    fake: VoiceActivityDetector = ScriptedVoiceActivity([(256, 640)])
    windows = fake.feed(np.zeros(1000, np.int16)) + fake.feed(np.zeros(24, np.int16))
    assert windows == [
        VadWindow(0.02, 256),
        VadWindow(0.95, 512),
        VadWindow(0.95, 768),
        VadWindow(0.02, 1024),
    ]
    fake.reset()
    assert fake.feed(np.zeros(256, np.int16)) == [VadWindow(0.02, 256)]


@pytest.mark.parametrize("noise_rms", [0.0, 8.0])
def test_a_lasting_quiet_is_not_looked_at_and_speech_after_it_is_heard_as_soon(noise_rms):
    """Of eight silent seconds the model sees a fraction; the voice after them is heard no later than two windows."""
    random = np.random.default_rng(3)
    quiet = np.rint(random.normal(0, noise_rms, 8 * 8000)).astype(np.int16)
    clip = load_clips()[0][:12000]
    samples = np.concatenate((clip, quiet, clip))
    found = []
    for quiet_dbov in (-1e4, QUIET_DBOV):
        vad = VoiceActivity(quiet_dbov=quiet_dbov)
        session, looks = vad._session, []
        vad._session = SimpleNamespace(run=lambda *a: looks.append(1) or session.run(*a))  # noqa: B023
        windows = vad.feed(samples)
        assert [w.end_sample for w in windows] == list(range(256, samples.size + 1, 256))
        first = next(
            w.end_sample for w in windows if w.end_sample > clip.size + 7 * 8000 and w.probability > 0.5
        )
        found.append((first, len(looks)))
    (all_heard, all_looks), (heard, looked) = found
    assert heard <= all_heard + 2 * WINDOW_SAMPLES
    assert looked < all_looks / 2
    assert all_looks == samples.size // 256
