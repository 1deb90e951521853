"""Comfort noise by RFC 3389: what to play while the other side sends nothing."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.audio.linear_prediction import AllPoleFilter
from voicebot.core.errors import MalformedRtpError

Samples = NDArray[np.int16]

RTP_PAYLOAD_TYPE_CN: Final = 13
DEFAULT_LEVEL_DBOV: Final = -60.0
_MAX_ORDER: Final = 12
_LARGEST_COEFFICIENT: Final = 0.97
_FULL_SCALE: Final = 32768.0


@dataclass(frozen=True, slots=True)
class ComfortNoiseParameters:
    """Noise level and spectrum of one CN packet (RFC 3389 §3)."""

    level_dbov: float = DEFAULT_LEVEL_DBOV
    """Level of the noise, 0 to -127 dBov."""
    reflection_coefficients: tuple[float, ...] = ()
    """All-pole model, each inside (-1, 1); empty means white."""


def parse_payload(payload: bytes) -> ComfortNoiseParameters:
    """Read a CN payload: one byte of level, then any number of coefficients.

    Coefficients beyond the 12th are ignored: RFC 3389 lets a receiver use fewer than were sent.

    Raises:
        MalformedRtpError: An empty payload, or a level byte with its top bit set.
    """
    if not payload:
        raise MalformedRtpError("comfort noise payload is empty")
    if payload[0] & 0x80:
        raise MalformedRtpError(f"comfort noise level byte 0x{payload[0]:02x} has its reserved bit set")
    # N = 255 is outside RFC 3389's table; it is read as the largest coefficient.
    coefficients = tuple(258 * (min(n, 254) - 127) / 32768 for n in payload[1 : 1 + _MAX_ORDER])
    return ComfortNoiseParameters(-float(payload[0]), coefficients)


def build_payload(parameters: ComfortNoiseParameters) -> bytes:
    """Write a CN payload, values rounded to the format's steps (1 dB, 1/127)."""
    level = min(127, max(0, round(-parameters.level_dbov)))
    coefficients = (
        min(254, max(0, round(k * 32768 / 258) + 127)) for k in parameters.reflection_coefficients
    )
    return bytes((level, *coefficients))


class ComfortNoise:
    """Generates noise of the last level and spectrum it was told; the same seed gives the same samples.

    Args:
        seed: Seed of the noise.
        parameters: What to generate until the first `update`.
    """

    def __init__(self, seed: int, parameters: ComfortNoiseParameters | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._synthesis = AllPoleFilter(np.ones(1))
        self._set(parameters or ComfortNoiseParameters())

    @property
    def level_dbov(self) -> float:
        """Level that is generated now."""
        return self._level_dbov

    def update(self, payload: bytes) -> None:
        """Follow a received CN packet.

        Raises:
            MalformedRtpError: The payload is no CN payload; the noise stays as it was.
        """
        self._set(parse_payload(payload))

    def generate(self, count: int = 160) -> Samples:
        """The next `count` samples, int16 (count,)."""
        excitation = self._random.standard_normal(count) * self._gain
        noise = self._synthesis.filter(excitation)
        return np.clip(np.rint(noise), -32768, 32767).astype(np.int16)

    def _set(self, parameters: ComfortNoiseParameters) -> None:
        self._level_dbov = parameters.level_dbov
        # Sharper ones ring for seconds and, many in a row, leave the range of a float.
        reflection = tuple(
            max(-_LARGEST_COEFFICIENT, min(_LARGEST_COEFFICIENT, k))
            for k in parameters.reflection_coefficients[:_MAX_ORDER]
        )
        self._synthesis = AllPoleFilter(_step_up(reflection), self._synthesis.past)
        # The synthesis filter raises the power by 1 / prod(1 - k²): take that off the excitation.
        shrink = float(np.prod([1.0 - k * k for k in reflection]))
        self._gain = _FULL_SCALE * 10.0 ** (parameters.level_dbov / 20.0) * shrink**0.5


def _step_up(reflection: tuple[float, ...]) -> NDArray[np.float64]:
    """Reflection coefficients to the denominator 1 + a1 z^-1 + … of the all-pole filter."""
    polynomial = np.ones(1)
    for k in reflection:
        extended = np.concatenate((polynomial, [0.0]))
        polynomial = extended + k * extended[::-1]
    return polynomial
