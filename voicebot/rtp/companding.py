"""The few G.711 facts that RTP handling itself needs: silence, quietness, a fade (ITU-T G.711).

Codec work for signal code is in ``voicebot.audio``; this package lies below it.
"""

import math
from typing import Final

from voicebot.rtp.packet import PCMA

ULAW_SILENCE: Final = 0xFF
"""µ-law code of 0."""
ALAW_SILENCE: Final = 0xD5
"""A-law code nearest to 0."""

_QUIET_PEAK: Final = 512
"""Peak of a sample that nobody misses, in 16-bit steps: -36 dB below full scale."""


def _ulaw_to_linear(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_to_linear(code: int) -> int:
    code ^= 0x55
    exponent = code >> 4 & 7
    magnitude = ((code & 0x0F) << 4) + 8
    if exponent:
        magnitude = (magnitude + 0x100) << (exponent - 1)
    return magnitude if code & 0x80 else -magnitude


ULAW_TO_LINEAR: Final = tuple(map(_ulaw_to_linear, range(256)))
"""16-bit linear value of each µ-law code."""

_QUIET_ULAW: Final = bytes(c for c in range(256) if abs(_ulaw_to_linear(c)) < _QUIET_PEAK)
_QUIET_ALAW: Final = bytes(c for c in range(256) if abs(_alaw_to_linear(c)) < _QUIET_PEAK)


def linear_to_ulaw(sample: int) -> int:
    """µ-law code of one 16-bit sample; louder ones are clipped."""
    magnitude = min(abs(sample), 32635) + 0x84
    exponent = magnitude.bit_length() - 8
    code = (0x80 if sample < 0 else 0) | exponent << 4 | (magnitude >> (exponent + 3) & 0x0F)
    return ~code & 0xFF


def silence_code(payload_type: int) -> int:
    """The byte that means silence in G.711 of that payload type."""
    return ALAW_SILENCE if payload_type == PCMA else ULAW_SILENCE


def is_quiet(payload: bytes, payload_type: int) -> bool:
    """Whether dropping or stretching the payload would be heard by nobody: 95 % of it is quiet."""
    quiet = _QUIET_ALAW if payload_type == PCMA else _QUIET_ULAW
    return len(payload.translate(None, quiet)) * 20 <= len(payload)


def fade_ulaw(payload: bytes, start: int, length: int, *, rising: bool = False) -> bytes:
    """Apply samples ``start …`` of a raised-cosine fade of ``length`` samples to µ-law audio.

    Samples after the end of the fade become silent (falling) or stay as they are (rising).
    """
    faded = bytearray(payload)
    for index, code in enumerate(payload):
        place = start + index
        if place >= length:
            if not rising:
                faded[index] = ULAW_SILENCE
            continue
        gain = 0.5 * (1.0 + math.cos(math.pi * (place + 1) / (length + 1)))
        if rising:
            gain = 1.0 - gain
        faded[index] = linear_to_ulaw(round(ULAW_TO_LINEAR[code] * gain))
    return bytes(faded)
