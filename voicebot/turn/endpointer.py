"""When the caller's turn is over.

            speech in N windows                 hold passed
    IDLE ────────────────────────► SPEAKING ─────────────────► committed (back to IDLE)
      ▲                              │    ▲
      │                      silence │    │ speech
      │                              ▼    │
      └───── discard() ──────────  TRAILING

Time is the caller's audio: positions in samples at 8 kHz, so the same audio gives the same decision
live and offline. Only when no audio comes at all (DTX, a dead line) does ``stall`` let passed-in time
stand for it. Silence alone cannot decide: the hold depends on what the dialogue expects and on what the
recogniser has heard so far (the table in ``TurnSettings``).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation

SAMPLES_PER_MS = 8
PAUSES_KEPT = 20

HoldReason = Literal["complete", "phrase", "understood", "digits", "open", "hesitation", "max_turn"]


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The caller began at ``start_samples`` (position in the caller's audio)."""

    start_samples: int


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The caller's turn went from ``start_samples`` to ``end_samples``; ``reason`` names the hold."""

    start_samples: int
    end_samples: int
    reason: HoldReason
    hold_ms: int


EndpointerEvent = SpeechStart | EndOfTurn


def count_digits(words: list[str]) -> int:
    """How many digits a partial stands for so far: ``double`` counts for the digit that follows it."""
    count = 0
    repeat = 1
    for word in words:
        if word in {"double", "triple"}:
            repeat = 2 if word == "double" else 3
        elif word in _DIGITS:
            count += repeat
            repeat = 1
    return count


