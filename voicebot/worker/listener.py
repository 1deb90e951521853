"""The caller's side of a turn: frames in, turn starts, barge-in, turn ends and silence out.

CallerAudio ─► decode ─► voice activity ─► endpointer ─► TurnStarted, TurnEnded
                  │                                 └──► BargeIn while the bot speaks
                  └─► pre-roll ring, so that the recogniser gets the start of the first word
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import Listen
from voicebot.link.binary_media import CallerAudio
from voicebot.turn import completion, interjection
from voicebot.turn.echo_path import EchoPath, EchoState
from voicebot.turn.echo_reference import EchoReference
from voicebot.turn.echo_trigger import EchoTrigger
from voicebot.turn.endpointer import SAMPLES_PER_MS, EndOfTurn, Endpointer, HoldReason, SpeechStart
from voicebot.turn.voice_activity import WINDOW_SAMPLES, VadWindow, VoiceActivityDetector
from voicebot.turn.voice_history import VoiceHistory
from voicebot.turn.voicing import LOOKED_AT_SAMPLES, is_voice

FULL_SCALE = 32768.0
FRAME_MS = 20
FRAME_SAMPLES = 160
ARRIVALS_KEPT = 1500  # 30 s
_NOTHING_DBOV = -127.0


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The caller speaks; ``payloads`` is the audio heard so far, oldest first."""

    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TurnAudio:
    """20 ms more of the turn."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller has spoken over the bot for long enough to mean it."""


@dataclass(frozen=True, slots=True)
class TurnPaused:
    """The caller fell silent within a turn: it may be over."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is committed. Times are arrival times of the caller's audio, in milliseconds."""

    speech_ms: int
    packet_in_ms: float
    speech_end_ms: float
    reason: HoldReason
    hold_ms: int
    level_dbov: float | None = None
    """Mean level of the frames with voice; None where there was none."""


@dataclass(frozen=True, slots=True)
class TurnIgnored:
    """What began does not count: a key was pressed, or nobody meant to interrupt the bot."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The caller said nothing for the time that the dialogue gave."""


ListenerEvent = TurnStarted | TurnAudio | BargeIn | TurnPaused | TurnEnded | TurnIgnored | Silence


