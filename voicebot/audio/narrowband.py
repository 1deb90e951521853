"""A voice made fit for the telephone band: one stateful chain from engine samples to 8 kHz.

    engine rate                                8 kHz
    DC removal ─► polyphase resampler ─► 300-3400 Hz ─► gain ─► presence ─► limiter ─► trim, fades

The level is set after the band: up to 82 % of a voice's energy lies below 300 Hz and is never heard.
Gain and presence are fixed numbers of the voice, measured once (`VoiceProfile`); all filters are
recursive or minimum phase, so the chain costs less than 8 ms. What comes out does not depend, to the
sample, on how the input was cut into chunks.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, minimum_phase, sosfilt

from voicebot.audio.g711 import SAMPLE_RATE_HZ
from voicebot.audio.narrowband_limiter import Limiter
from voicebot.audio.narrowband_trim import SilenceTrim
from voicebot.audio.resampler import Resampler

Samples = NDArray[np.int16]
Floats = NDArray[np.float64]

CHAIN_VERSION: Final = 1
"""Part of every cache key: raise it when the same input gives other samples."""
TARGET_LEVEL_DBOV: Final = -22.0
"""Active speech level after the band: RMS 2600 of 32767 (RFC 7874 §4)."""
LIMIT_DBFS: Final = -3.0
BAND_LOW_HZ: Final = 300.0
BAND_HIGH_HZ: Final = 3400.0
_DC_POLE: Final = 0.995
_PRESENCE_TAPS: Final = 127


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """What calibration measured of one voice; fixed for all its utterances."""

    gain_db: float = 0.0
    """Brings the active speech level after band and presence to -22 dBov."""
    presence_hz: tuple[float, ...] = (1000.0, 1600.0, 3300.0)
    """Ascending frequencies of the presence equaliser."""
    presence_db: tuple[float, ...] = (0.0, 6.0, 6.0)
    """Gain at each, straight lines over log frequency between, constant outside; empty is flat."""


class NarrowbandChain:
    """Shapes one utterance of one voice.

    Args:
        input_rate_hz: Rate of the samples fed.
        profile: The voice's measured gain and presence.
        trim: Take leading and trailing silence off and fade the ends over 5 ms.
    """

    def __init__(self, input_rate_hz: int, profile: VoiceProfile, *, trim: bool = True) -> None:
        self._resampler = Resampler(input_rate_hz, SAMPLE_RATE_HZ)
        self._dc_state = np.zeros(1)
        self._band = _design_band()
        self._band_state = np.zeros((self._band.shape[0], 2))
        self._gain = 10.0 ** (profile.gain_db / 20.0)
        self._presence = design_presence(profile.presence_hz, profile.presence_db)
        self._presence_state = np.zeros(self._presence.size - 1)
        self._limiter = Limiter(32768.0 * 10.0 ** (LIMIT_DBFS / 20.0))
        self._trim = SilenceTrim() if trim else None

    def feed(self, samples: Samples) -> Samples:
        """Shape int16 samples (n,) at the input rate, any n; returns int16 (m,) at 8 kHz, m may be 0."""
        if samples.size == 0:
            return np.zeros(0, np.int16)
        centred: Floats
        centred, self._dc_state = lfilter(
            [1.0, -1.0], [1.0, -_DC_POLE], samples.astype(np.float64), zi=self._dc_state
        )
        return self._shape(self._resampler.feed(_to_int16(centred)))

    def flush(self) -> Samples:
        """What the filters still hold, to the end of the utterance; feed nothing afterwards."""
        # The band rings on for a few milliseconds after the last sample.
        tail = np.concatenate((self._resampler.flush(), np.zeros(SAMPLE_RATE_HZ // 100, np.int16)))
        return self._shape(tail, final=True)

    def _shape(self, samples: Samples, *, final: bool = False) -> Samples:
        if samples.size == 0:
            return samples
        shaped: Floats
        shaped, self._band_state = sosfilt(self._band, samples.astype(np.float64), zi=self._band_state)
        # A denominator of length 2 keeps scipy on the sample-by-sample path: its FIR shortcut sums in an
        # order that depends on the chunk.
        shaped, self._presence_state = lfilter(
            self._presence, [1.0, 0.0], shaped * self._gain, zi=self._presence_state
        )
        limited = self._limiter.feed(shaped)
        if final:
            limited = np.concatenate((limited, self._limiter.flush()))
        if self._trim is None:
            return _to_int16(limited)
        trimmed = self._trim.feed(limited)
        if final:
            trimmed = np.concatenate((trimmed, self._trim.flush()))
        return _to_int16(trimmed)


def shape(samples: Samples, input_rate_hz: int, profile: VoiceProfile, *, trim: bool = True) -> Samples:
    """Shape one whole recording, int16 (n,) at `input_rate_hz`, to int16 at 8 kHz."""
    chain = NarrowbandChain(input_rate_hz, profile, trim=trim)
    return np.concatenate((chain.feed(samples), chain.flush()))


@lru_cache(maxsize=64)
def design_presence(frequencies_hz: tuple[float, ...], gains_db: tuple[float, ...]) -> Floats:
    """Minimum-phase FIR at 8 kHz through the given gains, shape (127,) or fewer taps."""
    if not frequencies_hz:
        return np.array([1.0, 0.0])
    grid_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, 513)
    log_grid = np.log2(np.maximum(grid_hz, 1.0))
    gain_db = np.interp(log_grid, np.log2(frequencies_hz), gains_db)
    # Homomorphic design wants a linear-phase filter of the squared magnitude.
    squared = 10.0 ** (gain_db / 10.0)
    linear = np.roll(np.fft.irfft(squared, 1024), 512)
    linear = (linear * np.hanning(1025)[:1024])[512 - _PRESENCE_TAPS : 512 + _PRESENCE_TAPS + 1]
    taps: Floats = np.asarray(minimum_phase(linear, method="homomorphic", n_fft=4096), np.float64)
    return taps[:_PRESENCE_TAPS]


@lru_cache(maxsize=1)
def _design_band() -> Floats:
    high_pass = butter(4, BAND_LOW_HZ, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    low_pass = butter(2, BAND_HIGH_HZ, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.concatenate((high_pass, low_pass))


def _to_int16(samples: Floats) -> Samples:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
