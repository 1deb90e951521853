"""Whether a caller who is heard over the bot means to interrupt it.

             trigger: speech long enough            interrupt word, key, expected answer,
    PLAYING ───────────────────────────► PAUSED ──── or enough content words ────────────► CONFIRMED
       ▲                                    │
       └──── silence, backchannel, our own words, or nothing understood in time ───────────┘ resumed

Somebody who is not understood and goes on speaking means it too: then the second look takes longer. So
does somebody who is not understood and says it again, or whose word sounds like one that interrupts
(`voicebot.turn.interjection`).

The trigger only pauses: playing goes on from the same sample when the second look says that nobody
meant to interrupt. The same words that are a backchannel in the middle of a sentence are an answer when
the bot is asking for them.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation

_LOOK_AGAIN_MS = 40


class Verdict(Enum):
    """What the second look says."""

    UNDECIDED = "undecided"
    CONFIRMED = "confirmed"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the judge has to know besides the caller's words.

    Attributes:
        expectation: What the dialogue waits for.
        asking: The last prompt of the queue is playing: what is expected may be answered now.
        own_words: What the bot itself said in the last two seconds.
        min_words: So many words of content the prompt that plays can be cut with.
        speaking: The caller's voice is heard at this moment.
        ending: The caller has fallen silent: the final result is about to come.
        near: The voice is as loud as somebody who holds the telephone: words of others in the room cut
            nothing, whatever they are.
        clear_line: Our own voice does not come back, or it is weak: what paused the bot is no echo.
        sound_odds: How much likelier what was said is, by its sound, a word that interrupts than one
            that hums along, natural logarithm; None while nothing is known of it.
    """

    expectation: Expectation
    asking: bool
    own_words: tuple[str, ...]
    min_words: int = 1
    speaking: bool = False
    ending: bool = False
    near: bool = True
    clear_line: bool = True
    sound_odds: float | None = None


