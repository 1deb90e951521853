"""A call whose transfers go by the handoff machine: music for the caller, a brief for the colleague.

    CallCore ── ToEdge(Transfer) ──► HandoffCall ── Handoff ──► Dial, LegSpeech, Bridge, Transfer
                                         ▲
    link: Result, LegDtmf, LegPlayed …───┤
    console: ConsoleCommand ─────────────┘      Finished ──► TransferFinished ──► the dialogue goes on

Pure as ``CallCore`` is. While a handoff is under way the caller's keys are not the dialogue's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

from msgspec.structs import replace

from voicebot.config.settings import BudgetSettings, HandoffSettings, TurnSettings
from voicebot.core.delivery import Delivery
from voicebot.core.ids import new_session_id
from voicebot.dialogue.actions import CallTool, HangUp, Speak, StoreTurn, TransferCall
from voicebot.dialogue.events import Event, ToolFinished, TransferFinished
from voicebot.handoff.briefing import (
    spoken_brief,
    spoken_callback_offer,
    spoken_callback_promise,
    spoken_callback_question,
    spoken_position,
    spoken_wait_again,
)
from voicebot.handoff.context import ContextBuilder, ContextMemory, HandoffContext, Urgency
from voicebot.handoff.handoff import (
    Command,
    Finished,
    Handoff,
    HandoffPlan,
    HoldCaller,
    Mode,
    SayToBoth,
    SayToLeg,
    Stage,
    StageChanged,
)
from voicebot.handoff.user_to_user import HEADER, encode_fields
from voicebot.link.binary_media import BotAudio, CallerAudio, SentAudio
from voicebot.link.codec import FromEdge
from voicebot.link.messages import (
    Bridge,
    Dial,
    Dtmf,
    Hangup,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Played,
    Result,
    Start,
    Transfer,
    TransferProgress,
    Unbridge,
)
from voicebot.turn.voice_activity import VoiceActivityDetector
from voicebot.worker.call_core import CallCore, Dialogue
from voicebot.worker.effects import (
    CallState,
    ConsoleCommand,
    Effect,
    EndCall,
    HandoffNews,
    Input,
    LegSpeech,
    OpenHandoff,
    ToEdge,
)

HOLD_MUSIC: Final = "hold-music"
"""Name of the voice that plays music: ``Engines.speak`` knows it."""


BROWSER: Final = "browser"
"""The address of a colleague who talks through the console."""
COLLEAGUE: Final = "colleague"
_OWN_PROMPTS: Final = (
    HOLD_MUSIC,
    "place",
    "callback",
    "introduction",
)  # the dialogue knows nothing of them


@dataclass(frozen=True, slots=True)
class QueueTarget:
    """A queue of the dialplan; its ``uris`` ring together.

    While it is ``closed`` callers go to ``overflow`` at once, another queue or (empty) back to the bot.
    """

    name: str
    uris: tuple[str, ...]
    mode: Literal["blind", "warm", "attended"] = "blind"
    ring_ms: int = 25_000
    priority: Urgency = "normal"
    skills: tuple[str, ...] = ()
    overflow: str = ""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class HandoffRules:
    """What the installation and the dialplan say about handoffs.

    Attributes:
        settings: Of the installation.
        queues: Of the dialplan, in its order.
        next_queue_when_busy: Try the following queues too.
        busy_waits: Who finds a queue's targets busy waits, and they are called again.
        sensitive: Slots that stay in the bot.
        shown: Slots that a colleague is shown; None: all but the sensitive ones.
        may_call: Why a URI must not be called, empty when it may.
        may_call_back: Whether a caller's number may be called back.
    """

    settings: HandoffSettings
    queues: tuple[QueueTarget, ...] = ()
    next_queue_when_busy: bool = False
    busy_waits: bool = False
    sensitive: frozenset[str] = frozenset()
    shown: frozenset[str] | None = None
    may_call: Callable[[str], str] = field(default=lambda uri: f"{uri} is not allowed")
    may_call_back: Callable[[str], bool] = field(default=lambda number: not number)


class HandoffCall(CallCore):
    """A call core that carries out ``TransferCall`` itself.

    Args:
        settings: Turn-taking.
        budget: What each stage may cost.
        detector: Voice activity of this call.
        open_dialogue: As ``CallCore``.
        rules: About handoffs.
        before: What was known when the caller asked to be called back, in another call.
    """

    def __init__(
        self,
        settings: TurnSettings,
        budget: BudgetSettings,
        detector: VoiceActivityDetector,
        open_dialogue: Callable[[Start], Dialogue | None],
        rules: HandoffRules,
        before: ContextMemory | None = None,
    ) -> None:
        super().__init__(settings, budget, detector, open_dialogue)
        self._rules = rules
        self._handoff: Handoff | None = None
        self._handoff_id = ""
        self._request = ""
        self._music = False
        self._music_pieces = 0
        self._action: TransferCall | None = None
        self._callback_offered = False
        self._confirming = False
        self._leaving = ""
        self._inherited_handoff: OpenHandoff | None = None
        self._built_context: HandoffContext | None = None
        self._facts: Start | None = None
        self._tools: dict[str, str] = {}
        self._context = ContextBuilder(
            sensitive=rules.sensitive,
            shown=rules.shown,
            verified_by=frozenset(rules.settings.verified_by),
        )
        if before is not None:
            self._context.remember(before)

    def take_over(self, dialogue: Dialogue, state: CallState) -> None:
        """See ``CallCore``; a handoff under way goes on too."""
        own = () if state.leaving else _OWN_PROMPTS
        speaks = tuple(s for s in state.speaks if not s.utterance.startswith(own))
        super().take_over(dialogue, replace(state, speaks=speaks))
        self._leaving = state.leaving
        self._context.remember(state.context)
        self._inherited_handoff = state.handoff

    def _state(self, dialogue: Dialogue) -> CallState:
        state = super()._state(dialogue)
        state = replace(state, context=self._context.memory(), leaving=self._leaving)
        if self._handoff is None or self._handoff.over or self._action is None:
            return state
        place = self._handoff.place()
        return replace(
            state,
            handoff=OpenHandoff(
                handoff_id=self._handoff_id,
                action=self._action,
                place=place,
                callback_offered=self._callback_offered,
            ),
        )

    def _turn_stored(self, turn: StoreTurn, now_ms: float) -> None:
        self._context.turn(
            turn.who,
            turn.text,
            self._at_ms(now_ms),
            intent=turn.intent,
            slots=turn.slots,
            number=turn.turn,
        )

    # ------------------------------------------------------------ inputs

    def handle(self, item: FromEdge | Input | Event, now_ms: float) -> list[Effect]:
        """Take one input; see ``CallCore.handle``."""
        if self.over or self._taken_before(item):
            return []
        effects: list[Effect] = []
        match item:
            case CallerAudio() | SentAudio():  # nearly all that comes
                pass
            case ConsoleCommand():
                return self._commanded(item, now_ms)
            case Start():
                self._facts = item
                # The edge may still know utterances of the worker before us.
                self._music_pieces = 1000 * (item.resume.lease if item.resume is not None else 0)
            case ToolFinished():
                tool = self._tools.pop(item.request, "")
                if tool:
                    self._context.action(tool, item.outcome, self._at_ms(now_ms))
            case Dtmf(digit=digit) if self._busy:
                self._keys += 1
                return self._waiting_key(digit, now_ms)
            case Played() if self._music and item.finished and item.utterance.startswith(HOLD_MUSIC):
                effects += self._more_music()
            case Result() | TransferProgress() | LegEnded() | LegDtmf() | LegPlayed():
                if self._handoff is not None:
                    effects += self._commands(self._handoff.handle(item, now_ms), now_ms)
            case _:
                pass
        effects += self._watched(super().handle(item, now_ms), now_ms)
        if isinstance(item, Start) and item.resume is not None:
            effects += self._resumed(now_ms)
        return effects

    # ------------------------------------------------------------ taking over in the middle of a handoff

    def _resumed(self, now_ms: float) -> list[Effect]:
        """The worker before us was handing over: go on with that."""
        if self._leaving:  # a call back was promised, and only that is still to be said
            return [*self._actions([HangUp(reason=self._leaving)], now_ms), *self._settle(now_ms)]
        wait = (self._dialogue.snapshot() if self._dialogue is not None else {}).get("wait") or {}
        if self._handoff is not None or wait.get("kind") != "transfer":
            return []
        before = self._inherited_handoff
        if before is None or before.action.request != wait.get("request"):
            self._request = str(wait.get("request", ""))
            lost = TransferFinished(request=self._request, outcome="returned", reason="interrupted")
            return self._watched(super().handle(lost, now_ms), now_ms)
        self._handoff_id = before.handoff_id
        self._open(before.action)
        self._callback_offered = before.callback_offered
        assert self._handoff is not None
        return self._commands(self._handoff.resume(before.place, now_ms), now_ms)

    def advance(self, now_ms: float) -> list[Effect]:
        """Let time pass; see ``CallCore.advance``."""
        effects: list[Effect] = []
        if self._handoff is not None and not self.over:
            effects += self._commands(self._handoff.advance(now_ms), now_ms)
        return effects + self._watched(super().advance(now_ms), now_ms)

    def next_deadline_ms(self) -> float | None:
        """See ``CallCore.next_deadline_ms``."""
        due_ms = super().next_deadline_ms()
        own_ms = None if self._handoff is None or self.over else self._handoff.next_deadline_ms()
        if own_ms is None or due_ms is None:
            return due_ms if own_ms is None else own_ms
        return min(own_ms, due_ms)

    @property
    def _busy(self) -> bool:
        return self._handoff is not None and not self._handoff.over

    def _commanded(self, command: ConsoleCommand, now_ms: float) -> list[Effect]:
        match command.command:
            case "place" if self._waiting:
                return self._announce(command)
            case "offer_callback" if self._waiting and self._may_be_called_back:
                self._callback_offered = True
                offer = spoken_callback_offer(self._rules.settings.callback_digit)
                return [*self._between_music("callback", offer), *self._save()]
            case "overflow" if self._waiting:
                return self._overflow(command.uri, now_ms)
            case "summary" if self._handoff is not None and self._built_context is not None:
                better = replace(self._built_context, summary=command.text)
                digit = self._rules.settings.accept_digit
                self._handoff.set_brief(spoken_brief(better, accept_digit=digit))
                return []
            case "hang_up":
                return [ToEdge(Hangup(request="console", drain=False, reason="ended at the console"))]
            case "accept" if self._handoff is not None and command.uri == BROWSER:
                return self._commands(self._handoff.accept_here(now_ms), now_ms)
            case "talk" if self._handoff is not None and self._handoff.here:
                self._handoff.colleague_heard(now_ms)
                return [ToEdge(BotAudio(self._output.generation, COLLEAGUE, command.audio))]
            case "colleague_done" if self._handoff is not None:
                return self._commands(self._handoff.colleague_done(), now_ms)
            case "accept" if self._handoff is not None:
                return self._commands(self._handoff.accept(command.uri, now_ms), now_ms)
            case "take_back" if self._handoff is not None:
                return self._commands(self._handoff.take_back("taken back"), now_ms)
            case _:
                return []

    # ------------------------------------------------------------ waiting in the console's queue

    @property
    def _waiting(self) -> bool:
        return self._handoff is not None and self._handoff.stage is Stage.WAITING

    @property
    def _may_be_called_back(self) -> bool:
        caller = self._facts.caller if self._facts is not None else ""
        return bool(self._rules.settings.callback_digit) and self._rules.may_call_back(caller)

    def _announce(self, command: ConsoleCommand) -> list[Effect]:
        """Say the place in the queue between two pieces of music."""
        self._confirming = False
        text = spoken_position(command.position, command.wait_s)
        if self._callback_offered:
            text += f" {spoken_callback_offer(self._rules.settings.callback_digit)}"
        return self._between_music("place", text)

    def _between_music(self, name: str, text: str) -> list[Effect]:
        return [*self._silence(), *self._say(name, text), *self._more_music()]

    def _waiting_key(self, digit: str, now_ms: float) -> list[Effect]:
        """Keys of a caller on hold mean nothing, but those that ask for a call back."""
        if not (self._waiting and self._callback_offered):
            return []
        assert self._facts is not None
        asks = self._rules.settings.callback_digit
        confirms = "2" if asks == "1" else "1"
        number = self._facts.caller
        if not self._confirming and digit == asks:
            self._confirming = True
            return self._between_music(
                "callback", spoken_callback_question(number, yes=confirms, no=asks)
            )
        if not self._confirming or digit not in {asks, confirms}:
            return []
        self._confirming = False
        if digit == asks:
            return [*self._silence(), *self._more_music()]
        self._music = False
        done = HandoffNews(self._handoff_id, "callback", detail=number)
        over = HandoffNews(self._handoff_id, "end", detail="asked to be called back", outcome="returned")
        self._handoff = None
        self._leaving = "callback"
        said = [*self._silence(), *self._say("callback", spoken_callback_promise(number))]
        kept = self._save()  # who takes over must not put a caller through who will be called back
        return [done, over, *kept, *said, *self._actions([HangUp(reason=self._leaving)], now_ms)]

    def _overflow(self, to: str, now_ms: float) -> list[Effect]:
        """The wait was too long, or the queue is full: on to another queue, or back to the bot."""
        assert self._handoff is not None
        assert self._action is not None
        target = self._open_queue(to)
        if target is None:
            return self._commands(self._handoff.give_up("nobody accepted in time"), now_ms)
        news = HandoffNews(self._handoff_id, "moved", detail=target.name, skills=target.skills)
        self._open(replace(self._action, queue=target.name, uri=target.uris[0]))
        return [news, *self._commands(self._handoff.begin(now_ms), now_ms)]

    def _open_queue(self, name: str) -> QueueTarget | None:
        """The queue of this name, or the first open one that it overflows to."""
        by_name = {queue.name: queue for queue in self._rules.queues}
        passed: set[str] = set()
        while (queue := by_name.get(name)) is not None and name not in passed:
            if not queue.closed:
                return queue
            passed.add(name)
            name = queue.overflow
        return None

    def _silence(self) -> list[Effect]:
        cleared, _ = self._output.clear()
        return cleared

    def _say(self, name: str, text: str) -> list[Effect]:
        self._music_pieces += 1
        return self._output.say(
            Speak(
                utterance=f"{name}{self._music_pieces}",
                text=text,
                speech_barge_in=False,
                dtmf_barge_in=False,
            )
        )

    # ------------------------------------------------------------ what the call does

    def _watched(self, effects: list[Effect], now_ms: float) -> list[Effect]:
        """The effects of the core, with its transfers replaced by ours."""
        out: list[Effect] = []
        for effect in effects:
            match effect:
                case ToEdge(message=Transfer(request=request)) if self.asked_transfer is not None:
                    assert request == self.asked_transfer.request
                    out += self._begin(self.asked_transfer, now_ms)
                case CallTool():
                    self._tools[effect.request] = effect.tool
                    out.append(effect)
                case EndCall():
                    if self._handoff is not None:
                        out += self._commands(self._handoff.caller_gone(), now_ms)
                    out.append(effect)
                case _:
                    out.append(effect)
        return out

    def _begin(self, action: TransferCall, now_ms: float) -> list[Effect]:
        known = action.queue in {queue.name for queue in self._rules.queues}
        open_now = self._open_queue(action.queue)
        if known and open_now is None:
            closed = TransferFinished(request=action.request, outcome="returned", reason="closed")
            return self._watched(super().handle(closed, now_ms), now_ms)
        if open_now is not None and open_now.name != action.queue:
            action = replace(action, queue=open_now.name, uri=open_now.uris[0], mode=open_now.mode)
        self._handoff_id = "h" + new_session_id()[1:]
        self._callback_offered = self._confirming = False
        context, queue = self._open(action)
        assert self._handoff is not None
        news = HandoffNews(
            self._handoff_id,
            "begin",
            context=context,
            priority=self._priority(queue),
            skills=queue.skills,
        )
        return [news, *self._commands(self._handoff.begin(now_ms), now_ms)]

    def _open(self, action: TransferCall) -> tuple[HandoffContext, QueueTarget]:
        """Plan the handoff that the dialogue asks for."""
        rules = self._rules
        place = next((n for n, q in enumerate(rules.queues) if q.name == action.queue), -1)
        queue = rules.queues[place] if place >= 0 else QueueTarget(action.queue, (action.uri,))
        tries = [queue.uris]
        if rules.next_queue_when_busy and place >= 0:
            tries += [other.uris for other in rules.queues[place + 1 :] if not other.closed]
        self._action = action
        self._request = action.request
        self._built_context = context = self._built(action, queue)
        mode: Mode = "blind" if action.mode == "blind" else "warm"
        mode = "attended" if action.mode == "attended" else mode
        if rules.settings.agents == "console" and mode != "blind":
            mode = "console"
        plan = HandoffPlan(
            request=action.request,
            mode=mode,
            tries=tuple(tries),
            headers={**action.headers, **self._headers(context)},
            brief=spoken_brief(context, accept_digit=rules.settings.accept_digit),
            accept_digit=rules.settings.accept_digit,
            ring_ms=queue.ring_ms,
            accept_ms=int(rules.settings.accept_timeout_s * 1000),
            wait_ms=int(rules.settings.wait_s * 1000),
            introduction=rules.settings.introduction,
            return_keys=rules.settings.return_keys,
            busy_waits=rules.busy_waits,
            redial_ms=int(rules.settings.redial_s * 1000),
        )
        self._handoff = Handoff(plan, rules.may_call)
        return context, queue

    def _built(self, action: TransferCall, queue: QueueTarget) -> HandoffContext:
        facts = self._facts or Start(call_id="", session_id="")
        base = HandoffContext(
            handoff_id=self._handoff_id,
            call_id=facts.call_id,
            session_id=facts.session_id,
            caller=facts.caller,
            caller_name=facts.caller_name,
            called=facts.called,
            queue=queue.name,
            reason=action.reason,
        )
        return self._context.build(base, priority=self._priority(queue))

    def _priority(self, queue: QueueTarget) -> Urgency:
        """Who was called back has waited already."""
        called_back = self._facts is not None and self._facts.originated is not None
        return "high" if called_back else queue.priority

    def _headers(self, context: HandoffContext) -> dict[str, str]:
        fields = {
            "handoff": context.handoff_id,
            "call": context.call_id,
            "intent": context.intent,
            "verified": context.verified,
        }
        return {"X-Handoff-ID": context.handoff_id, HEADER: encode_fields(fields)}

    # ------------------------------------------------------------ what the handoff wants

    def _commands(self, commands: list[Command], now_ms: float) -> list[Effect]:
        effects: list[Effect] = []
        for command in commands:
            match command:
                case Dial() | Bridge() | Unbridge() | Transfer():
                    effects.append(ToEdge(command))
                case SayToLeg():
                    effects.append(LegSpeech(command.leg, command.utterance, command.text))
                case SayToBoth():
                    effects.append(LegSpeech(command.leg, command.utterance, command.text))
                    effects += self._say("introduction", command.text)
                case HoldCaller(music=True):
                    self._music = True
                    effects += self._more_music()
                case HoldCaller():
                    self._music = False
                    effects += self._silence()
                case StageChanged():
                    effects.append(
                        HandoffNews(self._handoff_id, command.stage.value, detail=command.detail)
                    )
                    if command.again:
                        text = spoken_wait_again(command.detail)
                        say = self._between_music if self._music else self._say
                        effects += say("place", text)
                    if command.stage is not Stage.OVER:
                        effects += self._save()
                case Finished():
                    effects += self._finished(command, now_ms)
                case _:
                    assert_never(command)
        return effects

    def _more_music(self) -> list[Effect]:
        self._music_pieces += 1
        name = f"{HOLD_MUSIC}{self._music_pieces}"
        return self._output.say(
            Speak(
                utterance=name,
                text="",
                delivery=Delivery(voice=HOLD_MUSIC),
                speech_barge_in=False,
                dtmf_barge_in=False,
            )
        )

    def _finished(self, done: Finished, now_ms: float) -> list[Effect]:
        news = HandoffNews(
            self._handoff_id, "end", detail=done.reason, outcome=done.outcome, code=done.code
        )
        event = TransferFinished(
            request=self._request, outcome=done.outcome, sip_code=done.code, reason=done.reason
        )
        if self.over:
            return [news]
        return [news, *self._watched(super().handle(event, now_ms), now_ms)]

    def _at_ms(self, now_ms: float) -> int:
        return int(now_ms - self._answered_ms)
