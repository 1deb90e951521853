import numpy as np
import pytest

from voicebot.audio import g711
from voicebot.core.errors import ProtocolError

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


def reference_ulaw(sample: int) -> int:
    """G.711 table 2 by arithmetic: 14-bit one's complement magnitude, bias 33, eight segments."""
    magnitude = min(((~sample if sample < 0 else sample) >> 2) + 33, 0x1FFF)
    segment = magnitude.bit_length() - 6
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F) | (0x80 if sample < 0 else 0)
    return ~code & 0xFF


def reference_alaw(sample: int) -> int:
    """G.711 table 1 by arithmetic: 12-bit one's complement magnitude, even bits inverted."""
    magnitude = (~sample if sample < 0 else sample) >> 4
    segment = max(0, magnitude.bit_length() - 4)
    mantissa = (magnitude >> max(0, segment - 1)) & 0x0F
    return ((segment << 4) | mantissa | (0 if sample < 0 else 0x80)) ^ 0x55


def test_ulaw_encodes_every_sample_as_g711():
    """All 65536 samples get the code of G.711's decision values, negative ones included."""
    assert list(g711.encode_ulaw(ALL_SAMPLES)) == [reference_ulaw(int(s)) for s in ALL_SAMPLES]


def test_alaw_encodes_every_sample_as_g711():
    """All 65536 samples get the code of G.711's decision values."""
    assert list(g711.encode_alaw(ALL_SAMPLES)) == [reference_alaw(int(s)) for s in ALL_SAMPLES]


@pytest.mark.parametrize(
    ("code", "sample"),
    [
        (0x00, -32124),
        (0x7F, 0),
        (0x80, 32124),
        (0xFF, 0),
        (0xFE, 8),
        (0x7E, -8),
        (0x8F, 16764),
        (0xF0, 120),
    ],
)
def test_ulaw_known_values(code, sample):
    """Codes decode to the quantised values of G.711 table 2a (times 4)."""
    assert g711.decode_ulaw(bytes([code]))[0] == sample


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xC5, 264), (0x85, 4224)],
)
def test_alaw_known_values(code, sample):
    """Codes decode to the quantised values of G.711 table 1a (times 8)."""
    assert g711.decode_alaw(bytes([code]))[0] == sample


def test_every_code_survives_the_round_trip():
    """Decoding and encoding gives each of the 256 codes back; only mu-law's -0 becomes +0."""
    assert g711.encode_alaw(g711.decode_alaw(ALL_CODES)) == ALL_CODES
    expected = ALL_CODES.replace(b"\x7f", b"\xff")
    assert g711.encode_ulaw(g711.decode_ulaw(ALL_CODES)) == expected


def test_silence_codes():
    """The silence constants are the codes of the smallest positive value."""
    assert g711.decode_ulaw(bytes([g711.ULAW_SILENCE]))[0] == 0
    assert g711.encode_ulaw(np.zeros(3, np.int16)) == bytes([g711.ULAW_SILENCE] * 3)
    assert g711.encode_alaw(np.zeros(3, np.int16)) == bytes([g711.ALAW_SILENCE] * 3)


def test_transcoding_is_by_uniform_value():
    """Both transcoding tables equal decode followed by encode, for all codes."""
    assert g711.ulaw_to_alaw(ALL_CODES) == g711.encode_alaw(g711.decode_ulaw(ALL_CODES))
    assert g711.alaw_to_ulaw(ALL_CODES) == g711.encode_ulaw(g711.decode_alaw(ALL_CODES))


def test_payload_types():
    """Payload types 0 and 8 select the law; any other is the peer's error."""
    samples = np.array([0, 1000, -1000], np.int16)
    assert g711.encode(0, samples) == g711.encode_ulaw(samples)
    assert g711.encode(8, samples) == g711.encode_alaw(samples)
    assert list(g711.decode(0, b"\x00")) == [-32124]
    assert list(g711.decode(8, b"\x2a")) == [-32256]
    with pytest.raises(ProtocolError, match="18"):
        g711.decode(18, b"\x00")
    with pytest.raises(ProtocolError, match="18"):
        g711.encode(18, samples)


def test_views_with_a_stride_are_encoded_in_order():
    """A non-contiguous view (one channel of a stereo buffer) is coded sample by sample."""
    stereo = np.arange(-400, 400, dtype=np.int16).reshape(-1, 2)
    assert g711.encode_ulaw(stereo[:, 1]) == g711.encode_ulaw(stereo[:, 1].copy())
