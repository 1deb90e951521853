"""What is done outside the conversation: tools, validation, handing over; and its timers."""

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    CallTool,
    CancelTimer,
    StartTimer,
    StopListening,
    TransferCall,
)
from voicebot.dialogue.choosing import FILLER
from voicebot.dialogue.events import (
    ToolFinished,
    ToolSaid,
    TransferFinished,
)
from voicebot.dialogue.keying import Keying
from voicebot.dialogue.manner import OPEN, UNCUT
from voicebot.dialogue.running import MAX_FAILURES
from voicebot.dialogue.state import Frame, Wait

TOOL = "tool"
TOOL_GRACE_MS = 1000
ANSWER = "answer"  # what a tool with answer_from gives back
HANDOFF = "handoff"
COLLEAGUE_HUNG_UP = "colleague hung up"  # the caller is still there, and must not fall into silence
HANDOFF_LIMIT_MS = 20_000


class Outside(Keying):
    """Asks tools and hands callers over."""

    def _begin_tool(self, name: str, patience: program.Patience) -> str:
        state = self._state
        tool = self._plan.source.tools[name]
        state.requests += 1
        request = f"r{state.requests}"
        names = self._names()
        arguments = {field: names.get(field) for field in tool.send}
        key = f"{self._call.session_id}:{name}:{state.requests}"
        self._out += [
            StopListening(),
            CallTool(request=request, tool=name, arguments=arguments, idempotency_key=key),
            self._filler_timer(patience),
            StartTimer(timer=TOOL, after_ms=tool.timeout * (1 + tool.retries) + TOOL_GRACE_MS),
        ]
        return request

    def _run_tool(self, op: program.RunTool, frame: Frame, index: int) -> None:
        tool = self._plan.source.tools[op.tool]
        missing = next(
            (s for s in tool.send if s in self._plan.slots and s not in self._state.slots), None
        )
        target = self._plan.collected.get((frame.block, missing or ""))
        if missing is not None and target is not None:
            frame.index = target  # lost in a takeover because it is sensitive: ask for it again
            return
        self._state.last_slot = ""  # what a tool has done is not taken back by "no, I said five"
        request = self._begin_tool(op.tool, op.patience)
        self._state.wait = Wait(kind="tool", block=frame.block, index=index, request=request)

    def _tool_said(self, said: ToolSaid) -> None:
        """A tool that answers from texts has another sentence ready."""
        wait = self._state.wait
        if wait is None or wait.request != said.request or wait.kind != "tool":
            return
        self._out.append(CancelTimer(timer=FILLER))
        wait.parts += 1
        self._say(said.text, OPEN)

    def _tool_finished(self, done: ToolFinished) -> None:
        wait = self._state.wait
        if wait is None or wait.request != done.request or wait.kind not in {"tool", "validate"}:
            return
        self._out += [CancelTimer(timer=FILLER), CancelTimer(timer=TOOL)]
        wait.fillers = 0
        outcome = done.outcome if done.outcome in {"ok", "denied", "timeout"} else "error"
        if wait.kind == "validate":
            self._validated(wait, outcome)
            return
        op = self._op()
        assert isinstance(op, program.RunTool)
        self._state.wait = None
        tool = self._plan.source.tools[op.tool]
        for name, value in done.values.items():
            if not tool.returns or name in tool.returns:
                self._state.variables[name] = value
        if tool.answer_from is not None and outcome == "ok" and not wait.parts:
            self._say(str(done.values.get(ANSWER, "")), OPEN)
        block = op.branches.get(outcome)
        if block is None and outcome == "timeout":
            block = op.branches.get("error")
        if block is None and outcome != "ok":
            block = self._plan.on_error
        if block is not None:
            self._state.frames.append(Frame(block))
        self._run()

    def _validated(self, wait: Wait, outcome: str) -> None:
        rules = self._slot(wait.slot)
        if outcome == "ok":
            self._slot_done(rules, wait.candidate_by, confirmed=bool(wait.reason))
            return
        self._state.slots.pop(wait.slot, None)
        if outcome != "denied":
            self._leave_wait()
            self._state.frames.append(Frame(self._plan.on_error))
            self._run()
            return
        wait.kind = "slot"
        wait.request = wait.reason = ""
        self._refused(rules)

    def _timer(self, timer: str) -> None:
        wait = self._state.wait
        if wait is None:
            return
        match timer:
            case "inter_digit" if wait.kind == "slot" and wait.buffer:
                self._digits_complete(self._slot(wait.slot), wait)
            case "filler" if wait.kind in {"tool", "validate", "router"}:
                patience = self._patience()
                if patience is not None:
                    self._speak(patience.filler_again if wait.fillers else patience.filler, OPEN)
                    wait.fillers += 1
                    self._out.append(self._filler_timer(patience))
            case "router" if wait.kind == "router":
                self._routed(None, 0.0)
            case "tool" if wait.kind in {"tool", "validate"}:
                self._tool_finished(ToolFinished(request=wait.request, outcome="timeout"))
            case "handoff" if wait.kind == "handoff":
                self._transfer()

    def _hand_off(self, op: program.HandOff, block: str, index: int) -> None:
        if self._plan.handoff_say is not None:
            self._speak(self._plan.handoff_say, UNCUT)
        self._out.append(StopListening())
        self._state.wait = Wait(
            kind="handoff", block=block, index=index, queue=op.queue, reason=op.reason
        )
        self._transfer_in_time()

    def _transfer_in_time(self) -> None:
        """When the caller has heard everything, and not much later should its end not be reported."""
        if self._unheard:
            self._out.append(StartTimer(timer=HANDOFF, after_ms=HANDOFF_LIMIT_MS))
        else:
            self._transfer()

    def _transfer_when_heard(self) -> None:
        wait = self._state.wait
        if wait is not None and wait.kind == "handoff" and not self._unheard:
            self._out.append(CancelTimer(timer=HANDOFF))
            self._transfer()

    def _transfer(self) -> None:
        state = self._state
        assert state.wait is not None
        state.requests += 1
        state.wait.kind = "transfer"
        state.wait.request = f"r{state.requests}"
        queue = self._plan.source.queues[state.wait.queue]
        self._out.append(
            TransferCall(
                request=state.wait.request,
                uri=queue.sip,
                queue=state.wait.queue,
                mode=queue.mode,
                reason=state.wait.reason,
            )
        )

    def _transfer_finished(self, done: TransferFinished) -> None:
        state = self._state
        wait = state.wait
        if wait is None or wait.kind != "transfer" or wait.request != done.request:
            return
        state.wait = None
        if done.outcome in {"bridged", "voicemail"}:
            if done.reason == COLLEAGUE_HUNG_UP and self._plan.handoff_ended is not None:
                self._speak(self._plan.handoff_ended, UNCUT)
            self._hang_up("transferred")
            return
        state.failures += 1
        if state.failures > MAX_FAILURES:
            self._give_up("nobody_free")
            return
        state.frames = [Frame(self._plan.handoff_return)]
        self._run()
