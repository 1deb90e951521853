"""Bulk delay between what was sent and its echo, by GCC-PHAT on the RTP timeline.

    sent ─► 1.2 s of history ┐
                             ├─► generalised cross-correlation, each 100 ms ─► peak ─► candidate ─► lock
    heard ─► last 256 ms ────┘                                                  └─► how well explained

The tracker works on what was really sent at the same tick, so the only unknown is the path: the far
end's jitter buffer, codec and hybrid or room. Generalised cross-correlation with phase transform:
C. Knapp and G. Carter, IEEE Trans. ASSP 24 (1976).
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from voicebot.config.echo_settings import EchoDelaySettings

Samples = NDArray[np.int16]
Signal = NDArray[np.float32]

SAMPLE_RATE_HZ: Final = 8000
TICK_SAMPLES: Final = 160
_BEFORE_SAMPLES: Final = 40
_AFTER_SAMPLES: Final = 80
_LEVEL_TICKS: Final = 8  # 160 ms
_NOISE_TICKS: Final = 5
_ROOM_SAMPLES: Final = 50 * TICK_SAMPLES


@dataclass(frozen=True, slots=True)
class DelayEstimate:
    """One look of the tracker."""

    peak_ratio: float
    """Highest peak over the mean of this window's correlation; 0 where one side is quiet."""
    local_ratio: float
    """The same at the locked delay; 0 while there is no lock."""
    other_ratio: float
    """The same away from the locked delay; equal to `peak_ratio` while there is no lock."""
    evidence: float
    """Highest peak over mean of the averaged correlation, away from the locked delay."""
    heard_quiet: bool = False
    """Nothing above the noise was heard in the whole window."""


