"""Ways through a plan's model: branches, steps that leave, texts, names that are read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import model_steps
from voicebot.dialogue.expressions import ExpressionError, parse_expression, parse_template
from voicebot.dialogue.rendering import FILTERS

_TEMPLATE = re.compile(r"\{\{")


@dataclass(frozen=True, slots=True)
class Place:
    """A step with its path and the flow it stands in ("" outside flows)."""

    path: YamlPath
    flow: str
    step: Any


def branches_of(step: Any) -> Iterator[tuple[YamlPath, Sequence[Any]]]:
    """The branches of a step, with their path below it."""
    match step:
        case model_steps.IfStep():
            yield ("then",), step.then
            if step.else_ is not None:
                yield ("else",), step.else_
        case model_steps.MenuStep():
            yield from _options(step.menu, ("menu",))
            for index, choice in enumerate(step.menu.choices):
                if choice.then is not None:
                    yield ("menu", "choices", index, "then"), choice.then
        case model_steps.CollectStep():
            yield from _options(step, ())
        case model_steps.CallStep():
            for outcome, branch in step.result.items():
                yield ("result", outcome), branch
        case model_steps.RequireStep() if step.fail is not None:
            yield ("fail",), step.fail


def _options(
    options: model_steps.StepOptions, path: YamlPath
) -> Iterator[tuple[YamlPath, Sequence[Any]]]:
    for kind in ("no_input", "no_match"):
        rule = getattr(options, kind)
        if rule is not None and rule.then is not None:
            yield (*path, kind, "then"), rule.then


def leaves(step: Any) -> bool:
    """Whether nothing after this step of the same list can run."""
    match step:
        case model_steps.SimpleStep():
            return any(v is not None for v in (step.goto, step.handoff, step.hangup, step.retry))
        case model_steps.IfStep():
            return step.else_ is not None and always_leaves(step.then) and always_leaves(step.else_)
        case model_steps.MenuStep():
            return all(c.goto is not None or always_leaves(c.then or ()) for c in step.menu.choices)
    return False


def always_leaves(steps: Sequence[Any]) -> bool:
    """Whether a list of steps never runs through."""
    return any(leaves(step) for step in steps)


def silent_gotos(steps: Sequence[Any], path: YamlPath) -> tuple[dict[str, YamlPath], bool]:
    """Flows reached without waiting for the caller, and whether the list can run through so."""
    found: dict[str, YamlPath] = {}
    for index, step in enumerate(steps):
        place = (*path, index)
        match step:
            case model_steps.SimpleStep():
                if step.goto is not None:
                    found.setdefault(step.goto, (*place, "goto"))
                if leaves(step):
                    return found, False
            case model_steps.IfStep():
                through = step.else_ is None
                for name, branch in (("then", step.then), ("else", step.else_ or ())):
                    targets, runs = silent_gotos(branch, (*place, name))
                    found = {**targets, **found}
                    through = through or runs
                if not through:
                    return found, False
            case model_steps.MenuStep() | model_steps.CollectStep():
                return found, False
            case model_steps.CallStep():
                for outcome, branch in step.result.items():
                    found = {**silent_gotos(branch, (*place, "result", outcome))[0], **found}
    return found, True


def names_of(text: str, *, template: bool) -> frozenset[str]:
    """Names that a text or condition reads; none when it is malformed (the compiler reports that)."""
    try:
        return parse_template(text, FILTERS).names if template else parse_expression(text).names
    except ExpressionError:
        return frozenset()