class Listener:
    """Hears one caller."""

    def __init__(
        self,
        settings: TurnSettings,
        detector: VoiceActivityDetector,
        echo: EchoPath | None = None,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._echo = echo or EchoPath(settings.echo)
        self._reference = EchoReference()
        self._trigger = EchoTrigger(settings.echo_trigger, settings.barge_in_ms)
        self._voice = VoiceHistory()
        self._completion = completion.packaged()
        self._interjection = interjection.packaged()
        self._looking = False
        self._sound_odds: float | None = None
        self._endpointer = Endpointer(settings, self._sounds_finished)
        self._listen: Listen | None = None
        self._preroll: deque[bytes] = deque(maxlen=max(1, settings.preroll_ms // FRAME_MS))
        self._arrivals_ms: deque[float] = deque(maxlen=ARRIVALS_KEPT)
        self._frames = 0
        self._ended_samples = 0
        self._gap_ms = 0.0
        self._voice_power = 0.0
        self._voice_frames = 0
        self._loudest_dbov = _NOTHING_DBOV
        self._near_dbov = settings.barge_in_near_dbov
        self._last_frame_ms = 0.0
        self._stall_checked_ms = 0.0
        self._bot_spoke = False
        self._silence_since_ms: float | None = None

    @property
    def in_turn(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self._endpointer.in_turn

    @property
    def voice_now(self) -> bool:
        """Whether a caller speaks at this moment who is near the telephone."""
        speaks = self._endpointer.in_turn and not self._endpointer.silent_samples
        return speaks and self._voice.level_dbov >= self._settings.barge_in_voice_dbov

    @property
    def loudest_dbov(self) -> float:
        """The loudest 100 ms of the turn under way, without our echo where that is known."""
        return self._loudest_dbov

    @property
    def near(self) -> bool:
        """Whether the voice that is heard is about as loud as the caller's."""
        return self._loudest_dbov >= self._near_dbov

    @property
    def clear_line(self) -> bool:
        """Whether it is known that our own voice does not come back, or is weak when it does."""
        loss_db = self._echo.return_loss_db
        weak = loss_db is not None and loss_db >= self._settings.barge_in_clear_loss_db
        return weak or self._echo.state is EchoState.NO_ECHO

    @property
    def sound_odds(self) -> float | None:
        """Of the turn that ended while an interruption was being judged: see `Overlap.sound_odds`."""
        return self._sound_odds

    @property
    def expects_more(self) -> bool:
        """Whether what was heard so far is surely not all: too few digits, or it ends in "and"."""
        return self._endpointer.hold()[1] in {"digits", "hesitation"}

    @property
    def ending_now(self) -> bool:
        """Whether the caller has just fallen silent in the middle of a turn."""
        return self._endpointer.in_turn and self._endpointer.silent_samples > 0

    @property
    def echo_return_loss_db(self) -> float | None:
        """How much weaker our voice comes back; None when it does not, or it is not known."""
        return self._echo.return_loss_db

    @property
    def listening(self) -> Listen | None:
        """What the dialogue waits for, None when for nothing."""
        return self._listen

    @property
    def expectation(self) -> Expectation:
        """What the dialogue waits for."""
        return self._listen.expectation if self._listen else Expectation()

    def listen(self, listen: Listen | None, now_ms: float) -> list[ListenerEvent]:
        """Wait for another answer, or for none; a turn under way does not count any more."""
        events = self._drop_turn()
        self._listen = listen
        self._endpointer.expect(self.expectation)
        self._silence_since_ms = None if self._bot_spoke else now_ms
        return events

    def bot_speaking(self, speaking: bool, now_ms: float) -> None:
        """The bot began to speak, or all of it has been heard."""
        if self._bot_spoke and not speaking:
            self._silence_since_ms = now_ms
        self._bot_spoke = speaking
        if speaking:
            self._silence_since_ms = None

    def partial(self, text: str) -> None:
        """The recogniser has heard this much."""
        self._endpointer.partial(text)

    def understood(self, text: str) -> None:
        """The dialogue knows what to do about this text, should it be all."""
        self._endpointer.understood(text)

    def rearm(self, now_ms: float) -> None:
        """What was heard was nothing: wait for an answer anew."""
        if not self._bot_spoke:
            self._silence_since_ms = now_ms

    def continue_turn(self, listen: Listen) -> None:
        """What is being said belongs to the turn before: it answers what was asked then."""
        self._endpointer.went_on(self._gap_ms)
        self._listen = listen
        self._endpointer.expect(listen.expectation)

    def resumed(self, *, far: bool = False) -> list[ListenerEvent]:
        """The interruption was none: the bot speaks on, what was heard does not count.

        Args:
            far: It was somebody far away, who may well go on.
        """
        self._trigger.reset()
        if far:
            self._trigger.ignore_below(self._loudest_dbov + self._settings.barge_in_far_margin_db)
        return self._drop_turn()

    def caller_speaks_at(self, level_dbov: float) -> None:
        """The caller's own level is known: what is nearly as loud is never too far away."""
        self._near_dbov = level_dbov - self._settings.barge_in_below_own_db
        self._trigger.hear_from(self._near_dbov)

    def second_look(self, *, looking: bool) -> None:
        """An interruption is being judged: its words are wanted soon, not once its turn is over."""
        self._endpointer.hurry(self._settings.barge_in_hold_ms if looking else None)
        self._looking, self._sound_odds = looking, None

    def sent(self, position_samples: int, payload: bytes) -> None:
        """20 ms went to the caller: mu-law that ends at this position of the outgoing stream."""
        self._reference.sent(position_samples, payload)

    def key_pressed(self, now_ms: float) -> list[ListenerEvent]:
        """A key counts as input: what the line carries at the same time is its tone, not speech."""
        self.rearm(now_ms)
        return self._drop_turn()

    def audio(
        self, frame: CallerAudio, now_ms: float, *, may_interrupt: bool, asking: bool = False
    ) -> list[ListenerEvent]:
        """Take 20 ms of the caller.

        Args:
            frame: Audio in order; concealed frames count as what they sound like.
            now_ms: Time of arrival.
            may_interrupt: Whether speech may cut what the bot is saying.
            asking: What the bot is saying is a question: an answer counts however far away it is.
        """
        self._last_frame_ms = now_ms
        self._arrivals_ms.append(now_ms)
        heard = decode_ulaw(frame.payload)
        reference, active = self._reference.at(self._frames, frame.position_samples)
        self._frames += 1
        echo = self._echo.process(heard, reference, active)
        # Before the line is known the canceller takes more of the caller than of an echo.
        cancelled = echo.echo_expected and echo.state is EchoState.ECHO
        payload = encode_ulaw(echo.residual) if cancelled else frame.payload
        self._preroll.append(payload)
        self._voice.add(echo.residual if cancelled else heard)
        windows = self._detector.feed(heard)
        triggered = self._trigger.feed(echo, windows)
        if self._listen is None or (self._bot_spoke and not may_interrupt):
            return []
        if self._bot_spoke and not self._endpointer.in_turn:
            voice = triggered and self._is_voice(asking=asking, cancelled=cancelled)
            return self._interrupt(windows) if voice else []
        events: list[ListenerEvent] = []
        if self._endpointer.in_turn:
            self._loudest_dbov = max(self._loudest_dbov, self._voice.loudness_dbov)
            events.append(TurnAudio(payload))
            if not self._endpointer.silent_samples:
                self._voice_power += float(np.square(heard, dtype=np.float64).mean())
                self._voice_frames += 1
        own_voice = cancelled and echo.unexplained < self._settings.echo_trigger.unexplained_share
        for window in windows:
            probability = 0.0 if own_voice else window.probability
            change = self._endpointer.window(probability, window.end_sample, WINDOW_SAMPLES)
            if isinstance(change, SpeechStart):
                self._silence_since_ms = None
                self._loudest_dbov = self._voice.loudness_dbov
                self._gap_ms = (change.start_samples - self._ended_samples) / SAMPLES_PER_MS
                events.append(TurnStarted(tuple(self._preroll)))
            elif isinstance(change, EndOfTurn):
                events.append(self._ended(change))
            elif self._endpointer.in_turn and self._paused():
                events.append(TurnPaused())
        return events

    def _sounds_finished(self, start_samples: int, _now_samples: int) -> float:
        return self._completion.probability(self._voice.since(start_samples))

    def _is_voice(self, *, asking: bool, cancelled: bool) -> bool:
        """Whether what triggers has the pitch of a voice, and comes from near the telephone.

        The detector hears a voice in a cough or a tone too, and while our own echo is in what it hears,
        whatever else is there.
        """
        settings = self._settings
        quietest_dbov = settings.echo_trigger.quietest_dbov if asking else self._near_dbov
        latest = self._voice.latest(LOOKED_AT_SAMPLES)
        return is_voice(latest, quietest_dbov, settings, cancelled=cancelled)

    def _interrupt(self, windows: list[VadWindow]) -> list[ListenerEvent]:
        """The caller is heard over the bot: a turn begins, dated back to where the voice began."""
        if not windows:
            return []
        self._trigger.reset()
        self._loudest_dbov = self._voice.loudness_dbov
        self._silence_since_ms = None
        lasted = self._settings.barge_in_ms * SAMPLES_PER_MS
        self._endpointer.begin(windows[-1].end_sample - lasted, windows[-1].end_sample)
        return [TurnStarted(tuple(self._preroll)), BargeIn()]

    def advance(self, now_ms: float) -> list[ListenerEvent]:
        """Time passes: silence is noticed, and a turn ends although no more audio comes."""
        events: list[ListenerEvent] = []
        silent_ms = now_ms - self._last_frame_ms
        if self._endpointer.in_turn and silent_ms >= self._settings.stall_ms:
            self._stall_checked_ms = now_ms
            ended = self._endpointer.stall(int(silent_ms))
            if ended is not None:
                events.append(self._ended(ended))
        deadline = self._silence_deadline_ms()
        if deadline is not None and now_ms >= deadline:
            self._silence_since_ms = None
            events.append(Silence())
        return events

    def next_deadline_ms(self) -> float | None:
        """When ``advance`` has something to do, if nothing else happens before."""
        deadlines = [self._silence_deadline_ms()]
        if self._endpointer.in_turn:
            stalled_ms = self._last_frame_ms + self._settings.stall_ms
            deadlines.append(max(stalled_ms, self._stall_checked_ms + FRAME_MS))
        return min((d for d in deadlines if d is not None), default=None)

    def _paused(self) -> bool:
        return self._endpointer.silent_samples >= self._settings.speculate_after_ms * SAMPLES_PER_MS

    def _silence_deadline_ms(self) -> float | None:
        listen = self._listen
        if listen is None or listen.no_input_ms is None or self._endpointer.in_turn:
            return None
        return None if self._silence_since_ms is None else self._silence_since_ms + listen.no_input_ms

    def _ended(self, end: EndOfTurn) -> TurnEnded:
        self._ended_samples = end.end_samples
        self._silence_since_ms = None  # also when a hold in mid-turn had set it
        if self._looking:
            before = self._settings.preroll_ms * SAMPLES_PER_MS
            self._sound_odds = self._interjection.odds(self._voice.since(end.start_samples - before))
        level_dbov = self._take_level_dbov()
        return TurnEnded(
            speech_ms=(end.end_samples - end.start_samples) // SAMPLES_PER_MS,
            packet_in_ms=self._arrival_ms(end.end_samples),
            speech_end_ms=self._arrival_ms(end.end_samples + WINDOW_SAMPLES),
            reason=end.reason,
            hold_ms=end.hold_ms,
            level_dbov=level_dbov,
        )

    def _take_level_dbov(self) -> float | None:
        """Mean level of the turn's voice; the next turn is measured anew."""
        power, frames = self._voice_power, self._voice_frames
        self._voice_power, self._voice_frames = 0.0, 0
        if not frames or power <= 0.0:
            return None
        return 10.0 * math.log10(power / frames / FULL_SCALE**2)

    def _arrival_ms(self, position_samples: int) -> float:
        """When the frame that ends at or after this position arrived."""
        frame = -(-position_samples // FRAME_SAMPLES) - 1
        index = frame - (self._frames - len(self._arrivals_ms))
        return self._arrivals_ms[max(0, min(index, len(self._arrivals_ms) - 1))]

    def _drop_turn(self) -> list[ListenerEvent]:
        dropped = self._endpointer.in_turn
        self._take_level_dbov()
        self._endpointer.discard()
        return [TurnIgnored()] if dropped else []
