"""What every part of a conversation does: render, say, listen, remember a turn."""

import dataclasses
import datetime as dt
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    Action,
    CancelTimer,
    Listen,
    PauseRecording,
    Speak,
    StoreTurn,
)
from voicebot.dialogue.expressions import Template
from voicebot.dialogue.manner import Prompting
from voicebot.dialogue.rendering import FILTER_OF_TYPE, render_value
from voicebot.dialogue.routes import select_route
from voicebot.dialogue.state import CallFacts, ConversationState, Frame
from voicebot.tts.number_words import Locale

REDACTED = "[redacted]"
INTER_DIGIT = "inter_digit"


class Talking(ABC):
    """Memory, mouth and ear of a conversation; what it does with them stands in its subclasses."""

    def __init__(
        self,
        plan: program.CompiledDialplan,
        call: CallFacts,
        *,
        state: ConversationState | None = None,
    ) -> None:
        self._plan = plan
        self._call = call
        route = select_route(plan.source, call)
        if route is None:
            raise LookupError(call.called)
        first = plan.callbacks.get(call.callback, route.flow)
        self._state = state or ConversationState(frames=[Frame(first)], variables=dict(route.vars))
        self._out: list[Action] = []
        self._caller_turns: list[StoreTurn] = []
        self._unheard: dict[str, Speak] = {}
        self._interrupted: list[Speak] = []
        self._at_ms = 0

    @property
    def step(self) -> str:
        """Where the conversation stands, as ``flow[index]``."""
        wait = self._state.wait
        if wait is not None:
            return f"{wait.block}[{wait.index}]"
        return f"{self._state.frames[-1].block}" if self._state.frames else ""

    def _flush(self) -> list[Action]:
        """The actions of this event: what was said and decided is stored before the answer is spoken."""
        speaks = [a for a in self._out if isinstance(a, Speak)]
        stored: list[Action] = list(self._caller_turns)
        if speaks:
            text = " ".join(REDACTED if s.sensitive else s.text for s in speaks)
            stored.append(self._turn("bot", text, by="prompt"))
        actions = stored + self._out
        self._out, self._caller_turns = [], []
        return actions

    def _turn(self, who: str, text: str, **more: Any) -> StoreTurn:
        turn = StoreTurn(turn=self._state.turns, who=who, text=text, step=self.step, **more)
        self._state.turns += 1
        return turn

    def _record(
        self,
        text: str,
        *,
        by: str,
        confidence: float = 1.0,
        intent: str = "",
        value: str = "",
        routed_by: str = "",
    ) -> None:
        wait = self._state.wait
        slot = wait.slot if wait is not None else ""
        secret = bool(slot) and self._sensitive(slot)
        self._caller_turns.append(
            self._turn(
                "caller",
                REDACTED if secret else text,
                intent=intent,
                slots={slot: REDACTED if secret else value} if slot and value else {},
                confidence=confidence,
                by=by,
                routed_by=routed_by,
            )
        )
        self._state.said = []
        self._state.heard = self._state.heard_type = ""
        self._interrupted = []

    @property
    def _local(self) -> dt.datetime:
        """Now, in the plan's time zone."""
        return (self._call.now + dt.timedelta(milliseconds=self._at_ms)).astimezone(self._plan.timezone)

    @property
    def _today(self) -> dt.date:
        return self._local.date()

    def _names(self) -> dict[str, Any]:
        state = self._state
        local = self._local
        step_help = ""
        waiting = self._waiting()
        if waiting is not None and waiting.help is not None:
            step_help = waiting.help.source
        return {
            **state.variables,
            **state.slots,
            "caller": {
                "number": self._call.caller,
                "urgent": state.manner.urgent,
                "hesitant": state.manner.hesitant,
                "loud": state.manner.loud,
            },
            "called": {"number": self._call.called},
            "call": {
                "id": self._call.session_id,
                "trunk": self._call.trunk,
                "headers": self._call.headers,
            },
            "hours": {name: hours.is_open(local) for name, hours in self._plan.hours.items()},
            "step": {"help": step_help},
        }

    def _text(self, template: Template, **more: str) -> str:
        types = {name: rules.type for name, rules in self._plan.slots.items()}

        def say(value: Any, kind: str) -> str:
            return render_value(value, kind, self._locale)

        parts = []
        names = self._names() | more
        for part in template.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            expression, kind = part
            if not kind and expression.source in types:
                kind = FILTER_OF_TYPE.get(types[expression.source], "")
            if expression.source == "step.help":
                waiting = self._waiting()
                parts.append(self._text(waiting.help) if waiting and waiting.help else "")
                continue
            parts.append(say(expression.value(names), kind))
        return " ".join("".join(parts).split())

    @property
    def _locale(self) -> Locale:
        """The language of the call as it is now."""
        return "en-US" if (self._state.language or self._plan.locale) == "en-US" else "en-GB"

    def _speak(self, template: Template, prompting: Prompting) -> None:
        sensitive = any(self._sensitive(name.partition(".")[0]) for name in template.names)
        self._say(self._text(template), prompting, sensitive=sensitive)

    def _say(self, text: str, prompting: Prompting, *, sensitive: bool = False) -> None:
        if not text:
            return
        delivery = self._plan.delivery(prompting.manner, self._locale)
        self._utter(
            Speak(
                utterance="",
                text=text,
                speech_barge_in=prompting.speech,
                dtmf_barge_in=prompting.dtmf,
                min_words=prompting.min_words,
                delivery=delivery,
                sensitive=sensitive,
            )
        )

    def _utter(self, speak: Speak) -> None:
        """Say it under a number of its own."""
        state = self._state
        state.utterances += 1
        spoken = msgspec.structs.replace(speak, utterance=f"u{state.utterances}")
        self._unheard[spoken.utterance] = spoken
        self._out.append(spoken)
        if not speak.sensitive:
            state.said.append(speak.text)

    def _slot(self, name: str) -> program.SlotRules:
        """A slot's rules in the language of the call."""
        rules = self._plan.slots[name]
        if rules.locale == self._locale:
            return rules
        return dataclasses.replace(rules, locale=self._locale)

    def _sensitive(self, slot: str) -> bool:
        rules = self._plan.slots.get(slot)
        return rules is not None and rules.sensitive

    def _waiting(self) -> program.Waiting | None:
        op = self._op()
        return op.waiting if isinstance(op, program.AskMenu | program.CollectSlot) else None

    def _patience(self) -> program.Patience | None:
        op = self._op()
        if isinstance(op, program.RunTool):
            return op.patience
        waiting = self._waiting()
        return None if waiting is None else waiting.patience

    def _op(self) -> program.Op | None:
        wait = self._state.wait
        return None if wait is None else self._plan.blocks[wait.block][wait.index]

    def _ask(self, waiting: program.Waiting) -> None:
        for text in waiting.ask:
            self._speak(text, waiting.prompting)
        self._listen()

    def _ask_again(self) -> None:
        wait, waiting = self._state.wait, self._waiting()
        if wait is None or waiting is None:
            return
        if wait.candidate:
            self._confirm()
        else:
            self._ask(waiting)

    def _listen(self) -> None:
        wait, waiting, op = self._state.wait, self._waiting(), self._op()
        if wait is None or waiting is None:
            return
        assert isinstance(op, program.AskMenu | program.CollectSlot)
        expectation = self._plan.yes_no if wait.candidate else op.expectation
        sensitive = bool(wait.slot) and self._sensitive(wait.slot)
        self._out.append(
            Listen(
                expectation=expectation,
                no_input_ms=waiting.no_input_ms,
                response_onset_ms=waiting.patience.response_onset_ms,
                sensitive=sensitive,
            )
        )

    def _leave_wait(self) -> None:
        wait = self._state.wait
        if wait is None:
            return
        if wait.buffer:
            self._out.append(CancelTimer(timer=INTER_DIGIT))
        if wait.kind in {"slot", "validate"} and self._sensitive(wait.slot):
            self._out.append(PauseRecording(paused=False))
        self._state.wait = None

    def _say_interrupted(self) -> None:
        """A key that means nothing cut a prompt: say it again."""
        interrupted, self._interrupted = self._interrupted, []
        for spoken in interrupted:
            self._utter(spoken)
        if interrupted:
            self._listen()

    @abstractmethod
    def _confirm(self) -> None: ...
