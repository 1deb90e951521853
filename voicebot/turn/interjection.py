"""What a short word over the bot sounds like: does it interrupt, or does it only hum along?

    the word ─► 30 bands per 10 ms ─► four convolutions ─► words ─► odds of both sides

A second opinion where the recogniser understood nothing. The question is easier than the recogniser's:
not which word it is, but to which of two sides it belongs, and the network heard those words said by
many more people, as parts of sentences (``training/interjection.py``). Asked once an interruption.
"""

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Values = NDArray[np.float32]

RATE_HZ: Final = 8000
HOP_SAMPLES: Final = 80
WINDOW_SAMPLES: Final = 256
FRAMES: Final = 96
BANDS: Final = 30
MODEL_FILE: Final = "interjection.npz"
INTERRUPTS, HUMS_ALONG, NO_VOICE, OTHER = range(4)
"""Sides a word may be on; ``sides`` of the weights has one for each output."""
LAYERS: Final = ((5, 2), (5, 2), (3, 1), (3, 1))
"""Width and stride of the convolutions."""
QUIET: Final = -1.5
"""What the network sees where nothing is."""

_LOWEST_HZ, _HIGHEST_HZ = 150.0, 3700.0
_VOICE_RANGE_DB: Final = 30.0
_GAP_BLOCKS: Final = 25  # 250 ms: what comes after belongs to another word
_AROUND_BLOCKS: Final = 3
_LONGEST_BLOCKS: Final = 120  # what is longer is no word, and other rules judge it
_SHORTEST_BLOCKS: Final = 5
_NEVER_SURE: Final = 1e-3


def _mel(frequency_hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + frequency_hz / 700.0))


@functools.cache
def _bands(warp: float) -> Values:
    """Triangles of equal width in mel and equal weight, float32 (bins, bands)."""
    edges = 700.0 * (
        10.0 ** (np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), BANDS + 2) / 2595.0) - 1.0
    )
    edges = edges * warp
    bins = np.arange(WINDOW_SAMPLES // 2 + 1) * RATE_HZ / WINDOW_SAMPLES
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - low) / (centre - low)
    fall = (high - bins[:, None]) / (high - centre)
    weights = np.maximum(0.0, np.minimum(rise, fall))
    bands: Values = (weights / np.maximum(weights.sum(axis=0), 0.5)).astype(np.float32)
    return bands


def word_in(audio: Samples) -> Samples:
    """The loudest stretch without a gap of 250 ms, with 30 ms around it.

    Args:
        audio: int16 (n,) at 8 kHz.

    Returns:
        A part of it; nothing where there is less than 50 ms of audio.
    """
    blocks = audio.size // HOP_SAMPLES
    if blocks < _SHORTEST_BLOCKS:
        return audio[:0]
    values = audio[: blocks * HOP_SAMPLES].astype(np.float32).reshape(blocks, HOP_SAMPLES)
    power = np.square(values).mean(axis=1) + 1.0
    # A click is no voice: the loudest fiftieth does not say how loud the voice is.
    voice = np.sort(power)[-max(1, blocks // 50) - 1]
    loud = np.flatnonzero(power > voice * 10.0 ** (-_VOICE_RANGE_DB / 10.0))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > _GAP_BLOCKS) + 1)
    part = max(parts, key=lambda p: float(power[p].sum()))
    first, last = max(0, int(part[0]) - _AROUND_BLOCKS), int(part[-1]) + 1 + _AROUND_BLOCKS
    return audio[first * HOP_SAMPLES : min(blocks, last) * HOP_SAMPLES]


def features(word: Samples, frames: int = FRAMES, warp: float = 1.0) -> Values:
    """What the network sees of a word.

    Args:
        word: As `word_in` cuts it.
        frames: So many of its first frames.
        warp: Above 1 the bands lie higher: the word as if said by a smaller mouth.

    Returns:
        float32 (frames, 30), levels relative to the loud bands, `QUIET` behind the word.
    """
    seen = np.full((frames, BANDS), QUIET, np.float32)
    if not word.size:
        return seen
    values = np.pad(word.astype(np.float32), (0, max(0, WINDOW_SAMPLES - word.size)))
    cut = np.lib.stride_tricks.sliding_window_view(values, WINDOW_SAMPLES)[::HOP_SAMPLES][:frames]
    power = np.abs(np.fft.rfft(cut * np.hanning(WINDOW_SAMPLES).astype(np.float32))) ** 2
    level_db = 10.0 * np.log10(power @ _bands(warp) + 1e3)
    loud = float(np.percentile(level_db.max(axis=1), 90))
    seen[: len(cut)] = np.clip((level_db - loud) / 20.0, -2.5, 0.5) + 1.0
    return seen


@dataclass(frozen=True, slots=True)
class Interjection:
    """The trained network.

    Args:
        weights: Named arrays as ``training/interjection.py`` writes them: ``conv{1..4}`` (out, width,
            in), ``hidden`` (n, in), ``out`` (words, n), each with its ``_bias``; ``sides`` (words,).
    """

    weights: dict[str, Values]

    def odds(self, audio: Samples) -> float | None:
        """How much likelier it is that a word interrupts than that it only hums along.

        Args:
            audio: The turn until now with what was heard before it, int16 (n,) at 8 kHz.

        Returns:
            Natural logarithm of the odds, -7 to 7, about 0 for other words; None where there is no
            sound, or one longer than 1.2 s.
        """
        word = word_in(audio)
        if not word.size or word.size > _LONGEST_BLOCKS * HOP_SAMPLES:
            return None
        return self.score(features(word))

    def score(self, seen: Values) -> float:
        """The same of features, float32 (96, 30)."""
        weights, values = self.weights, seen
        for number, (width, stride) in enumerate(LAYERS, 1):
            kernel = weights[f"conv{number}"]
            padded = np.pad(values, ((width // 2, width // 2), (0, 0)))
            patches = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)[::stride]
            flat = patches.transpose(0, 2, 1).reshape(patches.shape[0], -1)
            values = np.maximum(
                0.0, flat @ kernel.reshape(kernel.shape[0], -1).T + weights[f"conv{number}_bias"]
            )
        joined = np.concatenate([values.mean(axis=0), values.max(axis=0)])
        hidden = np.maximum(0.0, weights["hidden"] @ joined + weights["hidden_bias"])
        logits = weights["out"] @ hidden + weights["out_bias"]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        sides = np.bincount(weights["sides"].astype(int), shares, minlength=OTHER + 1)
        return float(
            np.log(sides[INTERRUPTS] + _NEVER_SURE)
            - np.log(sides[HUMS_ALONG] + sides[NO_VOICE] + _NEVER_SURE)
        )


@functools.cache
def packaged() -> Interjection:
    """The network that comes with the package, loaded once."""
    path = resources.files("voicebot.turn").joinpath("models", MODEL_FILE)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Interjection({name: arrays[name].astype(np.float32) for name in arrays.files})
