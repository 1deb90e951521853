"""From a file to a program, every mistake with file, line, column and key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voicebot.config.located_yaml import LocatedData, load_located_yaml
from voicebot.core.errors import ConfigError, DialplanError
from voicebot.dialogue.compiler import compile_dialplan
from voicebot.dialogue.model import Dialplan, model_path
from voicebot.dialogue.program import AskMenu, CompiledDialplan

_ADVICE = {
    "extra_forbidden": "unknown key; remove it or correct its name",
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "dict_type": "must be a mapping (key: value)",
    "list_type": "must be a list",
}


def load_dialplan(
    source: Path | str, *, file: str | None = None, warm: bool = False
) -> CompiledDialplan:
    """Read, check and compile a dialplan.

    Args:
        source: A file (``Path``) or the text itself (``str``).
        file: Name for error messages; default the path.
        warm: Train the classifiers now, so that no caller waits for it (a live worker wants this).

    Raises:
        DialplanError: The first mistake, with its place; ``find_mistakes`` gives all of them.
    """
    read = read_dialplan(source, file=file)
    plan = read.plan
    if read.problems or plan is None:
        raise read.problems[0]
    if warm:
        for ops in plan.blocks.values():
            for op in ops:
                if isinstance(op, AskMenu):
                    op.router.warm()
    return plan


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A file as read: ``plan`` and ``located`` as far as it could be understood, and its mistakes."""

    plan: CompiledDialplan | None
    problems: list[DialplanError]
    located: LocatedData | None = None


def read_dialplan(source: Path | str, *, file: str | None = None) -> ReadPlan:
    """The program when there is one, and all mistakes in the order of the file."""
    try:
        located = load_located_yaml(source, file=file)
    except ConfigError as error:
        return ReadPlan(None, [_as_dialplan_error(error)])
    if not isinstance(located.data, dict):
        message = "must be a mapping that begins with 'version: 1'"
        return ReadPlan(None, [DialplanError(message, file=located.file, line=1)])
    try:
        parsed = Dialplan.model_validate(located.data)
    except ValidationError as error:
        problems = _sorted(_located(located, e) for e in error.errors(include_url=False))
        return ReadPlan(None, problems)
    plan, found = compile_dialplan(parsed, located)
    return ReadPlan(plan, _sorted(found), located)


def _sorted(problems: Any) -> list[DialplanError]:
    unique = {(p.line, p.column, p.key, p.message): p for p in problems}
    return [unique[k] for k in sorted(unique, key=lambda k: (k[0] or 0, k[1] or 0))]


def _as_dialplan_error(error: ConfigError) -> DialplanError:
    return DialplanError(
        error.message, file=error.file, line=error.line, column=error.column, key=error.key
    )


def _located(located: LocatedData, error: Mapping[str, Any]) -> DialplanError:
    path = model_path(error["loc"], located.data)
    last = error["loc"][-1] if error["loc"] else ""
    message = _ADVICE.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if error["type"] == "missing":
        message = f"{last!r} {message}"
    elif "ctx" in error and "expected" in error["ctx"]:
        message = f"must be {error['ctx']['expected']}"
    located_error = located.error(path, message, DialplanError)
    assert isinstance(located_error, DialplanError)
    return located_error
