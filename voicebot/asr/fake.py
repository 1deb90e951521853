"""A recogniser that hears what a script says: for tests, benchmarks and a first try without a model.

It is a fake and says so: it never listens to the audio, it only counts it.
"""

import threading
from collections.abc import Sequence

from voicebot.asr.protocol import SAMPLE_RATE_HZ, Hypothesis, Pcm, Word
from voicebot.core.errors import RecognitionError

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


class FakeFactory:
    """Hears the n-th line of the script in the n-th finished turn, then silence.

    Args:
        script: What is heard, turn by turn; "" is a turn in which nothing is understood. A line
            ``balance@1800`` stands as a partial hypothesis only after 1800 ms of audio.
        confidence: Of every word.
        partial_after_ms: The whole text stands as a partial hypothesis after this much audio.
        repeat: Begin again at the end of the script.
    """

    def __init__(
        self,
        script: Sequence[str] = (),
        *,
        confidence: float = 1.0,
        partial_after_ms: int = 100,
        repeat: bool = False,
    ) -> None:
        self.script = tuple(script)
        self.confidence = confidence
        self.partial_after_ms = partial_after_ms
        self.repeat = repeat
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Engine in one line."""
        return f"fake recogniser with a script of {len(self.script)} turns: it does not listen"

    def for_call(self) -> "FakeFactory":
        """The same script from its beginning, for one call."""
        return FakeFactory(
            self.script,
            confidence=self.confidence,
            partial_after_ms=self.partial_after_ms,
            repeat=self.repeat,
        )

    def start(self, grammar: Sequence[str] | None, kind: str = "") -> "FakeRecogniser":  # noqa: ARG002 - the protocol's signature
        """A recogniser for the next turn; the grammar is checked as the real engines check it."""
        if grammar is not None and (isinstance(grammar, str) or not grammar):
            raise RecognitionError("a grammar must have at least one phrase; None means free speech")
        return FakeRecogniser(self)

    def line(self) -> tuple[str, int]:
        """What the turn in progress will be heard as, and after how much audio (ms)."""
        with self._lock:
            line = ""
            if self.script and (self.repeat or self._turn < len(self.script)):
                line = self.script[self._turn % len(self.script)]
        text, mark, after_ms = line.rpartition("@")
        return (text, int(after_ms)) if mark else (line, self.partial_after_ms)

    def next_line(self) -> str:
        """The text of `line`, and the turn is over."""
        text, _ = self.line()
        with self._lock:
            self._turn += 1
        return text


class FakeRecogniser:
    """One turn of a `FakeFactory`."""

    def __init__(self, factory: FakeFactory) -> None:
        self._factory = factory
        self._samples = 0
        self._told = False
        self._finished = False

    def accept(self, pcm: Pcm) -> Hypothesis | None:
        """Count the audio; the whole text is the first and only partial hypothesis."""
        self._check()
        self._samples += len(pcm) // 2 if isinstance(pcm, bytes) else len(pcm)
        text, after_ms = self._factory.line()
        if self._told or self._audio_ms < after_ms:
            return None
        self._told = True
        return Hypothesis(text=text, audio_ms=self._audio_ms) if text else None

    def finish(self) -> Hypothesis:
        """The line of the script, its words spread evenly over the audio."""
        self._check()
        self._finished = True
        spoken = self._factory.next_line().split()
        step_ms = self._audio_ms // max(1, len(spoken))
        confidence = self._factory.confidence
        words = tuple(
            Word(word, index * step_ms, (index + 1) * step_ms, confidence)
            for index, word in enumerate(spoken)
        )
        return Hypothesis(
            text=" ".join(spoken),
            words=words,
            confidence=confidence if words else 0.0,
            final=True,
            audio_ms=self._audio_ms,
        )

    def close(self) -> None:
        """Nothing to free; the turn cannot go on."""
        self._finished = True

    @property
    def _audio_ms(self) -> int:
        return self._samples // SAMPLES_PER_MS

    def _check(self) -> None:
        if self._finished:
            raise RecognitionError("a recogniser serves one turn: it was finished before")