_DIGITS = frozenset(
    ["zero", "oh", "nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
)


class Endpointer:
    """Turns speech probabilities and partial results into turn starts and ends, for one call.

    Args:
        settings: Holds.
        finished: How likely it is, 0 to 1, that the voice from one position to another has finished, as
            it sounds; asked once a pause of an open answer. By default nobody knows.
    """

    def __init__(
        self, settings: TurnSettings, finished: Callable[[int, int], float] = lambda _start, _now: 0.5
    ) -> None:
        self._settings = settings
        self._ask_finished = finished
        self._finished: float | None = None
        self._longest_hold_ms: int | None = None
        self._hesitations = frozenset(settings.hesitation_words)
        self._expectation = Expectation()
        self._run_windows = 0
        self._run_start = 0
        self._start: int | None = None
        self._speech_end = 0
        self._silence_start: int | None = None
        self._partial = ""
        self._partial_since = 0
        self._understood = ""
        self._pauses_ms: deque[float] = deque(maxlen=PAUSES_KEPT)
        self._now = 0

    @property
    def in_turn(self) -> bool:
        """Whether the caller's turn has begun and is not committed."""
        return self._start is not None

    @property
    def silent_samples(self) -> int:
        """For how long the caller has been silent within the turn under way, 0 while speaking."""
        return 0 if self._silence_start is None else self._now - self._silence_start

    def expect(self, expectation: Expectation) -> None:
        """Change what is expected; holds from the next window on."""
        self._expectation = expectation

    def partial(self, text: str) -> None:
        """The recogniser's view of the turn so far changed to ``text``."""
        if text != self._partial:
            self._partial = text
            self._partial_since = self._now

    def understood(self, text: str) -> None:
        """The dialogue knows what to do about this text, should it be all."""
        self._understood = text

    def hurry(self, longest_hold_ms: int | None) -> None:
        """No silence is waited for longer until this turn is over, or until None lifts that."""
        self._longest_hold_ms = longest_hold_ms

    def went_on(self, pause_ms: float) -> None:
        """The caller went on speaking after a pause of this length, within one turn."""
        if pause_ms >= self._settings.own_pause_min_ms:
            self._pauses_ms.append(pause_ms)

    def window(
        self, probability: float, end_samples: int, length_samples: int
    ) -> EndpointerEvent | None:
        """Take one window of the voice activity detector.

        Args:
            probability: Speech probability, 0 to 1.
            end_samples: Position at which the window ends.
            length_samples: Its length.
        """
        self._now = end_samples
        settings = self._settings
        if self._start is None:
            if probability < settings.speech_probability:
                self._run_windows = 0
                return None
            if self._run_windows == 0:
                self._run_start = end_samples - length_samples
            self._run_windows += 1
            if self._run_windows < settings.speech_start_windows:
                return None
            self._start = self._run_start
            self._speech_end = end_samples
            self._silence_start = None
            return SpeechStart(self._start)
        if probability >= settings.speech_probability:
            if self._silence_start is not None:
                silent = end_samples - length_samples - self._silence_start
                self.went_on(silent / SAMPLES_PER_MS)
            self._speech_end = end_samples
            self._silence_start = None
        elif probability < settings.silence_probability and self._silence_start is None:
            self._silence_start = end_samples - length_samples
            self._finished = None
        return self._decide()

    def begin(self, start_samples: int, now_samples: int) -> None:
        """A turn began at ``start_samples`` by another's decision (an interruption)."""
        self.discard()
        self._start = start_samples
        self._now = self._speech_end = now_samples

    def stall(self, silent_ms: int) -> EndOfTurn | None:
        """No audio came for ``silent_ms``: it counts as silence that follows the last window."""
        if self._start is None:
            return None
        if self._silence_start is None:
            self._silence_start = self._now
        return self._decide(self._now + silent_ms * SAMPLES_PER_MS)

    def discard(self) -> None:
        """Forget the turn under way (a key was pressed, or listening stopped)."""
        self._start = None
        self._silence_start = None
        self._longest_hold_ms = None
        self._finished = None
        self._run_windows = 0
        self._partial = self._understood = ""

    def hold(self) -> tuple[int, HoldReason]:
        """How much silence commits the turn, given what is known now, in milliseconds."""
        settings = self._settings
        expectation = self._expectation
        words = self._partial.split()
        stable = self._now - self._partial_since >= self._stable_ms() * SAMPLES_PER_MS
        if not words:
            return self._hold_open_ms(), "open"
        if expectation.kind == "digits":
            digits = count_digits(words)
            if digits >= expectation.max_digits > 0 and stable:
                return settings.hold_complete_ms, "complete"
            if 0 < digits < expectation.max_digits:
                return settings.hold_digits_ms, "digits"
        if self._partial in expectation.complete and stable:
            return settings.hold_complete_ms, "complete"
        if self._partial in expectation.phrases and stable:
            return settings.hold_phrase_ms, "phrase"
        if words[-1] in self._hesitations:
            return settings.hold_hesitation_ms, "hesitation"
        if self._partial == self._understood and stable:
            return settings.hold_understood_ms, "understood"
        return self._hold_open_ms(), "open"

    def _stable_ms(self) -> int:
        """For how long a partial must stand; less for words that came out when the caller was silent."""
        silence = self._silence_start
        late = silence is not None and self._partial_since > silence
        return self._settings.stable_silent_ms if late else self._settings.stable_partial_ms

    def _hold_open_ms(self) -> int:
        """The hold of an open answer: how the voice sounds, how long the caller's own pauses are."""
        settings = self._settings
        finished = self._finished_probability()
        if finished >= settings.finished_probability:
            return settings.hold_finished_ms
        sounds_unfinished = finished < settings.unfinished_probability
        hold_ms = settings.hold_unfinished_ms if sounds_unfinished else settings.hold_open_ms
        if len(self._pauses_ms) < settings.own_pauses:
            return hold_ms
        rank = int(settings.own_pause_quantile * (len(self._pauses_ms) - 1))
        own_ms = int(sorted(self._pauses_ms)[rank] * settings.own_pause_margin)
        return max(hold_ms, min(settings.hold_open_max_ms, own_ms))

    def _finished_probability(self) -> float:
        if self._start is None or self._silence_start is None:
            return 0.5
        if self._finished is None:
            self._finished = self._ask_finished(self._start, self._now)
        return self._finished

    def _decide(self, now: int | None = None) -> EndOfTurn | None:
        now = self._now if now is None else now
        start = self._start
        if start is None:
            return None
        if now - start >= self._settings.max_turn_ms * SAMPLES_PER_MS:
            return self._commit(start, "max_turn", 0)
        if self._silence_start is None:
            return None
        hold_ms, reason = self.hold()
        if self._longest_hold_ms is not None:
            hold_ms = min(hold_ms, self._longest_hold_ms)
        silent = now - self._silence_start
        since_speech = now - self._speech_end
        if silent < hold_ms * SAMPLES_PER_MS:
            return None
        if since_speech < self._settings.min_onset_ms * SAMPLES_PER_MS:
            return None
        return self._commit(start, reason, hold_ms)

    def _commit(self, start: int, reason: HoldReason, hold_ms: int) -> EndOfTurn:
        event = EndOfTurn(start, self._speech_end, reason, hold_ms)
        self.discard()
        return event