class EchoDelayTracker:
    """Follows the delay of one call's echo in ticks of 20 ms."""

    def __init__(self, settings: EchoDelaySettings | None = None) -> None:
        self._settings = settings or EchoDelaySettings()
        self._longest = self._settings.longest_delay_ms * 8
        self._window = self._settings.window_ms * 8
        self._sent = _History(self._longest + self._window)
        self._heard = _History(self._window)
        self._powers = deque([0.0] * _LEVEL_TICKS, maxlen=_LEVEL_TICKS)
        self._size = next_fast_len(self._sent.size + self._window, real=True)
        frequency_hz = np.fft.rfftfreq(self._size, 1 / SAMPLE_RATE_HZ)
        self._band = ((frequency_hz >= 300) & (frequency_hz <= 3400)).astype(np.float32)
        self._ticks = 0
        self._average: Signal = np.zeros(self._longest + 1, np.float32)
        self._delay: int | None = None
        self._quietest = _mean_square(self._settings.quietest_heard_dbov)
        self._noise = _mean_square(0.0)
        self._noise_rise = 10.0 ** (
            self._settings.noise_rise_db_per_s / 10.0 * TICK_SAMPLES / SAMPLE_RATE_HZ
        )
        self._above_noise = 10.0 ** (self._settings.above_noise_db / 10.0)
        self._sent_floor = _mean_square(self._settings.quietest_sent_dbov)

    @property
    def delay_ms(self) -> float | None:
        """The locked delay, or None before the first lock."""
        return None if self._delay is None else self._delay / 8

    def feed(self, heard: Samples, sent: Samples) -> DelayEstimate | None:
        """One tick, both int16 (160,); an estimate each `every_ticks`, else None."""
        self._sent.add(sent)
        self._heard.add(heard)
        self._powers.append(_power(self._heard.last(TICK_SAMPLES)))
        self._ticks += 1
        # Over 100 ms, so that the fading fill of a lost packet does not pass for noise; digital
        # silence is a gap of the sender.
        if self._ticks >= _NOISE_TICKS:
            power = sum(islice(self._powers, _LEVEL_TICKS - _NOISE_TICKS, None)) / _NOISE_TICKS
            power = max(power, self._quietest / 16)
            self._noise = min(power, self._noise * self._noise_rise)
        return self.estimate() if self._ticks % self._settings.every_ticks == 0 else None

    @property
    def noise_dbov(self) -> float:
        """Level of the line's noise, dBov."""
        return _dbov(self._noise)

    @property
    def heard_dbov(self) -> float:
        """Level of what was heard in the last 160 ms, dBov."""
        return _dbov(sum(self._powers) / _LEVEL_TICKS)

    def shift(self, by_ms: float) -> None:
        """A move of our own jitter buffer: the echo will be heard so much later (negative: earlier)."""
        by = round(by_ms * 8)
        if self._delay is not None:
            self._delay = min(self._longest, max(0, self._delay + by))
        moved = np.zeros_like(self._average)
        if by >= 0:
            moved[by:] = self._average[: moved.size - by]
        else:
            moved[:by] = self._average[-by:]
        self._average = moved

    def unlock(self) -> None:
        """Forget the delay: there is no echo any more."""
        self._delay = None
        self._average[:] = 0.0

    def sent(self, ended_ms_ago: float, count: int) -> Signal:
        """The last `count` samples of what was sent up to `ended_ms_ago`, float32 (count,)."""
        before = round(ended_ms_ago * 8)
        return self._sent.last(count + before)[:count]

    def likeness(self, longest_ms: float) -> float:
        """How much the last window is like what was sent, at the delay at which it is most like it.

        Args:
            longest_ms: Delays up to here are possible: what we send has not lasted for longer.

        Returns:
            Highest peak over the root mean square of the correlation. Another voice gives 5 to 8, an
            echo 8 to 25: less in a room than over a hybrid, and less while it is weak.
        """
        possible = self._correlate()[: max(1, min(self._longest, round(longest_ms * 8)))]
        return float(possible.max() / (np.sqrt(np.mean(possible**2)) + 1e-12))

    def estimate(self) -> DelayEstimate:
        """Compare now; moves the lock where the evidence agrees."""
        heard = _power(self._heard.all)
        if heard < max(self._quietest, self._noise * self._above_noise):
            return _NOTHING_HEARD
        if _power(self._sent.all) < self._sent_floor:
            return _NOTHING_SENT
        correlation = self._correlate()
        self._average *= self._settings.smoothing
        clipped = np.minimum(correlation, self._settings.clip_ratio)
        self._average += (1.0 - self._settings.smoothing) * clipped
        highest = float(correlation.max())
        self._decide(float(self._average.max()))
        if self._delay is None:
            return DelayEstimate(highest, 0.0, highest, float(self._average.max()))
        near = self._near(self._delay)
        local = float(correlation[near].max())
        correlation[near] = 0.0
        evidence = max(
            float(self._average[: near.start].max(initial=0.0)),
            float(self._average[near.stop :].max(initial=0.0)),
        )
        return DelayEstimate(highest, local, float(correlation.max()), evidence)

    def _correlate(self) -> Signal:
        """Magnitude of the correlation by delay (samples), in units of its mean."""
        spectrum = rfft(self._sent.all, self._size) * rfft(self._heard.all[::-1], self._size)
        spectrum *= self._band / (np.abs(spectrum) + 1e-9) ** self._settings.phase_weight
        start = self._window - 1
        by_delay = np.abs(irfft(spectrum, self._size)[start : start + self._longest + 1][::-1])
        normalised: Signal = by_delay / (by_delay.mean() + 1e-12)
        return normalised

    def _decide(self, evidence: float) -> None:
        if self._delay is not None:
            here = float(self._average[self._near(self._delay)].max())
            if here < self._settings.unlock_ratio:
                self._delay = None
            elif evidence < self._settings.move_factor * here:
                return
        if evidence >= self._settings.lock_ratio:
            self._delay = int(np.argmax(self._average))

    @staticmethod
    def _near(delay: int) -> slice:
        """A room's echo is spread over some milliseconds after the first sound."""
        return slice(max(0, delay - _BEFORE_SAMPLES), delay + _AFTER_SAMPLES)


class _History:
    """The last samples of a signal; moved together once in a while, not with each tick."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._room: Signal = np.zeros(size + _ROOM_SAMPLES, np.float32)
        self._end = size

    def add(self, tick: Samples) -> None:
        """160 more."""
        if self._end + TICK_SAMPLES > self._room.size:
            self._room[: self.size - TICK_SAMPLES] = self._room[
                self._end - self.size + TICK_SAMPLES : self._end
            ]
            self._end = self.size - TICK_SAMPLES
        self._room[self._end : self._end + TICK_SAMPLES] = tick
        self._end += TICK_SAMPLES

    def last(self, count: int) -> Signal:
        """The last so many; a view."""
        return self._room[self._end - count : self._end]

    @property
    def all(self) -> Signal:
        """All of them; a view."""
        return self._room[self._end - self.size : self._end]


_NOTHING_HEARD: Final = DelayEstimate(0.0, 0.0, 0.0, 0.0, heard_quiet=True)
_NOTHING_SENT: Final = DelayEstimate(0.0, 0.0, 0.0, 0.0)


def _power(samples: Signal) -> float:
    """Mean square."""
    return float(np.dot(samples, samples)) / samples.size


def _dbov(mean_square: float) -> float:
    return 10.0 * math.log10(max(mean_square, 1e-4) / 32768.0**2)


def _mean_square(level_dbov: float) -> float:
    return float(32768.0**2 * 10.0 ** (level_dbov / 10.0))
