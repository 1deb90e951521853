"""Walks through the program until somebody has to be waited for.

frames: a stack of places        If, branches, Require push │ their end pops
Goto replaces all, down to the flow that a Require runs
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import assert_never

import msgspec

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    HangUp,
    StopListening,
)
from voicebot.dialogue.compiling import GAVE_UP, RING_BACK
from voicebot.dialogue.expressions import Expression
from voicebot.dialogue.state import Frame, Wait
from voicebot.dialogue.talking import Talking

MAX_OPERATIONS = 500  # between two answers; a plan that loops ends with an apology
MAX_FRAMES = 40
MAX_FAILURES = 3  # errors of our own before the call is ended politely


class Running(Talking):
    """Executes operations."""

    def _run(self) -> None:
        operations = 0
        state = self._state
        while state.wait is None and not state.over:
            operations += 1
            if operations > MAX_OPERATIONS or len(state.frames) > MAX_FRAMES:
                self._give_up("loop")
                return
            if not state.frames:
                self._hang_up("completed")
                return
            frame = state.frames[-1]
            ops = self._plan.blocks[frame.block]
            if frame.index >= len(ops):
                state.frames.pop()
                continue
            frame.index += 1
            self._execute(ops[frame.index - 1], frame, frame.index - 1)

    def _execute(self, op: program.Op, frame: Frame, index: int) -> None:
        state = self._state
        match op:
            case program.Say():
                for text in op.texts:
                    self._speak(text, op.prompting)
            case program.UseLanguage():
                state.language = op.locale
            case program.Set():
                for name, value in op.values:
                    known = value.value(self._names()) if isinstance(value, Expression) else value
                    state.variables[name] = known
            case program.Clear():
                for slot in op.slots:
                    state.slots.pop(slot, None)
            case program.If():
                block = op.then if op.condition.value(self._names()) else op.otherwise
                if block is not None:
                    state.frames.append(Frame(block))
            case program.Goto():
                self._goto(op.flow)
            case program.Require():
                self._require(op, frame, index)
            case program.Retry():
                self._retry(op)
            case program.AskMenu():
                self._begin_menu(op, frame, index)
            case program.CollectSlot():
                self._begin_slot(op, frame.block, index)
            case program.RunTool():
                self._run_tool(op, frame, index)
            case program.HandOff():
                self._hand_off(op, frame.block, index)
            case program.End():
                self._hang_up(op.reason)
            case program.TakeUp():
                self._take_up(op.gates)
            case program.RequireAgain():
                if state.earlier is not None and state.earlier.variables.get(op.gate.variable):
                    self._require(op.gate, frame, index)
            case program.GoOn():
                self._go_on(op.gates)
            case program.StartAnew():
                self._forget_earlier()
            case _:
                assert_never(op)

    def _begin_menu(self, op: program.AskMenu, frame: Frame, index: int) -> None:
        state = self._state
        while state.further:  # named in one breath with what has just been done
            intent = state.further.pop(0)
            if intent in op.branches:
                state.frames.append(Frame(op.branches[intent]))
                return
        state.menu_frames = [msgspec.structs.replace(f) for f in state.frames]
        state.menu_frames[-1].index = index
        state.wait = Wait(kind="menu", block=frame.block, index=index)
        self._ask(op.waiting)

    def _goto(self, block: str) -> None:
        frames = self._state.frames
        while frames and not frames[-1].required:
            frames.pop()
        required = bool(frames) and frames.pop().required
        frames.append(Frame(block, required=required))

    def _jump(self, block: str) -> None:
        """Leave everything for ``block``."""
        self._leave_wait()
        self._state.frames = [Frame(block)]
        self._run()

    def _enter(self, block: str) -> None:
        """Answered: go into the branch, and afterwards on behind the step."""
        self._leave_wait()
        self._state.frames.append(Frame(block))
        self._run()

    def _require(self, op: program.Require, frame: Frame, index: int) -> None:
        state = self._state
        attempt = f"{frame.block}[{index}] {op.variable}"
        if state.variables.get(op.variable):
            state.attempts.pop(attempt, None)
            return
        if state.attempts.get(attempt):
            state.attempts.pop(attempt)
            state.frames.append(Frame(op.fail))
            return
        state.attempts[attempt] = 1
        frame.index = index  # looked at again when the flow has ended
        state.frames.append(Frame(op.flow, required=True))

    def _retry(self, op: program.Retry) -> None:
        state = self._state
        slot = self._plan.source.slots[op.slot]
        retries = (
            slot.retries if slot.retries is not None else self._plan.source.defaults.no_match.retries
        )
        key = f"retry {op.slot}"
        state.attempts[key] = state.attempts.get(key, 0) + 1
        state.slots.pop(op.slot, None)
        if state.attempts[key] > retries:
            state.attempts.pop(key)
            state.frames.append(Frame(op.exhausted))
            return
        while state.frames and state.frames[-1].block != op.block:
            state.frames.pop()
        state.frames[-1].index = op.index

    def _offer_earlier(self) -> None:
        """Ask whether to go on where an earlier call was, after what every caller has to hear first."""
        state = self._state
        frame = state.frames[-1]
        ops = self._plan.blocks[frame.block]
        while frame.index < len(ops) and isinstance(
            op := ops[frame.index], program.Say | program.UseLanguage | program.Set
        ):
            frame.index += 1
            self._execute(op, frame, frame.index - 1)
        state.frames.append(Frame(RING_BACK))

    def _take_up(self, gates: Sequence[str]) -> None:
        state, earlier = self._state, self._state.earlier
        if earlier is None:
            return
        state.slots = dict(earlier.slots)
        state.variables |= {n: v for n, v in earlier.variables.items() if n not in gates}
        state.language = earlier.language
        state.last_slot = earlier.last_slot
        state.heard = state.heard_type = ""  # "yes" is not the answer to the next question as well
        state.further = []

    def _go_on(self, gates: Sequence[str]) -> None:
        state, earlier = self._state, self._state.earlier
        self._forget_earlier()
        if earlier is None:
            return
        if any(earlier.variables.get(g) and not state.variables.get(g) for g in gates):
            return
        state.frames, state.menu_frames = earlier.frames, earlier.menu_frames
        state.attempts = earlier.attempts
        state.secrets = sorted({*state.secrets, *earlier.secrets})

    def _forget_earlier(self) -> None:
        state = self._state
        state.earlier = None
        state.heard = state.heard_type = ""
        state.further = []

    def _give_up(self, reason: str) -> None:
        """Nothing helped: say so, and hang up. Nobody is left with a dead line."""
        for op in self._plan.blocks[GAVE_UP]:
            if isinstance(op, program.Say):
                for text in op.texts:
                    self._speak(text, op.prompting)
        self._hang_up(reason)

    def _hang_up(self, reason: str) -> None:
        self._leave_wait()
        self._state.over = True
        self._state.end_reason = reason
        self._out += [StopListening(), HangUp(reason=reason)]

    def _jump_out(self, block: str) -> None:
        """A step gives up: its branch decides how to go on, the step itself is over."""
        self._leave_wait()
        self._state.frames.append(Frame(block))
        self._state.failures += 1
        if self._state.failures > MAX_FAILURES:
            self._give_up("gave_up")
            return
        self._run()

    @abstractmethod
    def _begin_slot(self, op: program.CollectSlot, block: str, index: int) -> None: ...

    @abstractmethod
    def _run_tool(self, op: program.RunTool, frame: Frame, index: int) -> None: ...

    @abstractmethod
    def _hand_off(self, op: program.HandOff, block: str, index: int) -> None: ...
