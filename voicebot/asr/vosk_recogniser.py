"""Streaming recognition over Vosk that cannot be misused into an abort.

Vosk is C++: a malformed grammar segfaults, a grammar changed in mid-utterance aborts, two threads in
one recogniser corrupt memory. Here every such use is a `RecognitionError` before Vosk sees it:

    grammar      checked, lower-cased, words looked up, given to the constructor only
    threads      one at a time, held by a lock that does not wait
    life         one recogniser per turn: accept* -> finish -> close
    audio        converted to bytes, resampled to the model's rate with carried state

A C++ abort that is not on this list still takes the worker process down, which is why workers are
processes of their own: the supervisor starts the next one and the edge replays the unheard audio.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import vosk
from numpy.typing import NDArray

from voicebot.asr.background import PHRASE_KINDS, Loudness, without_background
from voicebot.asr.calibration import raw_confidence
from voicebot.asr.filler import FillerModel, best_score, filler_works
from voicebot.asr.protocol import (
    SAMPLE_RATE_HZ,
    UNKNOWN_WORD,
    Alternative,
    Hypothesis,
    Pcm,
    Word,
)
from voicebot.asr.vosk_model import ModelDirectory, packaged_model, read_model_directory
from voicebot.audio.resampler import Resampler
from voicebot.core.errors import ConfigError, RecognitionError

FREE_KIND: Final = "free"
"""Kind of a turn without a grammar."""

MAX_PHRASES: Final = 5000
"""A larger grammar takes longer to build than a caller will wait."""

CALIBRATED_READINGS: Final = 3
"""So many further readings a calibration is fitted with; fewer give other confidences."""

SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1000


class VoskFactory:
    """A loaded Vosk model, shared by all calls and threads.

    Args:
        model_path: Any Vosk model directory; None for the packaged narrowband model.
        alternatives: How many further readings a final hypothesis carries. With 0 the words'
            confidences are Vosk's own; else a word's is the share of the readings that hold it there.
        warm: Decode half a second of silence now, so that the first caller does not wait for it.
        margin: Measure `Hypothesis.margin`; None: where the model's calibration looks at it.

    Raises:
        ConfigError: The directory cannot be used.
    """

    def __init__(
        self,
        model_path: Path | None = None,
        *,
        alternatives: int = 0,
        warm: bool = True,
        margin: bool | None = None,
    ) -> None:
        self.directory: ModelDirectory = read_model_directory(model_path or packaged_model())
        self.alternatives = alternatives
        vosk.SetLogLevel(-1)
        try:
            # Always a path: given anything else, Vosk would look for a model to download.
            self._model = vosk.Model(model_path=str(self.directory.path))
        except Exception as error:  # Vosk raises the bare class
            raise ConfigError(
                f"Vosk refuses the model directory {self.directory.path}", key="asr.model_path"
            ) from error
        calibration = self.directory.calibration
        if margin is None:
            margin = calibration is not None and calibration.needs_margin
        try:
            self._filler = (
                FillerModel(self.directory) if margin and filler_works(self.directory) else None
            )
        except OSError as error:
            raise ConfigError(
                f"the model {self.directory.path} needs a folder for temporary files: {error}",
                key="asr.model_path",
            ) from error
        if warm:
            recogniser = self.start(None)
            recogniser.accept(np.zeros(SAMPLE_RATE_HZ // 2, np.int16))
            recogniser.finish()

    @property
    def description(self) -> str:
        """Engine and model in one line."""
        directory = self.directory
        kind = "grammars" if directory.grammars else "fixed graph, grammars ignored"
        confidence = "" if directory.calibration else ", confidence not calibrated"
        return (
            f"vosk, {directory.path.name}, {directory.sample_rate_hz} Hz, "
            f"{len(directory.words)} words, {kind}{confidence}"
        )

    def unknown_words(self, grammar: Sequence[str]) -> tuple[str, ...]:
        """Words of a grammar that the model has no pronunciation for, sorted."""
        words = {word for phrase in grammar for word in phrase.lower().split()}
        return tuple(sorted(words - self.directory.words - {UNKNOWN_WORD}))

    def start(self, grammar: Sequence[str] | None, kind: str = "") -> "VoskRecogniser":
        """A recogniser for one turn.

        A model with a fixed graph cannot be narrowed: the grammar is checked and then left aside.

        Args:
            grammar: As `RecogniserFactory.start`.
            kind: As `RecogniserFactory.start`; without a grammar always "free".

        Raises:
            RecognitionError: The grammar is empty, no list of strings, too long, or knows no word.
        """
        phrases = None if grammar is None else self._checked(grammar)
        kind = kind if phrases else FREE_KIND
        return VoskRecogniser(
            self._model, self.directory, phrases, kind, self.alternatives, self._filler
        )

    def _checked(self, grammar: Sequence[str]) -> list[str]:
        """The grammar as Vosk may have it: lower case, known words only, ``[unk]`` last, once.

        A phrase that is in it twice is twice as likely.
        """
        # A string is a sequence of strings, and Python callers are not all type-checked.
        if isinstance(grammar, str) or not isinstance(grammar, Sequence):
            raise RecognitionError("a grammar must be a list of phrases")
        if not grammar:
            raise RecognitionError("a grammar must have at least one phrase; None means free speech")
        if len(grammar) > MAX_PHRASES:
            raise RecognitionError(f"a grammar of {len(grammar)} phrases; at most {MAX_PHRASES}")
        phrases: list[str] = []
        for phrase in grammar:
            if not isinstance(phrase, str):
                raise RecognitionError(f"a grammar holds phrases, not {type(phrase).__name__}")
            if "\0" in phrase:
                raise RecognitionError("a phrase of the grammar holds a NUL")
            words = [self._known(word) for word in phrase.lower().split()]
            kept = [word for word in words if word]
            text = " ".join(kept)
            if all(word == UNKNOWN_WORD for word in kept) or (UNKNOWN_WORD in kept and text in phrases):
                continue
            phrases.append(text)
        if not phrases:
            raise RecognitionError("the model knows no word of this grammar")
        return [*phrases, UNKNOWN_WORD] if self.directory.has_unknown_word else phrases

    def _known(self, word: str) -> str:
        """The word, or its stand-in where the model has no pronunciation."""
        if word in self.directory.words:
            return word
        return UNKNOWN_WORD if self.directory.has_unknown_word else ""


class VoskRecogniser:
    """One call's one turn; made by `VoskFactory.start`."""

    def __init__(
        self,
        model: Any,
        directory: ModelDirectory,
        phrases: list[str] | None,
        kind: str,
        alternatives: int,
        filler: FillerModel | None,
    ) -> None:
        self.phrases = phrases if directory.grammars else None
        self._kind = kind
        self._loudness = Loudness() if self.phrases and kind in PHRASE_KINDS else None
        self._calibration = directory.calibration
        rate_hz = directory.sample_rate_hz
        arguments = [model, rate_hz] + ([json.dumps(self.phrases)] if self.phrases else [])
        self._engine: Any = vosk.KaldiRecognizer(*arguments)
        self._engine.SetWords(True)
        self._alternatives = alternatives
        self._filler = filler.start() if filler and self.phrases else None
        readings = max(alternatives, CALIBRATED_READINGS if self._filler else 0)
        if readings:
            self._engine.SetMaxAlternatives(readings + 1)
        self._score = 0.0
        self._resampler = Resampler(SAMPLE_RATE_HZ, rate_hz)
        self._busy = threading.Lock()
        self._finished = False
        self._segments: list[Hypothesis] = []
        self._samples = 0
        self._text = ""
        self._text_since_samples = 0

    def accept(self, pcm: Pcm) -> Hypothesis | None:
        """Take more audio; returns the partial hypothesis when its text changed."""
        with self._alone():
            samples = _as_samples(pcm)
            self._samples += samples.size
            if samples.size == 0:
                return None
            if self._loudness:
                self._loudness.feed(samples)
            if self._feed(self._resampler.feed(samples).tobytes()):
                # Vosk's own endpointer closed a segment; the turn is ours to end, so go on.
                self._close_segment(self._engine.Result())
            # Between two segments Vosk answers with an empty final result instead of a partial one.
            partial = json.loads(self._engine.PartialResult()).get("partial", "")
            text = _joined([*(s.text for s in self._segments), _without_unknown(partial)])
            if text == self._text:
                return None
            self._text, self._text_since_samples = text, self._samples
            return Hypothesis(text=text, audio_ms=self._samples // SAMPLES_PER_MS)

    @property
    def partial(self) -> Hypothesis:
        """The partial hypothesis as it stands, with how long its text has been the same."""
        return Hypothesis(
            text=self._text,
            audio_ms=self._samples // SAMPLES_PER_MS,
            stable_ms=(self._samples - self._text_since_samples) // SAMPLES_PER_MS,
        )

    def finish(self) -> Hypothesis:
        """The final hypothesis of everything given."""
        with self._alone():
            self._finished = True
            tail = self._resampler.flush()
            if tail.size:
                self._feed(tail.tobytes())
            self._close_segment(self._engine.FinalResult())
            margin = self._score - self._filler.finish() if self._filler else None
            self._engine = self._filler = None
            return self._whole(margin)

    def close(self) -> None:
        """Free the engine's memory."""
        if not self._busy.acquire(blocking=False):
            raise RecognitionError("a recogniser was closed while another thread used it")
        try:
            self._finished = True
            self._engine = self._filler = None
        finally:
            self._busy.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise RecognitionError("a recogniser was used by two threads at once")
        try:
            if self._finished:
                raise RecognitionError("a recogniser serves one turn: it was finished before")
            yield
        finally:
            self._busy.release()

    def _feed(self, samples: bytes) -> bool:
        if self._filler:
            self._filler.accept(samples)
        return bool(self._engine.AcceptWaveform(samples))

    def _close_segment(self, result: str) -> None:
        found = json.loads(result)
        self._score += best_score(found)
        self._segments.append(_final(found))

    def _whole(self, margin: float | None) -> Hypothesis:
        """All segments as one hypothesis."""
        words = tuple(word for segment in self._segments for word in segment.words)
        if self._loudness and self.phrases:
            words = without_background(words, self._loudness.of(words), self.phrases)
        spoken = [segment for segment in self._segments if segment.words]
        calibration = self._calibration
        confidence = (
            calibration.confidence(self._kind, words, margin) if calibration else raw_confidence(words)
        )
        # Readings of several segments multiply; the last spoken one is where readings still differ.
        alternatives = spoken[0].alternatives if len(spoken) == 1 else ()
        return Hypothesis(
            text=_without_unknown(" ".join(word.word for word in words)),
            words=words,
            confidence=confidence,
            final=True,
            audio_ms=self._samples // SAMPLES_PER_MS,
            unknown_words=sum(w.word == UNKNOWN_WORD for w in words),
            alternatives=alternatives[: self._alternatives],
            margin=margin,
        )


def _as_samples(pcm: Pcm) -> NDArray[np.int16]:
    """Check and view audio as int16 samples."""
    if isinstance(pcm, bytes):
        if len(pcm) % 2:
            raise RecognitionError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        return np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)
    if isinstance(pcm, np.ndarray) and pcm.dtype == np.int16 and pcm.ndim == 1:
        return pcm
    raise RecognitionError("audio must be bytes or a one-dimensional int16 array")


