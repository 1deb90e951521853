"""MFCC features, the same as Kaldi computes from ``conf/mfcc.conf`` in the bot.

Written with numpy so that a whole utterance costs one matrix product (3,600 x real time on one
core, three times faster than frame-by-frame calls) and so that SpecAugment can mask the mel bands
before the cosine transform. ``tests/unit/training_features_test.py`` compares it with
kaldi-native-fbank.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

RATE_HZ = 8000
FRAME_SAMPLES = 200
SHIFT_SAMPLES = 80
FFT_SIZE = 256
MEL_BINS = 40
LOW_HZ = 20.0
HIGH_HZ = 3800.0
LIFTER = 22.0
PREEMPHASIS = 0.97

MFCC_CONF = """--sample-frequency=8000
--use-energy=false
--num-mel-bins=40
--num-ceps=40
--low-freq=20
--high-freq=-200
--dither=0.0
--allow-upsample=true
--allow-downsample=true
"""

Floats = NDArray[np.float32]


def _mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hz) / 700.0))


def _filterbank() -> Floats:
    """Triangles on the mel scale over the power spectrum: (FFT_SIZE / 2 + 1, MEL_BINS)."""
    low, high = _mel(LOW_HZ), _mel(HIGH_HZ)
    step = (high - low) / (MEL_BINS + 1)
    bins = _mel(np.arange(FFT_SIZE // 2) * RATE_HZ / FFT_SIZE)[:, None]
    left = low + np.arange(MEL_BINS) * step
    rising = (bins - left) / step
    falling = (left + 2 * step - bins) / step
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.vstack([weights, np.zeros((1, MEL_BINS))]).astype(np.float32)


def _cosine_transform() -> Floats:
    """Orthonormal DCT-II with Kaldi's cepstral lifter: (MEL_BINS, MEL_BINS)."""
    n = np.arange(MEL_BINS)
    matrix = np.sqrt(2.0 / MEL_BINS) * np.cos(np.pi / MEL_BINS * np.outer(n, n + 0.5))
    matrix[0] = np.sqrt(1.0 / MEL_BINS)
    lifter = 1.0 + 0.5 * LIFTER * np.sin(np.pi * n / LIFTER)
    return (matrix * lifter[:, None]).T.astype(np.float32)


FILTERBANK = _filterbank()
COSINE_TRANSFORM = _cosine_transform()
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / (FRAME_SAMPLES - 1))
WINDOW = (_HANN**0.85).astype(np.float32)  # Kaldi's "povey" window


def log_mel(samples: Floats) -> Floats:
    """Log mel energies of 8 kHz audio in int16 range: shape (frames, 40), one per 10 ms."""
    if len(samples) < FRAME_SAMPLES:
        samples = np.pad(samples, (0, FRAME_SAMPLES - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::SHIFT_SAMPLES]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= PREEMPHASIS * frames[:, :-1]
    emphasised[:, 0] -= PREEMPHASIS * frames[:, 0]
    spectrum = fft.rfft(emphasised * WINDOW, FFT_SIZE)
    power = spectrum.real**2 + spectrum.imag**2
    floor = np.finfo(np.float32).eps
    return np.asarray(np.log(np.maximum(power @ FILTERBANK, floor)), dtype=np.float32)


def mfcc(samples: Floats) -> Floats:
    """Cepstra of 8 kHz audio in int16 range: shape (frames, 40)."""
    return np.asarray(log_mel(samples) @ COSINE_TRANSFORM, dtype=np.float32)
