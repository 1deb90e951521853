"""Flows and branches: each list of steps becomes a block of operations."""

from collections.abc import Sequence
from typing import Any

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import model_steps, program
from voicebot.dialogue.compile_questions import QuestionCompiler
from voicebot.dialogue.compiling import GAVE_UP, ON_ERROR
from voicebot.dialogue.manner import prompting_of
from voicebot.dialogue.model_types import inherited


class StepCompiler(QuestionCompiler):
    """Compiles flows."""

    def _branch(
        self, steps: list[Any] | None, path: YamlPath, name: str, otherwise: str = ON_ERROR
    ) -> str:
        """The block for a branch; ``otherwise`` when the plan gives none."""
        if steps is None:
            return otherwise
        while name in self._blocks:
            name += "'"
        self._steps(name, steps, path)
        return name

    def _steps(self, block: str, steps: Sequence[Any], path: YamlPath) -> None:
        self._blocks[block] = ()
        ops: list[program.Op] = []
        for index, step in enumerate(steps):
            self._step(block, ops, step, (*path, index))
        self._blocks[block] = tuple(ops)

    def _step(self, block: str, ops: list[program.Op], step: Any, path: YamlPath) -> None:
        label = f"{block}[{len(ops)}]"
        match step:
            case model_steps.SimpleStep():
                self._simple(block, ops, step, path)
            case model_steps.IfStep():
                then = self._branch(step.then, (*path, "then"), f"{label}.then")
                other = None
                if step.else_ is not None:
                    other = self._branch(step.else_, (*path, "else"), f"{label}.else")
                ops.append(program.If(self._expression(step.if_, (*path, "if")), then, other))
            case model_steps.MenuStep():
                ops.append(self._menu(step.menu, (*path, "menu"), label))
            case model_steps.CollectStep():
                for number, name in enumerate(step.collect):
                    if self._known(name, self._source.slots, "slot", (*path, "collect", number)):
                        self._collected[(self._flow, name)] = (block, len(ops))
                        ops.append(self._collect(name, step, path, f"{label}.{name}"))
            case model_steps.CallStep():
                self._known(step.call, self._source.tools, "tool", (*path, "call"))
                patience = self._patience(step.budget, path, step.filler)
                branches = {
                    str(o): self._branch(b, (*path, "result", o), f"{label}.{o}")
                    for o, b in step.result.items()
                }
                ops.append(program.RunTool(step.call, patience, branches))
            case model_steps.RequireStep():
                fail = self._branch(step.fail, (*path, "fail"), f"{label}.fail")
                for variable, flow in step.require.items():
                    self._known(flow, self._source.flows, "flow", (*path, "require", variable))
                    ops.append(program.Require(variable, flow, fail))

    def _simple(
        self, block: str, ops: list[program.Op], step: model_steps.SimpleStep, path: YamlPath
    ) -> None:
        ways = [w for w in ("retry", "goto", "handoff", "hangup") if getattr(step, w) is not None]
        if len(ways) > 1:
            self._problem((*path, ways[1]), f"only one of {' and '.join(ways)} can be done")
        done = (step.say, step.set, step.clear, step.language)
        if not ways and all(part is None for part in done):
            self._problem(path, "does nothing; write say, set, menu, collect, call, require, if or goto")
        self._needs(step, path, "say", ("barge_in", "voice", "prosody"))
        if step.handoff is None and step.hangup is None:
            self._needs(step, path, "handoff", ("reason",))
        if step.language is not None:
            ops.append(program.UseLanguage(step.language))
        if step.say is not None:
            barge_in = inherited(step.barge_in, self._defaults.barge_in)
            texts = self._templates(step.say, (*path, "say"))
            ops.append(program.Say(texts, prompting_of(step, barge_in)))
        if step.set is not None:
            ops.append(
                program.Set(tuple((k, self._value(v, (*path, "set", k))) for k, v in step.set.items()))
            )
        if step.clear is not None:
            for index, slot in enumerate(step.clear):
                self._known(slot, self._source.slots, "slot", (*path, "clear", index))
            ops.append(program.Clear(tuple(step.clear)))
        if step.retry is not None:
            if self._known(step.retry, self._source.slots, "slot", (*path, "retry")):
                self._retries.append((block, len(ops), step.retry, self._flow, (*path, "retry")))
                ops.append(program.Retry(step.retry, block, 0, ON_ERROR))
        elif step.goto is not None:
            self._known(step.goto, self._source.flows, "flow", (*path, "goto"))
            ops.append(program.Goto(step.goto))
        elif step.handoff is not None:
            self._known(step.handoff, self._source.queues, "queue", (*path, "handoff"))
            ops.append(program.HandOff(step.handoff, step.reason))
        elif step.hangup is not None:
            ops.append(program.End(step.hangup or step.reason or "completed"))

    def _needs(
        self, step: model_steps.SimpleStep, path: YamlPath, needed: str, keys: Sequence[str]
    ) -> None:
        """Keys that do something only beside another one."""
        if getattr(step, needed) is None:
            for key in keys:
                if key in step.model_fields_set:
                    self._problem((*path, key), f"has no effect without {needed!r}")

    def _value(self, value: Any, path: YamlPath) -> Any:
        if isinstance(value, str) and value.startswith("{{") and value.endswith("}}"):
            return self._expression(value[2:-2], path)
        return value

    def _resolve_retries(self) -> None:
        for block, index, slot, flow, path in self._retries:
            target = self._collected.get((flow, slot))
            if target is None:
                self._problem(path, f"flow {flow!r} does not collect {slot!r}, so it cannot be retried")
                continue
            name = f"<slot {slot}>.fail"
            exhausted = self._exhausted(slot, name)
            ops = list(self._blocks[block])
            ops[index] = program.Retry(slot, *target, exhausted)
            self._blocks[block] = tuple(ops)

    def _exhausted(self, slot: str, name: str) -> str:
        if name in self._blocks:
            return name
        fail = self._source.slots[slot].fail or self._defaults.no_match.then
        path: YamlPath = ("slots", slot, "fail") if self._source.slots[slot].fail else (
            "defaults", "no_match", "then",
        )  # fmt: skip
        return self._branch(fail, path, name, GAVE_UP)
