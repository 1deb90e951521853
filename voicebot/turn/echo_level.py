"""How much of what is heard the echo alone cannot explain.

    sent, delayed ─► power in bands ─► spread in time, times learned gain ─► loudest echo expected ┐
    heard ─────────► power in bands ───────────────────────────────────────► share above it ◄──────┘

The model knows powers only, no phases: it survives delay steps, lost packets and loudspeakers, where an
adaptive filter has to converge again. Its gain per band is a high quantile of what was heard over what
was sent, learned only while the delay tracker is sure that echo is heard.
"""

import math
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from voicebot.config.echo_settings import EchoLevelSettings
from voicebot.turn.echo_delay import EchoDelayTracker

Samples = NDArray[np.int16]
Power = NDArray[np.float64]

SAMPLE_RATE_HZ: Final = 8000
TICK_SAMPLES: Final = 160
_WINDOW_SAMPLES: Final = 256
_SPREAD_SAMPLES: Final = 80
_LOUDEST_NOISE: Final = 4000.0  # in one band: about -45 dBov in all
_NOISE_RISE: Final = 10.0 ** (1.0 / 10.0 / 50)  # 1 dB a second
_BAND_EDGES_HZ: Final = (
    300,
    400,
    510,
    630,
    770,
    920,
    1080,
    1270,
    1480,
    1720,
    2000,
    2320,
    2700,
    3150,
    3500,
)


class EchoLevelModel:
    """Learns one call's echo gain by band and says what share of the heard power lies above it."""

    def __init__(self, settings: EchoLevelSettings | None = None) -> None:
        self._settings = settings or EchoLevelSettings()
        self._heard = np.zeros(_WINDOW_SAMPLES, np.float32)
        self._gain_db: Power = np.full(len(_BAND_EDGES_HZ) - 1, self._settings.first_gain_db)
        self._expected: Power = np.zeros(len(_BAND_EDGES_HZ) - 1)
        self._steady: Power = np.full(len(_BAND_EDGES_HZ) - 1, _LOUDEST_NOISE)
        self._noise: Power = np.full(len(_BAND_EDGES_HZ) - 1, _LOUDEST_NOISE)
        self._later: Power = np.zeros(len(_BAND_EDGES_HZ) - 1)
        self._delay_ms = -1.0
        self._learned_ticks = 0
        self._recent = [0.0] * self._settings.smoothing_ticks

    @property
    def gain_db(self) -> float:
        """Learned gain of the echo path, mean of the bands, dB."""
        return float(self._gain_db.mean())

    @property
    def expected_over_noise_db(self) -> float:
        """By how much the echo expected now stands out of the noise, dB; margins left out."""
        expected = float((self._expected * 10.0 ** (self._gain_db / 10.0)).sum())
        return 10.0 * math.log10((expected + 1.0) / (float(self._noise.sum()) + 1.0))

    def feed(self, heard: Samples, tracker: EchoDelayTracker, delay_ms: float, *, learn: bool) -> float:
        """One tick.

        Args:
            heard: What the microphone side gave, int16 (160,).
            tracker: Holds what was sent, this tick included.
            delay_ms: The echo's delay.
            learn: Echo is surely heard in this tick, and next to nothing else.

        Returns:
            Share of the heard power that neither echo nor noise explains, 0 to 1, mean of some ticks.
        """
        self._heard[:-TICK_SAMPLES] = self._heard[TICK_SAMPLES:]
        self._heard[-TICK_SAMPLES:] = heard
        later_ms = max(0.0, delay_ms - _SPREAD_SAMPLES / 8)
        power = _band_powers(
            self._heard, tracker.sent(delay_ms, _WINDOW_SAMPLES), tracker.sent(later_ms, _WINDOW_SAMPLES)
        )
        # A tick is two spreads long: what was 10 ms later in the last tick is 10 ms earlier in this one.
        earlier = self._later if delay_ms == self._delay_ms else power[2]
        sent = np.maximum(np.maximum(power[1], power[2]), earlier)
        self._later, self._delay_ms = power[2], delay_ms
        self._expected = np.maximum(sent, self._expected * self._settings.decay_per_tick)
        margin = 10.0 ** ((self._gain_db + self._settings.margin_db) / 10.0)
        heard_power = power[0]
        self._steady = 0.7 * self._steady + 0.3 * heard_power
        self._noise = np.where(self._steady < self._noise, self._steady, self._noise * _NOISE_RISE)
        noise_margin = 10.0 ** (self._settings.noise_margin_db / 10.0)
        above = 0.0
        # Noise scatters by band, less in its sum: without that much in all nobody spoke.
        if heard_power.sum() > noise_margin * self._noise.sum():
            explained = margin * self._expected + noise_margin * self._noise
            above = float(np.maximum(0.0, heard_power - explained).sum() / heard_power.sum())
        self._recent = [*self._recent[1:], above]
        share = sum(self._recent) / len(self._recent)
        if learn and share < self._settings.learn_below:
            self._learn(heard_power, sent)
        return share

    def _learn(self, heard_power: Power, sent: Power) -> None:
        self._learned_ticks += 1
        first = self._learned_ticks <= self._settings.first_ticks
        up_db = self._settings.step_db
        down_db = self._settings.first_step_db if first else self._settings.step_db
        ratio_db = 10.0 * np.log10((heard_power + 1.0) / (self._expected + 1.0))
        quantile = self._settings.quantile
        move_db = np.where(ratio_db > self._gain_db, up_db * quantile, -down_db * (1.0 - quantile))
        audible = sent > 1e4
        self._gain_db = np.clip(np.where(audible, self._gain_db + move_db, self._gain_db), -50.0, 0.0)


def _band_powers(*windows: NDArray[np.float32]) -> Power:
    """Mean power by band of windows of 256 samples: shape (len(windows), 14)."""
    spectrum = rfft(np.stack(windows) * _HANNING, axis=1)
    power: Power = (spectrum.real**2 + spectrum.imag**2).astype(np.float64) @ _BANDS
    return power


_HANNING: Final = np.hanning(_WINDOW_SAMPLES).astype(np.float32)
_FREQUENCY_HZ: Final = np.fft.rfftfreq(_WINDOW_SAMPLES, 1 / SAMPLE_RATE_HZ)
_BANDS: Final[Power] = np.array(
    [(low <= _FREQUENCY_HZ) & (high > _FREQUENCY_HZ) for low, high in pairwise(_BAND_EDGES_HZ)],
    np.float64,
).T / (_WINDOW_SAMPLES * 0.375 * _WINDOW_SAMPLES / 2)
