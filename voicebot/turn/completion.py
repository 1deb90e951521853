"""Whether a voice that pauses sounds as if it had finished.

    last 2.6 s of voice ─► bands, pitch, voicing per 20 ms ─► three convolutions ─► probability of an end

Silence alone cannot tell a breath from an end. People lower pitch and loudness and draw out the last
syllable where a sentence is over, and hold both where they look for a word; the network was trained on
pauses and ends of people who read and speak English (``training/turn_completion.py``). It judges the
sound only, no words, and is asked once a pause: about 3 ms.
"""

import functools
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.turn.voicing import (
    FRAME_SAMPLES,
    HOP_SAMPLES,
    RATE_HZ,
    SPECTRUM_SAMPLES,
    cut,
    periods,
    power_of,
)

Samples = NDArray[np.int16]
Values = NDArray[np.float32]

FRAMES: Final = 128
BANDS: Final = 24
CHANNELS: Final = BANDS + 3
MODEL_FILE: Final = "completion.npz"
VOICE_RANGE_DB: Final = 30.0

_BLOCK_SAMPLES: Final = 80
_VOICED: Final = 0.5
_LAST_POSITIONS: Final = 8  # of the last layer, 160 ms each; the others only by their mean


def _mel(frequency_hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + frequency_hz / 700.0))


@functools.cache
def _bands() -> Values:
    """Triangles of equal width in mel from 200 to 3600 Hz, float32 (bins, bands)."""
    edges = 700.0 * (10.0 ** (np.linspace(_mel(200.0), _mel(3600.0), BANDS + 2) / 2595.0) - 1.0)
    bins = np.arange(SPECTRUM_SAMPLES // 2 + 1) * RATE_HZ / SPECTRUM_SAMPLES
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - low) / (centre - low)
    fall = (high - bins[:, None]) / (high - centre)
    return np.maximum(0.0, np.minimum(rise, fall)).astype(np.float32)


def voiced_part(audio: Samples) -> Samples:
    """The audio up to its last 10 ms that are within 30 dB of its loudest ones."""
    blocks = audio[: audio.size // _BLOCK_SAMPLES * _BLOCK_SAMPLES].reshape(-1, _BLOCK_SAMPLES)
    if not blocks.size:
        return audio[:0]
    powers = np.square(blocks, dtype=np.float64).mean(axis=1) + 1e-3
    loud = np.flatnonzero(powers > powers.max() * 10.0 ** (-VOICE_RANGE_DB / 10.0))
    return audio[: (int(loud[-1]) + 1) * _BLOCK_SAMPLES]


def features(audio: Samples) -> Values:
    """What the network sees of a turn.

    Args:
        audio: The turn until now, int16 (n,) at 8 kHz; silence at its end is left out.

    Returns:
        float32 (128, 27), the end of the voice last, zeros before its beginning: 24 bands relative to
        the loud ones, pitch in half octaves relative to its median, voicing, and 1 where there is audio.
    """
    seen = np.zeros((FRAMES, CHANNELS), np.float32)
    voice = voiced_part(audio)[-((FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES) :].astype(np.float32)
    count = (voice.size - FRAME_SAMPLES) // HOP_SAMPLES + 1
    if count < 1:
        return seen
    power = power_of(cut(voice[voice.size - ((count - 1) * HOP_SAMPLES + FRAME_SAMPLES) :]))
    bands = 10.0 * np.log10(power[:, ::2] @ _bands() + 100.0)
    voicing, period, energy = periods(power)
    level_db = 10.0 * np.log10(energy / FRAME_SAMPLES + 1.0)
    pitch = np.log2(RATE_HZ / period)
    voiced = (voicing > _VOICED) & (level_db > level_db.max() - VOICE_RANGE_DB + 5.0)
    median = float(np.median(pitch[voiced])) if voiced.any() else 0.0
    loud = float(np.percentile(bands.max(axis=1), 90))
    part = seen[FRAMES - count :]
    part[:, :BANDS] = np.clip((bands - loud) / 20.0, -2.5, 0.5) + 1.0
    part[:, BANDS] = np.where(voiced, np.clip(pitch - median, -1.0, 1.0) * 2.0, 0.0)
    part[:, BANDS + 1] = voicing * (level_db > level_db.max() - VOICE_RANGE_DB)
    part[:, BANDS + 2] = 1.0
    return seen


class TurnCompletion:
    """The trained network.

    Args:
        weights: Named arrays as ``training/turn_completion.py`` writes them: ``conv{1,2,3}`` (out, 5,
            in), ``hidden`` (32, in), ``out`` (1, 32), each with its ``_bias``.
    """

    def __init__(self, weights: dict[str, Values]) -> None:
        self._weights = {name: value.astype(np.float32) for name, value in weights.items()}

    def probability(self, audio: Samples) -> float:
        """How likely it is that a turn is over that sounds like this.

        Args:
            audio: The turn from its start until now, int16 (n,) at 8 kHz.

        Returns:
            0 to 1; not calibrated, its threshold is a setting.
        """
        return self.score(features(audio))

    def score(self, seen: Values) -> float:
        """The same of features, float32 (128, 27)."""
        weights = self._weights
        values = seen
        for name in ("conv1", "conv2", "conv3"):
            kernel = weights[name]
            padded = np.pad(values, ((2, 2), (0, 0)))
            patches = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)[::2]  # (n, in, 5)
            flat = patches.transpose(0, 2, 1).reshape(patches.shape[0], -1)
            values = np.maximum(
                0.0, flat @ kernel.reshape(kernel.shape[0], -1).T + weights[f"{name}_bias"]
            )
        joined = np.concatenate([values[-_LAST_POSITIONS:].reshape(-1), values.mean(axis=0)])
        hidden = np.maximum(0.0, weights["hidden"] @ joined + weights["hidden_bias"])
        logit = float((weights["out"] @ hidden + weights["out_bias"])[0])
        return float(1.0 / (1.0 + np.exp(-logit)))


@functools.cache
def packaged() -> TurnCompletion:
    """The network that comes with the package, loaded once."""
    path = resources.files("voicebot.turn").joinpath("models", MODEL_FILE)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return TurnCompletion({name: arrays[name] for name in arrays.files})
