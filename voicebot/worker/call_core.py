"""One call, pure: what happens in, what is to be done out. No clock, no socket, no thread.

    Start ─► route ─► Answer ─► greeting ─┐
                                          ▼
      CallerAudio ─► Listener ─► recognition ─► Conversation ─► SpeechOutput ─► BotAudio
      Dtmf ───────────────────────────────────────┘   │
                                                      └─► Persist, tools, transfer, hang up

Every method takes the time in milliseconds on one monotonic clock and returns the effects in the order
in which they have to be carried out: ``Persist`` stands before the answer that follows from it (store,
acknowledge, speak).
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, Self, assert_never

from msgspec.structs import replace

from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import (
    Action,
    AskRouter,
    CallTool,
    CancelTimer,
    ClearPrompts,
    HangUp,
    Listen,
    PauseRecording,
    Speak,
    StartTimer,
    StopListening,
    StoreTurn,
    TransferCall,
)
from voicebot.dialogue.choosing import ROUTER
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    Event,
    JsonValue,
    NoInput,
    PromptFinished,
    TimerExpired,
    TransferFinished,
)
from voicebot.dialogue.outside import TOOL
from voicebot.link.binary_media import CallerAudio, SentAudio
from voicebot.link.codec import FromEdge
from voicebot.link.messages import (
    Acknowledge,
    Answer,
    Cleared,
    Dtmf,
    Hangup,
    Heartbeat,
    Held,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Pause,
    Played,
    Record,
    Reject,
    Result,
    Resume,
    Start,
    Stats,
    Stop,
    Transfer,
    TransferProgress,
    Unpause,
)
from voicebot.turn.barge_in import BargeInJudge, Overlap, Verdict
from voicebot.turn.caller_manner import CallerManner
from voicebot.turn.echo_path import EchoPath
from voicebot.turn.voice_activity import VoiceActivityDetector
from voicebot.worker.effects import (
    BeginRecognition,
    BudgetOverspent,
    CallState,
    CancelRecognition,
    CancelSynthesis,
    ConsoleCommand,
    Effect,
    EndCall,
    EndRecognition,
    FeedRecognition,
    Heard,
    Input,
    LinkLost,
    Persist,
    RecognitionFailed,
    SaveState,
    SpeechAudio,
    SpeechDone,
    ToEdge,
)
from voicebot.worker.listener import (
    BargeIn,
    Listener,
    ListenerEvent,
    Silence,
    TurnAudio,
    TurnEnded,
    TurnIgnored,
    TurnPaused,
    TurnStarted,
)
from voicebot.worker.silence_watch import SilenceWatch
from voicebot.worker.speculation import SpeculationCounts, Speculator
from voicebot.worker.speech_output import SpeechOutput
from voicebot.worker.turn_merge import TurnMerge
from voicebot.worker.turn_meter import TurnMeter

GIVES_UP = {ROUTER: "llm", TOOL: "tool"}  # timers of the dialogue, and the stages that they limit
ANSWER = "answer"
REJECT = "reject"
HANGUP = "hangup"
KEEP_SILENCE_FRAMES = 50  # 1 s: more than the pre-roll and the time in which speech is detected
HANGUP_LIMIT_MS = 30_000  # the goodbye is long over by then, whatever became of its audio


# Answers to these are one of several: once it is known which, little is to come. A number may go on.
CHOICES = frozenset({"menu", "yes_no", "choice"})


def _is_understood(action: Action) -> bool:
    """Whether a twin of the dialogue made something of the caller's words."""
    return (
        isinstance(action, StoreTurn) and action.who == "caller" and bool(action.intent or action.slots)
    )


class Dialogue(Protocol):
    """A conversation as the call sees it (``voicebot.dialogue`` has the one that runs dialplans)."""

    def start(self) -> list[Action]:
        """The call was answered."""
        ...

    def handle(self, event: Event) -> list[Action]:
        """Something happened."""
        ...

    def snapshot(self) -> dict[str, JsonValue]:
        """Its memory as JSON-ready data, without anything sensitive."""
        ...

    def resume(self, unheard: Sequence[Speak]) -> list[Action]:
        """Go on after a takeover; the ends of ``unheard`` will be reported, no other prompt is open."""
        ...

    def fork(self) -> "Dialogue":
        """A twin that remembers the same; what becomes of it does not touch this one."""
        ...

    def count_on(self, other: Self) -> None:
        """Give nothing a name that ``other``, a twin whose last turn is taken back, has used.

        Nor wait for the end of a prompt that only the other has been told of.
        """
        ...


