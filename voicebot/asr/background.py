"""Phrases of other people in the background, told from the caller's by how loud they are.

Vosk's grammars let any phrases follow one another, so a television behind a caller who says "no" gives
"no three". Who speaks into a telephone is much louder than whoever else is heard in it, and where the
grammar is a list of phrases (menu, choice, yes or no) a caller says one of them: what is
DIMMEST_PHRASE_DB below the loudest phrase of the turn is somebody else's. Two about as loud stay.

The limit was chosen on development speakers (docs/benchmarks.md). Digits are not judged so: between one
person's digits there may be more than 18 dB.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.asr.protocol import SAMPLE_RATE_HZ, UNKNOWN_WORD, Word

PHRASE_KINDS: Final = frozenset({"menu", "choice", "yes_no"})
DIMMEST_PHRASE_DB: Final = 6.0

_FRAME_MS: Final = 20
_FRAME_SAMPLES: Final = SAMPLE_RATE_HZ * _FRAME_MS // 1000


class Loudness:
    """How loud a turn was, in frames of 20 ms. Feed audio in pieces of any length."""

    def __init__(self) -> None:
        self._levels: list[NDArray[np.float64]] = []
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    def feed(self, samples: NDArray[np.int16]) -> None:
        """Take more audio, mono 8 kHz, int16 (n,)."""
        if self._rest.size:
            samples = np.concatenate([self._rest, samples])
        whole = samples.size // _FRAME_SAMPLES * _FRAME_SAMPLES
        self._rest = samples[whole:].copy()
        if whole:
            frames = samples[:whole].reshape(-1, _FRAME_SAMPLES).astype(np.float64)
            self._levels.append(np.einsum("ij,ij->i", frames, frames) / _FRAME_SAMPLES)

    def of(self, words: Sequence[Word]) -> list[float]:
        """The level of each word's loudest frame in dB, 0 for silence."""
        levels = np.concatenate([*self._levels, np.zeros(1)])
        loudest = []
        for word in words:
            first = min(word.start_ms // _FRAME_MS, levels.size - 1)
            last = max(first + 1, word.end_ms // _FRAME_MS)
            loudest.append(float(10 * np.log10(levels[first:last].max() + 1)))
        return loudest


def without_background(
    words: tuple[Word, ...], levels: Sequence[float], phrases: Collection[str]
) -> tuple[Word, ...]:
    """The words with phrases of the background replaced by ``[unk]``.

    Args:
        words: Of a final hypothesis, with ``[unk]``. Where they are not phrases one after the other,
            nothing is known of what belongs together, and they stay.
        levels: Of each, in dB.
        phrases: The grammar.
    """
    known = [index for index, word in enumerate(words) if word.word != UNKNOWN_WORD]
    sizes = _phrases_in([words[index].word for index in known], phrases)
    ends = np.cumsum(sizes, dtype=int)
    groups = [known[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    loudest = [max(levels[index] for index in group) for group in groups]
    dim = {
        index
        for group, level in zip(groups, loudest, strict=True)
        if level < max(loudest) - DIMMEST_PHRASE_DB
        for index in group
    }
    return tuple(
        Word(UNKNOWN_WORD, word.start_ms, word.end_ms, 0.0) if index in dim else word
        for index, word in enumerate(words)
    )


def _phrases_in(said: Sequence[str], phrases: Collection[str]) -> list[int]:
    """How many words each phrase has when cut into the fewest phrases; empty: it cannot be cut."""
    grammar = {tuple(phrase.split()) for phrase in phrases}
    sizes = sorted({len(phrase) for phrase in grammar})
    best: list[list[int] | None] = [[]]
    for end in range(1, len(said) + 1):
        ways = [
            [*before, size]
            for size in sizes
            if size <= end
            and (before := best[end - size]) is not None
            and tuple(said[end - size : end]) in grammar
        ]
        best.append(min(ways, key=len, default=None))
    return best[-1] or []