def _final(result: dict[str, Any]) -> Hypothesis:
    """One of Vosk's results, with or without alternatives."""
    if "alternatives" not in result:
        words = tuple(_word(row, row.get("conf", 0.0)) for row in result.get("result", []))
        return Hypothesis(text=_without_unknown(result.get("text", "")), words=words, final=True)
    readings = result["alternatives"]
    if not readings:
        return Hypothesis(text="", final=True)
    scores = np.array([reading["confidence"] for reading in readings])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    rows = [reading.get("result", []) for reading in readings]
    words = tuple(
        _word(row, sum(s for s, other in zip(shares, rows, strict=True) if _holds(other, row)))
        for row in rows[0]
    )
    by_text: dict[str, float] = {}
    for reading, share in zip(readings, shares, strict=True):
        text = _without_unknown(reading["text"])
        by_text[text] = by_text.get(text, 0.0) + float(share)
    best = _without_unknown(readings[0]["text"])
    others = sorted(((t, s) for t, s in by_text.items() if t != best), key=lambda pair: -pair[1])
    return Hypothesis(
        text=best,
        words=words,
        final=True,
        alternatives=tuple(Alternative(text, round(share, 4)) for text, share in others),
    )


def _holds(reading: list[dict[str, Any]], wanted: dict[str, Any]) -> bool:
    """Whether a reading has this word at this time."""
    return any(
        row["word"] == wanted["word"] and row["start"] < wanted["end"] and row["end"] > wanted["start"]
        for row in reading
    )


def _word(row: dict[str, Any], confidence: float) -> Word:
    known = 0.0 if row["word"] == UNKNOWN_WORD else float(min(1.0, max(0.0, confidence)))
    return Word(row["word"], round(row["start"] * 1000), round(row["end"] * 1000), round(known, 4))


def _without_unknown(text: str) -> str:
    return " ".join(word for word in text.split() if word != UNKNOWN_WORD)


def _joined(texts: list[str]) -> str:
    return " ".join(text for text in texts if text)
