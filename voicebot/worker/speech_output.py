"""What the bot is saying: utterances in order, from text to heard.

    say() ─► WAITING ─► RENDERING ─► SENT ─► finished (the edge has played it all)
                │            │         │
                └────────────┴─────────┴── clear() ─► interrupted, with the milliseconds heard

One utterance is rendered at a time, so audio reaches the edge in order; rendering is far faster than
real time, so the next one is ready before the first has been played.
"""

import re
from dataclasses import dataclass
from enum import Enum

from voicebot.dialogue.actions import Speak
from voicebot.dialogue.events import PromptFinished, PromptInterrupted
from voicebot.link.binary_media import BotAudio
from voicebot.link.messages import Clear, Cleared, EndUtterance, Played
from voicebot.worker.effects import (
    BeginSynthesis,
    CancelSynthesis,
    Effect,
    SpeechAudio,
    SpeechDone,
    ToEdge,
)

_WORD = re.compile(r"[\w'-]+")


class _State(Enum):
    WAITING = "waiting"
    RENDERING = "rendering"
    SENT = "sent"


BYTES_PER_MS = 8
ECHO_WINDOW_MS = 2000


@dataclass(slots=True)
class _Utterance:
    speak: Speak
    state: _State = _State.WAITING
    sent_bytes: int = 0
    played_ms: int = 0
    skip_bytes: int = 0

    def words(self, from_ms: int, to_ms: int) -> list[str]:
        """About the words of this part, as if all letters took the same time."""
        length_ms = max(self.sent_bytes // BYTES_PER_MS, 1)
        text = self.speak.text
        ends = [match.end() / max(len(text), 1) * length_ms for match in _WORD.finditer(text)]
        words = [match.group().lower() for match in _WORD.finditer(text)]
        return [word for word, end in zip(words, ends, strict=True) if from_ms < end <= to_ms]

    def interrupted(self, played_ms: int) -> PromptInterrupted:
        heard = " ".join(self.words(-1, played_ms))
        return PromptInterrupted(utterance=self.speak.utterance, played_ms=played_ms, heard=heard)


class SpeechOutput:
    """The queue of one call's utterances."""

    def __init__(self, *, first_generation: int = 0) -> None:
        self.generation = first_generation
        self._queue: list[_Utterance] = []
        self._cleared: dict[str, _Utterance] = {}

    @property
    def speaking(self) -> bool:
        """Whether anything is still to be heard by the caller."""
        return bool(self._queue)

    @property
    def speech_may_interrupt(self) -> bool:
        """Whether the caller's voice may cut what is being said and queued."""
        return all(u.speak.speech_barge_in for u in self._queue)

    @property
    def min_words(self) -> int:
        """How many words it takes to cut what is being said."""
        return self._queue[0].speak.min_words if self._queue else 1

    @property
    def dtmf_may_interrupt(self) -> bool:
        """Whether a key may cut what is being said and queued."""
        return all(u.speak.dtmf_barge_in for u in self._queue)

    @property
    def played_ms(self) -> int:
        """How much of what is queued now has been heard."""
        return sum(u.played_ms for u in self._queue)

    @property
    def last_prompt_playing(self) -> bool:
        """Whether nothing waits behind what is being said: the question, when there is one."""
        return len(self._queue) == 1

    def own_words(self) -> tuple[str, ...]:
        """What the caller has heard from us in the last two seconds, about."""
        words: list[str] = []
        for utterance in self._queue:
            if utterance.played_ms:
                start_ms = utterance.played_ms - ECHO_WINDOW_MS
                words += utterance.words(start_ms, utterance.played_ms + ECHO_WINDOW_MS // 8)
        return tuple(words)

    def say(self, speak: Speak, *, at_edge_bytes: int = 0, played_ms: int = 0) -> list[Effect]:
        """Queue an utterance.

        Args:
            speak: What to say.
            at_edge_bytes: So much of its audio has reached the edge from a worker before us.
            played_ms: How much of that the caller has heard.
        """
        self._queue.append(
            _Utterance(speak, sent_bytes=at_edge_bytes, played_ms=played_ms, skip_bytes=at_edge_bytes)
        )
        return self._render_next()

    def adopt(self, speak: Speak, played_ms: int) -> None:
        """An utterance of a worker before us is at the edge with all its audio."""
        self._queue.append(_Utterance(speak, _State.SENT, sent_bytes=1, played_ms=played_ms))

    @property
    def outstanding(self) -> tuple[Speak, ...]:
        """What has not been heard to its end, in order."""
        return tuple(u.speak for u in self._queue)

    def audio(self, audio: SpeechAudio) -> list[Effect]:
        """A piece was rendered; audio of utterances cleared meanwhile is dropped."""
        utterance = self._find(audio.utterance)
        if utterance is None:
            return []
        skipped = min(utterance.skip_bytes, len(audio.payload))
        utterance.skip_bytes -= skipped
        payload = audio.payload[skipped:]
        utterance.sent_bytes += len(payload)
        return [ToEdge(BotAudio(self.generation, audio.utterance, payload))] if payload else []

    def rendered(self, done: SpeechDone) -> tuple[list[Effect], list[PromptFinished]]:
        """An utterance has all its audio; one without any is finished at once, nobody waits for it."""
        utterance = self._find(done.utterance)
        if utterance is None:
            return [], []
        utterance.state = _State.SENT
        finished = []
        effects: list[Effect] = []
        if utterance.sent_bytes:
            effects.append(ToEdge(EndUtterance(utterance=done.utterance)))
        else:
            self._queue.remove(utterance)
            finished.append(PromptFinished(utterance=done.utterance))
        return effects + self._render_next(), finished

    def played(self, played: Played) -> list[PromptFinished]:
        """The edge reports progress."""
        utterance = self._find(played.utterance)
        if utterance is None:
            return []
        utterance.played_ms = played.played_ms
        if not played.finished:
            return []
        self._queue.remove(utterance)
        return [PromptFinished(utterance=played.utterance)]

    def clear(self) -> tuple[list[Effect], list[PromptInterrupted]]:
        """Stop speaking now. What never reached the edge is reported here, the rest by ``Cleared``."""
        if not self._queue:
            return [], []
        self.generation += 1
        effects: list[Effect] = [ToEdge(Clear(generation=self.generation))]
        interrupted = []
        for utterance in self._queue:
            name = utterance.speak.utterance
            if utterance.state is _State.RENDERING:
                effects.append(CancelSynthesis(name))
            if utterance.sent_bytes:
                self._cleared[name] = utterance
            else:
                interrupted.append(utterance.interrupted(0))
        self._queue.clear()
        return effects, interrupted

    def cleared(self, cleared: Cleared) -> list[PromptInterrupted]:
        """The edge says what of the cleared utterances was heard."""
        heard = {c.utterance: c.played_ms for c in cleared.utterances}
        interrupted = [
            utterance.interrupted(heard.get(name, utterance.played_ms))
            for name, utterance in self._cleared.items()
        ]
        self._cleared.clear()
        return interrupted

    def _find(self, name: str) -> _Utterance | None:
        return next((u for u in self._queue if u.speak.utterance == name), None)

    def _render_next(self) -> list[Effect]:
        if any(u.state is _State.RENDERING for u in self._queue):
            return []
        for utterance in self._queue:
            if utterance.state is _State.WAITING:
                utterance.state = _State.RENDERING
                speak = utterance.speak
                return [BeginSynthesis(speak.utterance, speak.text, speak.delivery)]
        return []