class BargeInJudge:
    """Decides one interruption after the other of one call; times in milliseconds."""

    def __init__(self, settings: TurnSettings) -> None:
        self._settings = settings
        self._interrupt = frozenset(settings.interrupt_words)
        self._backchannel = frozenset(settings.backchannel_words)
        # Small words are what a recogniser makes of a cough, and say nothing alone.
        self._empty = self._backchannel | {"[unk]", *settings.hesitation_words}
        self._deadline_ms: float | None = None
        self._triggered_ms = 0.0
        self._text = ""
        self._text_since_ms = 0.0
        self._looked_ms = 0.0
        self._spoke_ms = 0.0
        self._unclear_until_ms = 0.0
        self._again = False

    @property
    def paused(self) -> bool:
        """Whether a trigger waits for its verdict."""
        return self._deadline_ms is not None

    def trigger(self, now_ms: float, text: str = "") -> None:
        """The caller has spoken for long enough; playback pauses, ``text`` is the partial so far."""
        settings = self._settings
        self._triggered_ms = now_ms
        self._again = now_ms < self._unclear_until_ms
        wait_ms = settings.barge_in_confirm_ms
        self._deadline_ms = now_ms + (
            min(wait_ms, settings.barge_in_again_voice_ms) if self._again else wait_ms
        )
        self._text = text
        self._text_since_ms = now_ms

    def partial(self, text: str, overlap: Overlap, now_ms: float) -> Verdict:
        """The recogniser has heard this much; sure cases are decided at once.

        A word that interrupts must stand for a while: the bot is silent already, and "right" is heard as
        "wait" until its end.
        """
        if text != self._text:
            self._text, self._text_since_ms = text, now_ms
        if not self.paused or not overlap.near:
            return Verdict.UNDECIDED
        words = text.split()
        if self._is_echo(words, overlap):
            return Verdict.UNDECIDED
        expected = overlap.asking and self._is_expected(text, overlap.expectation)
        if expected or self._stands(words, now_ms):
            return self._decide(Verdict.CONFIRMED)
        needed = max(self._settings.barge_in_content_words, overlap.min_words)
        if len(self._content(words)) >= needed:
            return self._decide(Verdict.CONFIRMED)
        return Verdict.UNDECIDED

    def turn_ended(self, text: str, overlap: Overlap, confidence: float, now_ms: float) -> Verdict:
        """The caller's turn is over with this text, which is right with this probability."""
        if not self.paused:
            return Verdict.UNDECIDED
        return self._last_look(text, overlap, confidence, now_ms)

    def advance(self, now_ms: float, overlap: Overlap) -> Verdict:
        """Time passes: at the deadline what was heard so far decides."""
        if self._deadline_ms is None:
            return Verdict.UNDECIDED
        self._looked_ms = now_ms
        words = self._text.split()
        if overlap.near and self._stands(words, now_ms) and not self._is_echo(words, overlap):
            return self._decide(Verdict.CONFIRMED)
        if now_ms < self._deadline_ms:
            return Verdict.UNDECIDED
        if self._speaks_on(overlap):
            self._spoke_ms = now_ms
            meant_ms = self._triggered_ms + self._voice_ms(overlap)
            if now_ms >= meant_ms:
                return self._decide(Verdict.CONFIRMED)
            self._deadline_ms = min(meant_ms, now_ms + _LOOK_AGAIN_MS)
            return Verdict.UNDECIDED
        settings = self._settings
        # Somebody who speaks on draws breath: that is no end yet.
        since_ms = max(self._triggered_ms + settings.barge_in_confirm_ms, self._spoke_ms)
        latest_ms = since_ms + settings.barge_in_hold_ms + settings.asr_limit_ms
        if overlap.ending and now_ms < latest_ms:
            self._deadline_ms = min(latest_ms, now_ms + _LOOK_AGAIN_MS)
            return Verdict.UNDECIDED
        return self._last_look(self._text, overlap, 1.0, now_ms)

    def _stands(self, words: list[str], now_ms: float) -> bool:
        """Whether a word that interrupts has been heard for long enough."""
        stood_ms = now_ms - self._text_since_ms
        return stood_ms >= self._settings.barge_in_stable_ms and bool(
            self._interrupt.intersection(words)
        )

    def _voice_ms(self, overlap: Overlap) -> int:
        """How long somebody who is not understood has to speak on."""
        settings = self._settings
        if self._again:
            return settings.barge_in_again_voice_ms
        return settings.barge_in_voice_ms if overlap.clear_line else settings.barge_in_voice_echo_ms

    def _speaks_on(self, overlap: Overlap) -> bool:
        """Whether the caller is in the middle of something that is not understood."""
        words = self._text.split()
        return (
            overlap.speaking
            and overlap.min_words <= 1
            and not self._is_echo(words, overlap)
            and not self._content(words)
        )

    def key_pressed(self) -> Verdict:
        """A key is always meant."""
        return self._decide(Verdict.CONFIRMED) if self.paused else Verdict.UNDECIDED

    def next_deadline_ms(self) -> float | None:
        """When ``advance`` must decide."""
        if self._deadline_ms is None or not self._interrupt.intersection(self._text.split()):
            return self._deadline_ms
        stands_ms = self._text_since_ms + self._settings.barge_in_stable_ms
        return stands_ms if self._looked_ms < stands_ms < self._deadline_ms else self._deadline_ms

    def _last_look(self, text: str, overlap: Overlap, confidence: float, now_ms: float) -> Verdict:
        words = text.split()
        if overlap.asking and self._is_expected(text, overlap.expectation):
            return self._decide(Verdict.CONFIRMED)
        if not overlap.near:
            return self._decide(Verdict.RESUMED)
        meant = self._interrupt.intersection(words)
        content = self._content(words)
        too_few = not meant and overlap.min_words > 1 and len(content) < overlap.min_words
        humming = bool(words) and self._backchannel.issuperset(words)
        if too_few or humming or self._is_echo(words, overlap):
            return self._decide(Verdict.RESUMED)
        unsure = len(content) == 1 and confidence < self._settings.barge_in_confidence
        understood = bool(content) and not unsure
        if self._again or understood or self._sounds_meant(overlap):
            return self._decide(Verdict.CONFIRMED)
        if overlap.clear_line:
            self._unclear_until_ms = now_ms + self._settings.barge_in_again_ms
        return self._decide(Verdict.RESUMED)

    def _sounds_meant(self, overlap: Overlap) -> bool:
        """Whether what was not understood sounds like a word that interrupts, and is no echo of ours."""
        odds = overlap.sound_odds if overlap.clear_line and overlap.min_words <= 1 else None
        return odds is not None and odds >= self._settings.barge_in_sound_odds

    def _decide(self, verdict: Verdict) -> Verdict:
        self._deadline_ms = None
        self._text = ""
        return verdict

    def _content(self, words: list[str]) -> list[str]:
        return [w for w in words if w not in self._empty]

    @staticmethod
    def _is_expected(text: str, expectation: Expectation) -> bool:
        return bool(text) and (text in expectation.complete or text in expectation.phrases)

    def _is_echo(self, words: list[str], overlap: Overlap) -> bool:
        """Whether the words are found, in order, in what the bot itself has just said."""
        if not words or not overlap.own_words:
            return False
        matcher = SequenceMatcher(None, words, list(overlap.own_words), autojunk=False)
        found = sum(block.size for block in matcher.get_matching_blocks())
        return found / len(words) >= self._settings.own_words_share
