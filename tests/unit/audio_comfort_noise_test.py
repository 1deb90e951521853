import numpy as np
import pytest

from voicebot.audio.comfort_noise import (
    ComfortNoise,
    ComfortNoiseParameters,
    build_payload,
    parse_payload,
)
from voicebot.audio.level import rms_dbov
from voicebot.core.errors import MalformedRtpError


@pytest.mark.parametrize("coefficients", [(), (0.9,), (-0.8, 0.4, 0.2)])
def test_level_is_kept_for_any_spectrum(coefficients):
    """The noise has the packet's level whatever its spectral shape."""
    noise = ComfortNoise(1, ComfortNoiseParameters(-45.0, coefficients))
    assert rms_dbov(noise.generate(16000)) == pytest.approx(-45, abs=0.5)


def test_reflection_coefficient_shapes_the_spectrum():
    """A first coefficient of -0.9 (a pole near DC) makes low-pass noise, +0.9 high-pass."""
    low = ComfortNoise(1, ComfortNoiseParameters(-40.0, (-0.9,))).generate(8000).astype(float)
    high = ComfortNoise(1, ComfortNoiseParameters(-40.0, (0.9,))).generate(8000).astype(float)
    assert np.corrcoef(low[1:], low[:-1])[0, 1] == pytest.approx(0.9, abs=0.05)
    assert np.corrcoef(high[1:], high[:-1])[0, 1] == pytest.approx(-0.9, abs=0.05)


def test_payload_round_trip():
    """Level and coefficients survive the format to within its steps."""
    parameters = ComfortNoiseParameters(-57.0, (0.5, -0.25, 0.99, -0.99))
    parsed = parse_payload(build_payload(parameters))
    assert parsed.level_dbov == -57.0
    assert parsed.reflection_coefficients == pytest.approx(parameters.reflection_coefficients, abs=0.005)


def test_payload_bytes_of_rfc_3389():
    """N = 127 is a coefficient of zero, 0 and 254 are just inside -1 and 1."""
    parsed = parse_payload(bytes([40, 127, 0, 254]))
    assert parsed.level_dbov == -40.0
    assert parsed.reflection_coefficients == pytest.approx((0.0, -258 * 127 / 32768, 258 * 127 / 32768))
    assert parse_payload(b"\x7f").level_dbov == -127.0


def test_stable_at_the_edge_of_the_format():
    """The sharpest coefficients a peer can send do not blow up."""
    noise = ComfortNoise(1)
    noise.update(bytes([50, *([254, 0] * 20)]))
    assert np.abs(noise.generate(16000)).max() < 32767


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff\x01"])
def test_malformed_payload_is_refused_and_changes_nothing(payload):
    """An empty payload or a set reserved bit is the peer's error; the noise goes on as it was."""
    noise = ComfortNoise(1)
    with pytest.raises(MalformedRtpError):
        noise.update(payload)
    assert noise.level_dbov == -60.0


def test_seed_makes_it_repeatable_and_frames_join():
    """The same seed gives the same samples, also when asked frame by frame."""
    whole = ComfortNoise(5, ComfortNoiseParameters(-40.0, (-0.5,))).generate(320)
    frames = ComfortNoise(5, ComfortNoiseParameters(-40.0, (-0.5,)))
    assert np.array_equal(np.concatenate((frames.generate(160), frames.generate(160))), whole)
    assert not np.array_equal(
        ComfortNoise(6, ComfortNoiseParameters(-40.0, (-0.5,))).generate(320), whole
    )
