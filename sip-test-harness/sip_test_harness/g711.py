"""G.711 mu-law and A-law by table, and the level of a block.

The decoding tables follow the segment formulas of ITU-T G.711; the encoding tables choose the
nearest decoded value, so that decoding and encoding again changes nothing.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PCMU: Final = 0
"""RTP payload type of mu-law (RFC 3551 table 4)."""
PCMA: Final = 8
"""RTP payload type of A-law (RFC 3551 table 4)."""
SILENCE_BYTE: Final = {PCMU: 0xFF, PCMA: 0xD5}
"""The code of a zero sample."""
AUDIBLE_DBFS: Final = -45.0
"""A 20 ms block is audible above this level (definition of the response onset)."""
FLOOR_DBFS: Final = -100.0


def _mulaw_levels() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_levels() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    segment = (code >> 4) & 7
    low = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, low, (low + 0x100) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder(levels: NDArray[np.int16], zero_code: int) -> NDArray[np.uint8]:
    order = np.argsort(levels, kind="stable")
    ranked = levels[order].astype(np.float64)
    middles = (ranked[1:] + ranked[:-1]) / 2
    samples = np.arange(-32768, 32768)
    table = order[np.searchsorted(middles, samples)].astype(np.uint8)
    table[samples == 0] = zero_code
    return table


_LEVELS: Final = {PCMU: _mulaw_levels(), PCMA: _alaw_levels()}
_CODES: Final = {pt: _encoder(levels, SILENCE_BYTE[pt]) for pt, levels in _LEVELS.items()}
_ENERGY: Final = {pt: levels.astype(np.float64) ** 2 for pt, levels in _LEVELS.items()}


def decode(payload: bytes, payload_type: int) -> NDArray[np.int16]:
    """Decode G.711 to linear samples.

    Args:
        payload: one byte per 8 kHz sample.
        payload_type: ``PCMU`` or ``PCMA``.

    Returns:
        int16 samples of shape (len(payload),).
    """
    return _LEVELS[payload_type][np.frombuffer(payload, np.uint8)]


def encode(samples: NDArray[np.int16], payload_type: int) -> bytes:
    """Encode linear 8 kHz samples of shape (n,) to G.711, one byte each."""
    return _CODES[payload_type][samples.astype(np.int64) + 32768].tobytes()


@functools.lru_cache(maxsize=4096)
def level_dbfs(payload: bytes, payload_type: int) -> float:
    """RMS level of a G.711 block in dB relative to a full-scale square wave, at least -100."""
    if not payload:
        return FLOOR_DBFS
    energy = float(_ENERGY[payload_type][np.frombuffer(payload, np.uint8)].mean())
    return max(FLOOR_DBFS, 10.0 * float(np.log10(energy / 32768.0**2 + 1e-12)))
