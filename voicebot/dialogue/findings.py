"""A mistake in a plan, and the walk that collects them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from voicebot.config.located_yaml import LocatedData, YamlPath
from voicebot.core.errors import DialplanError
from voicebot.dialogue import model, model_steps
from voicebot.dialogue.plan_walk import Place, branches_of

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake with its place."""

    severity: Severity
    error: DialplanError

    def __str__(self) -> str:
        """As compilers print it."""
        place = ":".join(str(p) for p in (self.error.file, self.error.line, self.error.column) if p)
        key = f"{self.error.key}: " if self.error.key else ""
        return f"{place}: {self.severity}: {key}{self.error.message}"


class Findings:
    """Collects mistakes while walking through one plan."""

    def __init__(self, plan: model.Dialplan, located: LocatedData) -> None:
        self._plan = plan
        self._located = located
        self._findings: list[Finding] = []
        self._places = list(self._everything())
        self._ways: dict[str, set[str]] = {}
        for place in self._places:
            self._ways.setdefault(place.flow, set()).update(t for _, t in self._targets(place))
        self._sensitive = {n for n, s in plan.slots.items() if s.sensitive}

    def _add(
        self, path: YamlPath, message: str, severity: Literal["error", "warning"] = "error"
    ) -> None:
        error = self._located.error(model.model_path(path, self._located.data), message, DialplanError)
        assert isinstance(error, DialplanError)
        self._findings.append(Finding(severity, error))

    def _everything(self) -> Iterator[Place]:
        plan = self._plan
        for flow, steps in plan.flows.items():
            yield from self._walk(steps, ("flows", flow), flow)
        for kind in ("no_input", "no_match", "on_error"):
            yield from self._walk(getattr(plan.defaults, kind).then, ("defaults", kind, "then"), "")
        for index, rule in enumerate(plan.globals):
            if isinstance(rule.goto, model_steps.SimpleStep):
                yield Place(("globals", index, "goto"), "", rule.goto)
        for name, slot in plan.slots.items():
            yield from self._walk(slot.fail, ("slots", name, "fail"), "")

    def _walk(self, steps: Sequence[Any] | None, path: YamlPath, flow: str) -> Iterator[Place]:
        for index, step in enumerate(steps or ()):
            place = (*path, index)
            yield Place(place, flow, step)
            for branch_path, branch in branches_of(step):
                yield from self._walk(branch, (*place, *branch_path), flow)

    def _targets(self, place: Place) -> Iterator[tuple[YamlPath, str]]:
        """Flows that a step leads to itself (its branches are places of their own)."""
        match place.step:
            case model_steps.SimpleStep(goto=str(goto)):
                yield (*place.path, "goto"), goto
            case model_steps.MenuStep(menu=menu):
                for index, choice in enumerate(menu.choices):
                    if choice.goto is not None:
                        yield (*place.path, "menu", "choices", index, "goto"), choice.goto
            case model_steps.RequireStep(require=require):
                for variable, flow in require.items():
                    yield (*place.path, "require", variable), flow

    def _lists(self) -> Iterator[tuple[YamlPath, Sequence[Any]]]:
        for flow, steps in self._plan.flows.items():
            yield ("flows", flow), steps
        for place in self._places:
            for branch_path, branch in branches_of(place.step):
                yield (*place.path, *branch_path), branch

    def _texts(self) -> Iterator[tuple[YamlPath, str]]:
        plan = self._plan
        for place in self._places:
            match place.step:
                case model_steps.SimpleStep(say=list(texts)):
                    yield from (((*place.path, "say", n), t) for n, t in enumerate(texts))
                case model_steps.MenuStep(menu=menu):
                    yield from (((*place.path, "menu", "ask", n), t) for n, t in enumerate(menu.ask))
                    yield (*place.path, "menu", "help"), menu.help
                    yield from _option_texts((*place.path, "menu"), menu)
                case model_steps.CollectStep() as step:
                    yield from _option_texts(place.path, step)
                case model_steps.CallStep() as step:
                    if step.filler is not None:
                        yield (*place.path, "filler"), step.filler
                    yield from _budget_texts(place.path, step.budget)
        for name, slot in plan.slots.items():
            yield from ((("slots", name, "ask", n), t) for n, t in enumerate(slot.ask))
            yield ("slots", name, "help"), slot.help
            if slot.validate_ is not None:
                yield ("slots", name, "validate", "fail"), slot.validate_.fail
        yield from _option_texts(("defaults",), plan.defaults)
        yield ("defaults", "on_error", "say"), plan.defaults.on_error.say
        yield ("defaults", "gave_up"), plan.defaults.gave_up
        ring_back = plan.defaults.ring_back
        yield from ((("defaults", "ring_back", k), getattr(ring_back, k)) for k in ("say", "help"))
        for index, rule in enumerate(plan.globals):
            yield ("globals", index, "say"), rule.say
        callback = plan.handoff.callback
        yield from (
            (("handoff", "callback", k), getattr(callback, k)) for k in ("say", "again", "declined")
        )
        yield ("handoff", "say"), plan.handoff.say
        yield ("handoff", "ended"), plan.handoff.ended
        yield ("handoff", "return", "say"), plan.handoff.return_.say


def _option_texts(
    path: YamlPath, options: model_steps.StepOptions | model_steps.Defaults
) -> Iterator[tuple[YamlPath, str]]:
    for kind, rule in (("no_input", options.no_input), ("no_match", options.no_match)):
        if rule is not None:
            yield from (((*path, kind, "say", n), t) for n, t in enumerate(rule.say))
    low = options.low_confidence
    if low is not None:
        yield (*path, "low_confidence", "say"), low.say
        yield (*path, "low_confidence", "say_keyed"), low.say_keyed
    yield from _budget_texts(path, options.budget)


def _budget_texts(path: YamlPath, budget: model_steps.Budget | None) -> Iterator[tuple[YamlPath, str]]:
    if budget is not None:
        yield (*path, "budget", "filler"), budget.filler
        yield (*path, "budget", "filler_again"), budget.filler_again