class CallCore:
    """The state of one call.

    Args:
        settings: Turn-taking.
        budget: What each stage may cost.
        detector: Voice activity of this call.
        open_dialogue: Gives the conversation for a call, or None when no route matches.
        echo: Of this call; by default one that learns the line.
    """

    def __init__(
        self,
        settings: TurnSettings,
        budget: BudgetSettings,
        detector: VoiceActivityDetector,
        open_dialogue: Callable[[Start], Dialogue | None],
        echo: EchoPath | None = None,
    ) -> None:
        self._listener = Listener(settings, detector, echo)
        self._output = SpeechOutput()
        self._judge = BargeInJudge(settings)
        self._manner = CallerManner(settings)
        self._pause_ramp_ms = settings.pause_ramp_ms
        self._partial = ""
        self._open_dialogue = open_dialogue
        self._dialogue: Dialogue | None = None
        self._answered_ms = 0.0
        self._turn = -1
        self._recognising: int | None = None
        self._ended_turn: TurnEnded | None = None
        self._timers_ms: dict[str, float] = {}
        self._quiet = SilenceWatch(budget.tts_ms + budget.network_ms)
        self._waits_for: Literal["llm", "tool"] = "tool"
        self._hangup: HangUp | None = None
        self._hangup_sent = False
        self._hangup_by_ms = 0.0
        self._transfers: set[str] = set()
        self.asked_transfer: TransferCall | None = None
        self.listens_to_secret = False
        self._recording_paused = False
        self._held = False
        self._held_since_ms = 0.0
        self._over = False
        self._meter = TurnMeter(budget)
        self._speculator = Speculator(settings.max_speculations)
        self._merge: TurnMerge[Dialogue] = TurnMerge(settings.merge_window_ms, settings.merge_heard_ms)
        self._settings = settings
        self._asr_due_ms: float | None = None
        self._last_frame = -1
        self._turn_first_frame = 0
        self._acknowledged = -1
        self._kept_keys = 0
        self._keys = 0
        self._inherited: tuple[Speak, ...] = ()
        self._inherited_frame, self._inherited_keys = -1, 0
        self._version = 0

    def take_over(self, dialogue: Dialogue, state: CallState) -> None:
        """The next ``Start`` resumes a call that another worker began.

        Args:
            dialogue: As it was stored last.
            state: What it was restored from.
        """
        self._dialogue = dialogue
        self._inherited = state.speaks
        self._inherited_frame, self._inherited_keys = state.heard_frame, state.keys

    def begin_with(self, dialogue: Dialogue) -> None:
        """The next ``Start`` opens this conversation, whatever ``open_dialogue`` would give."""
        self._dialogue = dialogue

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._over

    @property
    def echo_return_loss_db(self) -> float | None:
        """How much weaker the bot's voice comes back; None when it does not, or it is not known."""
        return self._listener.echo_return_loss_db

    @property
    def speculation(self) -> SpeculationCounts:
        """Answers prepared, hits and turns so far."""
        return self._speculator.counts

    # ------------------------------------------------------------ inputs

    def handle(self, item: FromEdge | Input | Event, now_ms: float) -> list[Effect]:
        """Take one input.

        Args:
            item: A link message, caller audio, an engine's result or a tool's event.
            now_ms: The time, on one monotonic clock.
        """
        if self._over or self._taken_before(item):
            return []
        match item:
            case CallerAudio():
                effects = self._caller_audio(item, now_ms)
            case SentAudio():
                self._listener.sent(item.position_samples, item.payload)
                return []
            case Start():
                effects = self._start(item, now_ms)
            case Dtmf():
                self._keys += 1
                effects = self._key(item, now_ms)
            case Played():
                effects = self._played(item, now_ms)
            case Cleared():
                effects = self._dialogue_events(list(self._output.cleared(item)), now_ms)
            case Heard():
                effects = self._heard(item, now_ms)
            case RecognitionFailed():
                effects = self._heard(Heard(item.turn, "", 0.0, final=True), now_ms)
            case SpeechAudio():
                effects = self._speech_audio(item, now_ms)
            case SpeechDone():
                effects, finished = self._output.rendered(item)
                effects += self._dialogue_events(list(finished), now_ms)
            case Result():
                effects = self._result(item, now_ms)
            case TransferProgress():
                effects = self._transfer_progress(item, now_ms)
            case Stop():
                effects = self._end(item.reason, item, now_ms)
            case LinkLost():
                effects = self._end(item.reason, None, now_ms)
            case Held():
                effects = self._hold(item, now_ms)
            case Stats() | LegEnded() | LegDtmf() | LegPlayed() | Heartbeat() | ConsoleCommand():
                effects = []
            case _:
                effects = self._dialogue_events([item], now_ms)
        return effects + self._settle(now_ms)

    def advance(self, now_ms: float) -> list[Effect]:
        """Let time pass; call it at ``next_deadline_ms`` at the latest."""
        if self._over or self._held:
            return []
        effects = self._listener_events(self._listener.advance(now_ms), now_ms)
        effects += self._judged(self._judge.advance(now_ms, self._overlap()), now_ms)
        if self._asr_due_ms is not None and now_ms >= self._asr_due_ms and self._recognising is not None:
            # The recogniser is late: what it has heard so far must do, and will be asked back if unsure.
            late = Heard(
                self._recognising, self._partial, self._settings.asr_late_confidence, final=True
            )
            effects += [BudgetOverspent("asr", "last_partial"), CancelRecognition(late.turn)]
            effects += self._heard(late, now_ms)
        for name in [name for name, due in self._timers_ms.items() if due <= now_ms]:
            if self._timers_ms.pop(name, None) is not None:
                if name in GIVES_UP:
                    effects.append(BudgetOverspent(GIVES_UP[name], "gave_up"))
                effects += self._dialogue_events([TimerExpired(timer=name)], now_ms)
        for name in self._quiet.expired(now_ms):
            effects.append(BudgetOverspent(self._waits_for, name))
            effects += self._dialogue_events([TimerExpired(timer=name)], now_ms)
        if self._hangup is not None and not self._hangup_sent and now_ms >= self._hangup_by_ms:
            effects += self._send_hangup()
        return effects + self._settle(now_ms)

    def next_deadline_ms(self) -> float | None:
        """When ``advance`` must be called, if nothing else happens before."""
        if self._over or self._held:
            return None
        deadlines = list(self._timers_ms.values())
        parts = (
            self._listener.next_deadline_ms(),
            self._judge.next_deadline_ms(),
            self._quiet.next_deadline_ms(),
            self._asr_due_ms,
        )
        deadlines += [due for due in parts if due is not None]
        if self._hangup is not None and not self._hangup_sent:
            deadlines.append(self._hangup_by_ms)
        return min(deadlines, default=None)

    # ------------------------------------------------------------ the call

    def _taken_before(self, item: FromEdge | Input | Event) -> bool:
        """Whether the conversation that we took over has answered this already.

        Its worker died before it told the edge. It would be taken for an answer to the next question.
        """
        match item:
            case CallerAudio(frame=frame) if frame <= self._inherited_frame:
                self._last_frame = frame
                return True
            case Dtmf() if self._keys < self._inherited_keys:
                self._keys += 1
                return True
            case _:
                return False

    def _start(self, start: Start, now_ms: float) -> list[Effect]:
        self._answered_ms = now_ms
        self._quiet.heard_caller(now_ms)
        self._meter.edge_clock(start.edge_monotonic_us, now_ms)
        if start.resume is not None:
            self._answered_ms -= start.resume.talk_ms
            self._version = start.resume.lease << 32
            self._last_frame = start.resume.acknowledged_frame
            self._keys = start.resume.acknowledged_keys
            self._acknowledged = max(self._last_frame, self._inherited_frame)
            self._kept_keys = max(self._keys, self._inherited_keys)
            self._output = SpeechOutput(first_generation=start.resume.generation)
            if self._dialogue is not None:
                resumed = self._resume(self._dialogue, start.resume, now_ms)
                if self._acknowledged > self._last_frame or self._kept_keys > self._keys:
                    known = Acknowledge(frame=self._acknowledged, keys=self._kept_keys)
                    return [ToEdge(known), *resumed]
                return resumed
        if self._dialogue is None or start.resume is not None:
            self._dialogue = self._open_dialogue(start)
        if self._dialogue is None:
            return [ToEdge(Reject(request=REJECT, code=404, reason="no route for this number"))]
        effects: list[Effect] = [] if start.answered else [ToEdge(Answer(request=ANSWER))]
        if start.resume is not None:  # who was before us may have been asking for a secret
            effects.append(ToEdge(Record(paused=False)))
        return effects + self._stored(self._actions(self._dialogue.start(), now_ms))

    def _resume(self, dialogue: Dialogue, resume: Resume, now_ms: float) -> list[Effect]:
        """Go on where the last worker was: say what never reached the edge, wait for the same answer."""
        at_edge = {u.utterance: u for u in resume.utterances}
        heard: list[Event] = []
        effects: list[Effect] = []
        for speak in self._inherited:
            known = at_edge.get(speak.utterance)
            if known is None:
                effects += self._output.say(speak)
            elif not known.complete:
                effects += self._output.say(
                    speak, at_edge_bytes=known.received_samples, played_ms=known.played_ms
                )
            elif known.finished:
                heard.append(PromptFinished(utterance=speak.utterance))
            else:
                self._output.adopt(speak, known.played_ms)
        # What the dialogue would ask again is at the edge, or has just been queued.
        again = Speak | StoreTurn
        resumed = dialogue.resume(self._output.outstanding)
        silent: list[Action] = [a for a in resumed if not isinstance(a, again)]
        return effects + self._actions(silent, now_ms) + self._dialogue_events(heard, now_ms)

    def _end(self, reason: str, stop: Stop | None, now_ms: float) -> list[Effect]:
        effects = self._stop_recognition()
        cleared, _ = self._output.clear()
        effects += [e for e in cleared if isinstance(e, CancelSynthesis)]
        said = self._dialogue_events([CallerHungUp()], now_ms)
        effects += [e for e in said if isinstance(e, Persist | CallTool)]
        self._over = True
        return [*effects, EndCall(reason, stop)]

    def _hold(self, held: Held, now_ms: float) -> list[Effect]:
        if held.held and not self._held:
            self._held_since_ms = now_ms
        elif self._held and not held.held:
            # Nobody could answer meanwhile: what was left of each timer is left of it now.
            held_ms = now_ms - self._held_since_ms
            self._timers_ms = {name: due + held_ms for name, due in self._timers_ms.items()}
            self._hangup_by_ms += held_ms
            self._quiet.skip(held_ms, now_ms)
            self._listener.rearm(now_ms)
        self._held = held.held
        return []

    def _result(self, result: Result, now_ms: float) -> list[Effect]:
        if result.ok or result.request not in self._transfers:
            return []
        return self._transfer_over(result.request, "failed", result.code, result.reason, now_ms)

    def _transfer_progress(self, progress: TransferProgress, now_ms: float) -> list[Effect]:
        if not progress.final or progress.request not in self._transfers:
            return []
        outcome = "bridged" if 200 <= progress.code < 300 else "failed"
        return self._transfer_over(progress.request, outcome, progress.code, progress.reason, now_ms)

    def _transfer_over(
        self, request: str, outcome: str, code: int, reason: str, now_ms: float
    ) -> list[Effect]:
        self._transfers.discard(request)
        done = TransferFinished(request=request, outcome=outcome, sip_code=code, reason=reason)
        return self._dialogue_events([done], now_ms)

    def _settle(self, now_ms: float) -> list[Effect]:
        """What follows from the new state: the bot is silent or not, and a hang-up may be due."""
        if self._over:
            return []
        self._listener.bot_speaking(self._output.speaking, now_ms)
        self._quiet.bot_speaking(self._output.speaking, now_ms)
        if self._hangup is not None and not self._hangup_sent and not self._output.speaking:
            return self._send_hangup()
        return []

    def _send_hangup(self) -> list[Effect]:
        assert self._hangup is not None
        self._hangup_sent = True
        return [ToEdge(Hangup(request=HANGUP, reason=self._hangup.reason))]

    # ------------------------------------------------------------ the caller

    def _caller_audio(self, frame: CallerAudio, now_ms: float) -> list[Effect]:
        if frame.sent:
            self._listener.sent(frame.position_samples, frame.sent)
        if self._held or self._dialogue is None:
            return []
        self._last_frame = frame.frame
        may_interrupt = self._output.speech_may_interrupt
        asking = self._output.last_prompt_playing
        events = self._listener.audio(frame, now_ms, may_interrupt=may_interrupt, asking=asking)
        return self._listener_events(events, now_ms) + self._let_go_of_silence()

    def _let_go_of_silence(self) -> list[Effect]:
        """What was no speech need not be heard again: a takeover after a long silence must be quick."""
        old = self._last_frame - KEEP_SILENCE_FRAMES
        if self._recognising is not None or old - self._acknowledged < KEEP_SILENCE_FRAMES:
            return []
        self._acknowledged = old
        # Keys since the last turn are in nobody's record: they stay.
        return [ToEdge(Acknowledge(frame=old, keys=self._kept_keys))]

    def _key(self, dtmf: Dtmf, now_ms: float) -> list[Effect]:
        effects = self._listener_events(self._listener.key_pressed(now_ms), now_ms)
        effects += self._stop_recognition()
        self._meter.key_pressed(now_ms)
        self._quiet.heard_caller(now_ms)
        self._merge.acted()
        paused = self._judge.key_pressed() is Verdict.CONFIRMED
        pressed: list[Event] = []
        if self._output.speaking and self._output.dtmf_may_interrupt:
            cleared, interrupted = self._output.clear()
            effects += cleared
            pressed += interrupted
        elif paused:
            effects.append(ToEdge(Unpause()))
        return effects + self._dialogue_events([*pressed, DigitPressed(digit=dtmf.digit)], now_ms)

    def _listener_events(self, events: list[ListenerEvent], now_ms: float) -> list[Effect]:
        effects: list[Effect] = []
        for event in events:
            match event:
                case TurnStarted():
                    effects += self._take_back(now_ms)
                    if self._recognising is not None and self._ended_turn is not None:
                        self._merge.goes_on(self._partial)  # its final text comes too late
                    effects += self._stop_recognition()
                    self._turn += 1
                    self._recognising = self._turn
                    self._ended_turn = self._asr_due_ms = None
                    self._partial = ""
                    self._turn_first_frame = self._last_frame + 1 - len(event.payloads)
                    effects.append(BeginRecognition(self._turn, self._may_be_said()))
                    effects += [FeedRecognition(self._turn, payload) for payload in event.payloads]
                case TurnAudio():
                    if self._recognising is not None:
                        effects.append(FeedRecognition(self._recognising, event.payload))
                case BargeIn() if not self._output.speaking:
                    pass  # the answer to what the caller now goes on with was taken back
                case BargeIn():
                    self._judge.trigger(now_ms)
                    self._listener.second_look(looking=True)
                    effects.append(ToEdge(Pause(ramp_ms=self._pause_ramp_ms)))
                    effects += self._judged(
                        self._judge.partial(self._partial, self._overlap(), now_ms), now_ms
                    )
                case TurnEnded():
                    if self._recognising is not None:
                        self._ended_turn = event
                        self._asr_due_ms = now_ms + self._settings.asr_limit_ms
                        self._meter.speech_ended(event, now_ms)
                        self._quiet.heard_caller(event.packet_in_ms)
                        effects.append(EndRecognition(self._recognising))
                case TurnPaused():
                    effects += self._speculate(now_ms)
                case TurnIgnored():
                    self._speculator.dropped()
                    effects += self._stop_recognition()
                    self._listener.rearm(now_ms)
                case Silence():
                    effects += self._dialogue_events([NoInput()], now_ms)
                case _:
                    assert_never(event)
        return effects

    def _heard(self, heard: Heard, now_ms: float) -> list[Effect]:
        if heard.turn != self._recognising:
            return []
        if not heard.final:
            self._partial = heard.text
            self._listener.partial(heard.text)
            return self._judged(self._judge.partial(heard.text, self._overlap(), now_ms), now_ms)
        ended = self._ended_turn
        self._recognising, self._asr_due_ms = None, None
        if ended is None:
            return []
        self._meter.mark("asr_final", now_ms)
        verdict = self._judge.turn_ended(heard.text, self._overlap(), heard.confidence, now_ms)
        effects = self._judged(verdict, now_ms)
        if verdict is Verdict.RESUMED:
            self._speculator.dropped()
            return effects
        text = self._merge.joined(heard.text)
        # A word that was there on the way and not at the end was a word: he is asked, not left waiting.
        if not text and not self._partial and ended.speech_ms < self._settings.unheard_ms:
            self._speculator.dropped()
            self._listener.rearm(now_ms)
            return effects
        assert self._dialogue is not None
        before = self._dialogue.fork()
        self._meter.speculated(self._speculator.committed(text))
        self._merge.committed(before, text, self._listener.listening, self._timers_ms, now_ms)
        manner = self._manner.of(text, ended.level_dbov)
        self._manner.ended(ended.level_dbov)
        if self._manner.typical_dbov is not None:
            self._listener.caller_speaks_at(self._manner.typical_dbov)
        said = CallerSaid(
            text=text,
            confidence=heard.confidence,
            alternatives=heard.alternatives,
            manner=manner,
        )
        return effects + self._dialogue_events([said], now_ms)

    def _speculate(self, now_ms: float) -> list[Effect]:
        """The turn may be over: let a twin of the dialogue say what the answer would be."""
        text = self._partial
        if self._dialogue is None or self._judge.paused or not self._speculator.wants(text):
            return []
        if self._listener.expects_more:
            return []  # it would only use up what may be launched in a turn
        manner = self._manner.of(text, None)  # its level is known when it is over
        said = CallerSaid(text=text, manner=manner, at_ms=int(now_ms - self._answered_ms))
        actions = self._dialogue.fork().handle(said)
        if self._listener.expectation.kind in CHOICES and any(map(_is_understood, actions)):
            self._listener.understood(text)
        return self._speculator.launch(text, actions)

    def _take_back(self, now_ms: float) -> list[Effect]:
        """The caller goes on: undo a commit that came too early."""
        last = self._merge.take_back(now_ms, self._output.played_ms)
        if last is None:
            return []
        cleared, interrupted = self._output.clear()
        if self._dialogue is not None:
            # The edge knows the cleared prompts by name, and an answer to a question may still come.
            last.dialogue.count_on(self._dialogue)
        self._dialogue = last.dialogue
        if self._recording_paused is not last.listen.sensitive:
            cleared += self._actions([PauseRecording(paused=last.listen.sensitive)], now_ms)
        self.listens_to_secret = last.listen.sensitive
        self._timers_ms = dict(last.timers_ms)
        self._quiet.clear()
        self._hangup = None
        self._listener.continue_turn(last.listen)
        # What was queued before that turn will not be heard either.
        return cleared + self._dialogue_events(list(interrupted), now_ms)

    def _may_be_said(self) -> Expectation:
        """What is expected; over the bot also what interrupts it, and what people say to a speaker."""
        expected = self._listener.expectation
        closed = bool(expected.phrases) or expected.kind not in {"free", "nothing", "menu"}
        if not self._output.speaking or not closed:
            return expected
        settings = self._settings
        words = (*expected.phrases, *settings.interrupt_words, *settings.backchannel_words)
        return replace(expected, phrases=tuple(dict.fromkeys(words)), likely=settings.interrupt_words)

    def _overlap(self) -> Overlap:
        return Overlap(
            self._listener.expectation,
            self._output.last_prompt_playing,
            self._output.own_words(),
            self._output.min_words,
            self._listener.voice_now,
            self._listener.ending_now or self._asr_due_ms is not None,
            self._listener.near,
            self._listener.clear_line,
            self._listener.sound_odds,
        )

    def _judged(self, verdict: Verdict, now_ms: float) -> list[Effect]:
        """Carry out what the second look at an interruption says."""
        if verdict is not Verdict.UNDECIDED:
            self._listener.second_look(looking=False)
        if verdict is Verdict.CONFIRMED:
            cleared, interrupted = self._output.clear()
            # Its end was reported meanwhile: nothing is to be cleared, but what follows must be heard.
            cleared = cleared or [ToEdge(Unpause())]
            return cleared + self._dialogue_events(list(interrupted), now_ms)
        if verdict is Verdict.RESUMED:
            resumed = self._listener.resumed(far=not self._listener.near)
            self._listener.rearm(now_ms)  # the prompt may have ended meanwhile
            return [ToEdge(Unpause()), *self._listener_events(resumed, now_ms)]
        return []

    def _stop_recognition(self) -> list[Effect]:
        if self._recognising is None:
            return []
        turn, self._recognising = self._recognising, None
        return [CancelRecognition(turn)]

    # ------------------------------------------------------------ the bot

    def _speech_audio(self, audio: SpeechAudio, now_ms: float) -> list[Effect]:
        self._meter.rendered(audio.utterance, now_ms)
        return self._output.audio(audio)

    def _played(self, played: Played, now_ms: float) -> list[Effect]:
        measured = self._meter.played(played, since_ms=self._answered_ms)
        effects: list[Effect] = [] if measured is None else [measured]
        return effects + self._dialogue_events(list(self._output.played(played)), now_ms)

    def _dialogue_events(self, events: list[Event], now_ms: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._dialogue is None:
            return effects
        at_ms = int(now_ms - self._answered_ms)
        for event in events:
            effects += self._stored(
                self._actions(self._dialogue.handle(replace(event, at_ms=at_ms)), now_ms)
            )
            self._listener.bot_speaking(self._output.speaking, now_ms)
        return effects

    def _stored(self, effects: list[Effect]) -> list[Effect]:
        """With a turn, the state that follows from it is kept, before anything else is done.

        Only then is the caller's audio acknowledged: a worker that takes over between the two hears it
        again, and its turn is written a second time under the same number.
        """
        last = max((i for i, e in enumerate(effects) if isinstance(e, Persist)), default=None)
        if last is None or self._dialogue is None:
            return effects
        return [*effects[: last + 1], *self._save(), *effects[last + 1 :]]

    def _save(self) -> list[Effect]:
        """Keep what another worker would need now."""
        if self._dialogue is None:
            return []
        self._version += 1
        state = self._state(self._dialogue)
        kept: list[Effect] = [SaveState(self._version, state)]
        if state.heard_frame >= 0 or state.keys:
            self._acknowledged, self._kept_keys = state.heard_frame, state.keys
            kept.append(ToEdge(Acknowledge(frame=state.heard_frame, keys=state.keys)))
        return kept

    def _turn_stored(self, turn: StoreTurn, now_ms: float) -> None:
        """A turn is decided; the state that is kept with it comes after this."""

    def _state(self, dialogue: Dialogue) -> CallState:
        speaks = tuple(s for s in self._output.outstanding if not s.sensitive)
        # What the caller is saying now is not in the record yet.
        heard = self._last_frame if self._recognising is None else self._turn_first_frame - 1
        return CallState(
            conversation=dialogue.snapshot(), speaks=speaks, heard_frame=heard, keys=self._keys
        )

    def _actions(self, actions: list[Action], now_ms: float) -> list[Effect]:
        effects: list[Effect] = []
        for action in actions:
            match action:
                case Speak():
                    self._meter.speaks(action.utterance, now_ms)
                    effects += self._output.say(action)
                case Listen():
                    self._meter.expects(action.response_onset_ms)
                    self._listener.bot_speaking(self._output.speaking, now_ms)
                    effects += self._listener_events(self._listener.listen(action, now_ms), now_ms)
                    self.listens_to_secret = action.sensitive
                case StopListening():
                    effects += self._listener_events(self._listener.listen(None, now_ms), now_ms)
                case ClearPrompts():
                    cleared, interrupted = self._output.clear()
                    effects += cleared + self._dialogue_events(list(interrupted), now_ms)
                case StartTimer(of_silence=True):
                    self._quiet.start(action.timer, action.after_ms)
                case StartTimer():
                    self._timers_ms[action.timer] = now_ms + action.after_ms
                case CancelTimer():
                    self._timers_ms.pop(action.timer, None)
                    self._quiet.cancel([action.timer])
                case CallTool():
                    self._merge.acted()
                    self._waits_for = "tool"
                    effects.append(action)
                case AskRouter():
                    self._waits_for = "llm"
                    effects.append(action)
                case TransferCall():
                    self._merge.acted()
                    self._transfers.add(action.request)
                    self.asked_transfer = action
                    transfer = Transfer(request=action.request, uri=action.uri, headers=action.headers)
                    effects.append(ToEdge(transfer))
                case PauseRecording():
                    self._recording_paused = action.paused
                    effects.append(ToEdge(Record(paused=action.paused)))
                case StoreTurn():
                    self._meter.stored(action)
                    self._turn_stored(action, now_ms)
                    effects.append(Persist(action))
                case HangUp():
                    self._hangup = action
                    self._hangup_by_ms = now_ms + HANGUP_LIMIT_MS
                case _:
                    assert_never(action)
        return effects
