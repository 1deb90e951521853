"""G.711 companding by table, bit-exact to ITU-T G.711 (the arithmetic of G.191's reference software).

`audioop` is imported here and nowhere else: it is in the standard library up to Python 3.12 and the
`audioop-lts` package puts the same name back from 3.13 on.
"""

import audioop
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.core.errors import ProtocolError

Samples = NDArray[np.int16]

SAMPLE_RATE_HZ: Final = 8000
FRAME_SAMPLES: Final = 160
"""Samples, and as G.711 has one byte each also bytes, of a 20 ms frame."""

ULAW_SILENCE: Final = 0xFF
"""Code of +0 in mu-law (0x7F, the code of -0, decodes to the same sample)."""
ALAW_SILENCE: Final = 0xD5
"""Code of the smallest positive value in A-law, 8 on the 16-bit scale; A-law has no zero."""

RTP_PAYLOAD_TYPE_PCMU: Final = 0
RTP_PAYLOAD_TYPE_PCMA: Final = 8


def _encode_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    samples = np.arange(65536, dtype=np.uint16).view(np.int16)
    # G.711 works on sign and one's complement magnitude. audioop negates two's complement values for
    # mu-law, which puts -1 and 507 others one code too far out: each negative is coded as its mirror.
    mirrored = np.where(samples < 0, ~samples, samples).astype(np.int16)
    ulaw = np.frombuffer(audioop.lin2ulaw(mirrored.tobytes(), 2), np.uint8)
    ulaw = np.where(samples < 0, ulaw & 0x7F, ulaw).astype(np.uint8)
    alaw = np.frombuffer(audioop.lin2alaw(samples.tobytes(), 2), np.uint8)
    return ulaw, alaw


_CODES: Final = bytes(range(256))
_ULAW_TO_LINEAR: Final[Samples] = np.frombuffer(audioop.ulaw2lin(_CODES, 2), np.int16)
_ALAW_TO_LINEAR: Final[Samples] = np.frombuffer(audioop.alaw2lin(_CODES, 2), np.int16)
_LINEAR_TO_ULAW, _LINEAR_TO_ALAW = _encode_tables()
_ULAW_TO_ALAW: Final = _LINEAR_TO_ALAW[_ULAW_TO_LINEAR.view(np.uint16)].tobytes()
_ALAW_TO_ULAW: Final = _LINEAR_TO_ULAW[_ALAW_TO_LINEAR.view(np.uint16)].tobytes()


def decode_ulaw(payload: bytes | bytearray | memoryview) -> Samples:
    """Mu-law bytes to int16 samples of shape (len(payload),), range ±32124."""
    return _ULAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def decode_alaw(payload: bytes | bytearray | memoryview) -> Samples:
    """A-law bytes to int16 samples of shape (len(payload),), range ±32256."""
    return _ALAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def encode_ulaw(samples: Samples) -> bytes:
    """Int16 samples of shape (n,) to n mu-law bytes; louder than the code's range is clipped."""
    return _LINEAR_TO_ULAW[_as_index(samples)].tobytes()


def encode_alaw(samples: Samples) -> bytes:
    """Int16 samples of shape (n,) to n A-law bytes."""
    return _LINEAR_TO_ALAW[_as_index(samples)].tobytes()


def ulaw_to_alaw(payload: bytes) -> bytes:
    """Transcode mu-law to A-law code by code (G.711 §3.4: through the uniform value)."""
    return payload.translate(_ULAW_TO_ALAW)


def alaw_to_ulaw(payload: bytes) -> bytes:
    """Transcode A-law to mu-law code by code (G.711 §3.4: through the uniform value)."""
    return payload.translate(_ALAW_TO_ULAW)


def decode(payload_type: int, payload: bytes | bytearray | memoryview) -> Samples:
    """Decode by static RTP payload type (RFC 3551: 0 PCMU, 8 PCMA).

    Raises:
        ProtocolError: Any other payload type.
    """
    if payload_type == RTP_PAYLOAD_TYPE_PCMU:
        return decode_ulaw(payload)
    if payload_type == RTP_PAYLOAD_TYPE_PCMA:
        return decode_alaw(payload)
    raise ProtocolError(f"payload type {payload_type} is not G.711 (0 PCMU, 8 PCMA)")


def encode(payload_type: int, samples: Samples) -> bytes:
    """Encode by static RTP payload type (RFC 3551: 0 PCMU, 8 PCMA).

    Raises:
        ProtocolError: Any other payload type.
    """
    if payload_type == RTP_PAYLOAD_TYPE_PCMU:
        return encode_ulaw(samples)
    if payload_type == RTP_PAYLOAD_TYPE_PCMA:
        return encode_alaw(samples)
    raise ProtocolError(f"payload type {payload_type} is not G.711 (0 PCMU, 8 PCMA)")


def _as_index(samples: Samples) -> NDArray[np.uint16]:
    return np.ascontiguousarray(samples, np.int16).view(np.uint16)
