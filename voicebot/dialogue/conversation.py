"""Runs a compiled dialplan for one call: events and times in, actions out.

      start ─► run ─► Say, Set, If, Goto …            (at once)
                │
                └───► AskMenu, CollectSlot, RunTool, HandOff
                          │ wait
        event ────────────┘ answer ─► branch ─► run …

Nothing here reads a clock or touches the outside; the same events give the same actions.
"""

import copy
from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from voicebot.asr.yes_no import read_yes_no
from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    Action,
    HangUp,
    PauseRecording,
    Speak,
    StopListening,
)
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    Event,
    NoInput,
    PromptFinished,
    PromptInterrupted,
    RouteFinished,
    TimerExpired,
    ToolFinished,
    ToolSaid,
    TransferFinished,
)
from voicebot.dialogue.outside import Outside
from voicebot.dialogue.state import CallFacts, ConversationState


class Conversation(Outside):
    """One call's conversation.

    Args:
        plan: The program.
        call: What is known about the call.
        state: Memory of a conversation that another worker began.

    Raises:
        LookupError: No route matches the call (``open_conversation`` gives a value instead).
    """

    @property
    def over(self) -> bool:
        """Whether nothing more will be said."""
        return self._state.over

    def start(self) -> list[Action]:
        """The call was answered."""
        if self._state.earlier is not None:
            self._offer_earlier()
        self._run()
        return self._flush()

    def fork(self) -> "Conversation":
        """A twin that remembers the same; what becomes of it does not touch this one."""
        twin = Conversation(self._plan, self._call, state=copy.deepcopy(self._state))
        twin._unheard, twin._interrupted = dict(self._unheard), list(self._interrupted)
        twin._at_ms = self._at_ms
        return twin

    def count_on(self, other: "Conversation") -> None:
        """Give nothing a name that ``other``, a twin whose last turn is taken back, has used.

        Nor wait for the end of a prompt that only the other has been told of.
        """
        utterances, requests = other.counts
        self._state.utterances = max(self._state.utterances, utterances)
        self._state.requests = max(self._state.requests, requests)
        self._unheard = {n: speak for n, speak in self._unheard.items() if n in other.unheard}

    @property
    def counts(self) -> tuple[int, int]:
        """How many utterances and requests were given a name."""
        return self._state.utterances, self._state.requests

    @property
    def unheard(self) -> frozenset[str]:
        """The prompts whose end was not reported yet."""
        return frozenset(self._unheard)

    def resume(self, unheard: Sequence[Speak] | None = None) -> list[Action]:
        """Go on after ``restore``: what was asked last is asked again.

        Args:
            unheard: What is still on its way to the caller, when the restored call goes on by itself:
                only its ends will be reported, whatever the ``Speak`` actions given here say. None: the
                actions are carried out.
        """
        turns = self._state.turns
        self._resumed(unheard)
        actions = self._flush()
        if unheard is not None:
            # What is asked again was stored before. A turn that the last worker wrote before it died,
            # without the state that follows from it, comes again and must get its old number.
            self._state.turns = turns
        return actions

    def _resumed(self, unheard: Sequence[Speak] | None) -> None:
        wait = self._state.wait
        # The last worker may have died between storing that it asks for a secret and telling the edge.
        secret = wait is not None and wait.kind in {"slot", "validate"} and self._sensitive(wait.slot)
        self._out.append(PauseRecording(paused=secret))
        if unheard is not None and wait is not None and wait.kind == "handoff":
            self._unheard = {speak.utterance: speak for speak in unheard}
            self._out.append(StopListening())
            self._transfer_in_time()
            return
        if self._state.over:  # decided, but the last worker may have died before it hung up
            self._out += [StopListening(), HangUp(reason=self._state.end_reason)]
        elif wait is None:
            self._run()
        elif wait.kind in {"menu", "slot"}:
            self._ask_again()
        elif wait.kind == "transfer":
            pass
        elif wait.kind == "validate" and wait.slot in self._state.slots and (own := self._patience()):
            # the answer may have been lost: the same idempotency key makes asking again safe
            self._state.requests -= 1
            wait.request = self._begin_tool(self._plan.slots[wait.slot].tool or "", own)
        else:
            self._state.frames[-1].index = wait.index
            self._state.requests -= 1 if wait.request else 0
            self._state.wait = None
            self._run()
        if unheard is not None:
            self._unheard = {speak.utterance: speak for speak in unheard}

    def snapshot(self) -> dict[str, Any]:
        """The memory as JSON-ready data, without anything sensitive."""
        state: dict[str, Any] = msgspec.to_builtins(self._state)
        secrets = [name for name in state["slots"] if self._sensitive(name)]
        state["slots"] = {n: v for n, v in state["slots"].items() if n not in secrets}
        state["secrets"] = sorted({*state["secrets"], *secrets})
        wait = self._state.wait
        if wait is not None and wait.slot and self._sensitive(wait.slot):
            state["wait"]["buffer"] = state["wait"]["candidate"] = ""
        return state

    @classmethod
    def restore(
        cls, plan: program.CompiledDialplan, call: CallFacts, snapshot: dict[str, Any]
    ) -> "Conversation":
        """The conversation that ``snapshot`` was taken of; ``resume`` gives its first actions."""
        return cls(plan, call, state=msgspec.convert(snapshot, ConversationState))

    def handle(self, event: Event) -> list[Action]:
        """Take one event."""
        if self._state.over and not isinstance(event, CallerHungUp):
            return []
        self._at_ms = event.at_ms
        match event:
            case CallerSaid():
                self._caller_said(event)
            case DigitPressed():
                self._digit(event.digit)
            case NoInput():
                self._no_input()
            case PromptFinished():
                self._unheard.pop(event.utterance, None)
                self._transfer_when_heard()
            case PromptInterrupted():
                spoken = self._unheard.pop(event.utterance, None)
                if spoken is not None:
                    self._interrupted.append(spoken)
                self._transfer_when_heard()
            case TimerExpired():
                self._timer(event.timer)
            case ToolSaid():
                self._tool_said(event)
            case ToolFinished():
                self._tool_finished(event)
            case TransferFinished():
                self._transfer_finished(event)
            case RouteFinished():
                if self._state.wait is not None and self._state.wait.request == event.request:
                    self._routed(event.intent, event.confidence)
            case CallerHungUp():
                self._state.over = True
                self._state.wait = None
            case _:
                assert_never(event)
        return self._flush()

    def _caller_said(self, said: CallerSaid) -> None:
        wait = self._state.wait
        self._state.swallow = ""
        self._state.manner = said.manner
        if wait is None or wait.kind not in {"menu", "slot"}:
            # words while a tool runs or a transfer rings change nothing, but stay in the record
            self._record(said.text, by="speech", confidence=said.confidence)
            return
        op = self._op()
        if self._said_global(said, op):
            return
        if wait.candidate:
            self._confirmed(said, read_yes_no(said.text))
        elif self._corrected(said):
            return
        elif isinstance(op, program.AskMenu):
            self._menu_said(said, op)
        elif isinstance(op, program.CollectSlot):
            self._slot_said(said, op)
