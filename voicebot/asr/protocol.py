"""What the bot needs from a recogniser, whatever the engine."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
"""Rate of all audio given to a recogniser."""

UNKNOWN_WORD = "[unk]"
"""Stands in `Hypothesis.words` for speech that fits no word of the grammar."""

Pcm = bytes | NDArray[np.int16]
"""Mono 8 kHz audio: int16 (n,), or the same as little-endian bytes."""


class Word(msgspec.Struct, frozen=True):
    """One recognised word.

    Attributes:
        word: The word in lower case, or ``[unk]``.
        start_ms: From the first sample given to the recogniser.
        end_ms: As start_ms.
        confidence: 0 to 1, as the engine believes (not calibrated).
    """

    word: str
    start_ms: int
    end_ms: int
    confidence: float


class Alternative(msgspec.Struct, frozen=True):
    """Another reading of the same speech.

    Attributes:
        text: Without ``[unk]``.
        confidence: Its share among the readings that the engine kept; all sum to at most 1.
    """

    text: str
    confidence: float


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller said, as far as the recogniser knows.

    Attributes:
        text: Recognised words without ``[unk]``, "" when nothing was understood.
        words: With times, in final hypotheses only.
        confidence: Probability that the whole text is right, 0 to 1, where the model was calibrated
            (`voicebot.asr.calibration`); else the mean over the words, where ``[unk]`` counts as 0.
            0.0 for no words and in partial hypotheses.
        final: Nothing will change any more.
        audio_ms: How much audio had been given.
        stable_ms: Partial only: for how much audio the text has been the same.
        unknown_words: How many ``[unk]`` were heard.
        alternatives: Other readings than `text`, best first; empty unless the engine was asked.
        margin: Log-likelihood of the text above that of no word of the grammar (`voicebot.asr.filler`);
            None where it was not measured.
    """

    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    final: bool = False
    audio_ms: int = 0
    stable_ms: int = 0
    unknown_words: int = 0
    alternatives: tuple[Alternative, ...] = ()
    margin: float | None = None


class Recogniser(Protocol):
    """One call's one turn. Blocking; to be used by one thread at a time.

    Misuse (two threads at once, use after finish or close) raises `RecognitionError`.
    """

    def accept(self, pcm: Pcm) -> Hypothesis | None:
        """Take more audio, any length; returns the partial hypothesis when its text changed."""

    def finish(self) -> Hypothesis:
        """Decide now: the final hypothesis of everything given. Nothing may follow but `close`."""

    def close(self) -> None:
        """Free the engine's memory; may be called more than once."""


class RecogniserFactory(Protocol):
    """An engine with its model loaded, shared by all calls and threads."""

    @property
    def description(self) -> str:
        """Engine and model in one line, for logs and the doctor."""

    def start(self, grammar: Sequence[str] | None, kind: str = "") -> Recogniser:
        """A recogniser for one turn.

        Args:
            grammar: Every phrase that may be said, in words; None for free speech.
            kind: What kind of answer the grammar is for (`Expectation.kind`): confidences are
                calibrated by kind; "" for any.

        Raises:
            RecognitionError: An empty or malformed grammar.
        """
