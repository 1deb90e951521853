import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

from voicebot.audio.narrowband import VoiceProfile
from voicebot.core.errors import SynthesisError
from voicebot.tts.calibration import CENTRES_HZ, Spectrum, calibrate, presence_gains_db
from voicebot.tts.calibration_plot import draw_calibration
from voicebot.tts.cli import app
from voicebot.tts.profiles import load_profile, store_profile
from voicebot.tts.protocol import NEUTRAL


class NoiseVoice:
    """Bursts of noise with a falling spectrum, at any level."""

    name, sample_rate_hz = "noise", 16000

    def __init__(self, rms):
        self._rms = rms

    def synthesize(self, text, sink, prosody=NEUTRAL):
        random = np.random.default_rng(len(text))
        noise = np.cumsum(random.standard_normal(16000)) * 0.02 + random.standard_normal(16000)
        noise = noise / np.sqrt(np.mean(noise**2)) * self._rms
        noise[6000:8000] = 0
        sink(np.clip(noise, -32768, 32767).astype(np.int16))


@pytest.mark.parametrize("rms", [50.0, 500.0, 5000.0])
def test_whatever_the_engines_level_the_line_gets_the_target(rms):
    """-22 dBov within 0.3 dB after band, presence and limiter."""
    result = calibrate(NoiseVoice(rms))
    assert result.level_after_dbov == pytest.approx(-22.0, abs=0.3)
    assert result.peak_after_dbov <= -2.99


def test_a_silent_voice_cannot_be_calibrated():
    """No gain is made up from nothing."""
    with pytest.raises(SynthesisError, match="silent"):
        calibrate(NoiseVoice(0.0))


def test_presence_is_capped_and_leaves_a_good_spectrum_alone():
    """A spectrum with the target's slope gets 0 dB, a hole gets 12 dB and no more."""
    slope = [-4.5 * float(np.log2(max(f, 500.0) / 500.0)) for f in CENTRES_HZ]
    assert presence_gains_db(Spectrum(tuple(slope))) == pytest.approx([0.0] * len(CENTRES_HZ), abs=0.05)
    slope[7] -= 40.0
    assert max(presence_gains_db(Spectrum(tuple(slope)))) == 12.0


def test_the_plot_is_well_formed_svg_with_both_spectra():
    """Three curves: before, after, equaliser."""
    root = ET.fromstring(draw_calibration(calibrate(NoiseVoice(500.0))))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 3


def test_profiles_are_stored_beside_each_other(tmp_path):
    """A second voice does not remove the first; a model's own file wins over the packaged one."""
    file = tmp_path / "profiles.json"
    store_profile(file, "rms", VoiceProfile(1.0))
    store_profile(file, "mine", VoiceProfile(2.0, (500.0,), (3.0,)))
    assert load_profile("rms", tmp_path) == VoiceProfile(1.0)
    assert load_profile("mine", tmp_path) == VoiceProfile(2.0, (500.0,), (3.0,))
    assert load_profile("rms") != VoiceProfile(1.0)
    assert load_profile("nobody") == VoiceProfile()


def test_a_broken_profile_file_is_an_error_that_says_so(tmp_path):
    """Not a traceback, not a silent default."""
    (tmp_path / "profiles.json").write_text('{"rms": {"gain_db": "loud"}}')
    with pytest.raises(SynthesisError, match="profiles cannot be read"):
        load_profile("rms", tmp_path)


@pytest.mark.models
def test_calibrate_command_measures_draws_and_stores(tmp_path):
    """The command line does what the library does."""
    plot, out = tmp_path / "rms.svg", tmp_path / "profiles.json"
    result = CliRunner().invoke(app, ["calibrate", "rms", "--plot", str(plot), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert plot.read_text().startswith("<svg")
    stored = json.loads(out.read_text())["rms"]
    assert stored["gain_db"] == pytest.approx(load_profile("rms").gain_db, abs=1.5)


@pytest.mark.models
def test_say_command_writes_what_a_caller_hears(tmp_path):
    """8 kHz, one channel, 16 bit; words and level are shown."""
    import wave

    file = tmp_path / "out.wav"
    result = CliRunner().invoke(
        app, ["say", "You owe $5.", "--voice", "slt/calm", "--play-to", str(file)]
    )
    assert result.exit_code == 0, result.output
    assert "You owe five dollars." in result.output
    with wave.open(str(file)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (8000, 1, 2)
        assert wav.getnframes() > 8000


def test_say_command_explains_what_it_cannot_do():
    """An unknown locale and an unknown voice for calibration end with a sentence."""
    assert CliRunner().invoke(app, ["say", "x", "--locale", "fr"]).exit_code == 2
    for voice in ("nobody", "rms/hasty"):
        result = CliRunner().invoke(app, ["say", "x", "--voice", voice])
        assert result.exit_code == 2
        assert "there is no" in result.output
    result = CliRunner().invoke(app, ["calibrate", "nobody"])
    assert result.exit_code == 1
    assert "no voice 'nobody'" in result.output
