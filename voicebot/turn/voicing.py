"""Whether a sound is a voice by how it is made: pulses of vocal folds, that is a period of 2.5 to 14 ms.

A cough, a breath, a click and the wind have none. The two sines of a telephone key repeat themselves as
a voice does, but all their power is in two lines, one in each group of frequencies.
"""

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.config.settings import TurnSettings

Samples = NDArray[np.int16]
Values = NDArray[np.float32]
Measures = NDArray[np.float64]

RATE_HZ: Final = 8000
HOP_SAMPLES: Final = 160
FRAME_SAMPLES: Final = 320
SPECTRUM_SAMPLES: Final = 512
LAGS: Final = np.arange(20, 115)  # 400 to 70 Hz
_SHORT_LAGS_FIRST: Final = 0.002  # per sample of lag: twice the period fits as well
_BIN_HZ: Final = RATE_HZ / (2 * SPECTRUM_SAMPLES)
_LINE_BINS: Final = 9  # on each side of a line, 70 Hz: its width in a window of 40 ms
_KEY_GROUPS_HZ: Final = ((680.0, 960.0), (1180.0, 1660.0))  # ITU-T Q.23, with 2.5 % to spare
_FULL_SCALE: Final = 32768.0

LOOKED_AT_SAMPLES: Final = 1760
"""220 ms, ten frames: what `is_voice` wants to hear."""


@functools.cache
def window() -> tuple[Values, Values]:
    """Hann window and its autocorrelation, by which that of a frame is divided."""
    hann = np.hanning(FRAME_SAMPLES).astype(np.float32)
    own = np.fft.irfft(np.abs(np.fft.rfft(hann, 2 * SPECTRUM_SAMPLES)) ** 2)[:SPECTRUM_SAMPLES]
    return hann, (own / own[0]).astype(np.float32)


def cut(samples: Values) -> Values:
    """Frames of 40 ms every 20 ms under the window, float32 (n, 320), of at least one frame of audio."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    windowed: Values = frames * window()[0]
    return windowed


def power_of(frames: Values) -> Values:
    """Power spectrum of each frame, float (n, 513)."""
    power: Values = np.abs(np.fft.rfft(frames, 2 * SPECTRUM_SAMPLES)) ** 2
    return power


def periods(power: Values) -> tuple[Measures, NDArray[np.int64], Measures]:
    """How periodic each frame is.

    Args:
        power: As `power_of` gives it.

    Returns:
        Likeness with itself one period later, 0 to 1 (n,); the period in samples (n,); energy (n,).
    """
    likeness = np.fft.irfft(power)[:, : LAGS[-1] + 1].astype(np.float64) / window()[1][: LAGS[-1] + 1]
    near = likeness[:, LAGS] / np.maximum(likeness[:, :1], 1e-3) - _SHORT_LAGS_FIRST * (LAGS - LAGS[0])
    best = near.argmax(axis=1)
    return np.clip(near[np.arange(len(near)), best], 0.0, 1.0), LAGS[best], likeness[:, 0]


def is_voice(samples: Samples, quietest_dbov: float, settings: TurnSettings, *, cancelled: bool) -> bool:
    """Whether there is a voice, and not weaker than this, in the last 220 ms.

    Args:
        samples: int16 (n,) at 8 kHz.
        quietest_dbov: Level of its frames.
        settings: What is a voice.
        cancelled: Our echo was taken out, and part of the caller with it: what is surely a voice may be
            weaker.
    """
    if samples.size < FRAME_SAMPLES:
        return False
    sorts = [(quietest_dbov, settings.barge_in_periodic)]
    if cancelled:
        sorts.append((quietest_dbov - settings.barge_in_cancelled_db, settings.barge_in_weak_periodic))
    return any(
        voiced_frames(samples, dbov, periodic, settings.barge_in_tone_share)
        >= settings.barge_in_voiced_frames
        for dbov, periodic in sorts
    )


def voiced_frames(samples: Samples, quietest_dbov: float, likeness: float, tone_share: float) -> int:
    """In how many frames there is a voice.

    Args:
        samples: int16 (n,) at 8 kHz, n at least 320.
        quietest_dbov: A weaker frame does not count.
        likeness: A frame is periodic from this likeness with itself on, 0 to 1.
        tone_share: From this share of its power in a key's two lines on it is a key's tone; the frames
            beside it are its beginning and end.
    """
    values = samples.astype(np.float32)
    power = power_of(cut(values))
    plain = np.lib.stride_tricks.sliding_window_view(values, FRAME_SAMPLES)[::HOP_SAMPLES]
    level_dbov = 10.0 * np.log10(np.mean(plain**2, axis=1) / _FULL_SCALE**2 + 1e-12)
    tone = np.array([_is_key(frame, tone_share) for frame in power])
    beside = tone | np.append(tone[1:], False) | np.insert(tone[:-1], 0, False)
    voiced = (periods(power)[0] > likeness) & (level_dbov > quietest_dbov) & ~beside
    return int(voiced.sum())


def _is_key(power: Values, tone_share: float) -> bool:
    rest = power.copy()
    lines_hz, lines_power = [], 0.0
    for _ in range(2):
        strongest = int(rest.argmax())
        line = slice(max(0, strongest - _LINE_BINS), strongest + _LINE_BINS + 1)
        lines_power += float(rest[line].sum())
        lines_hz.append(strongest * _BIN_HZ)
        rest[line] = 0.0
    in_groups = all(
        low <= hz <= high for hz, (low, high) in zip(sorted(lines_hz), _KEY_GROUPS_HZ, strict=True)
    )
    return in_groups and lines_power > tone_share * float(power.sum())
