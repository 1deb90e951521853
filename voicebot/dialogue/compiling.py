"""What every part of the compiler does: resolve names, parse texts, note problems."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from voicebot.config.located_yaml import LocatedData, YamlPath
from voicebot.core.errors import DialplanError
from voicebot.dialogue import model, program
from voicebot.dialogue.expressions import (
    Expression,
    ExpressionError,
    Template,
    parse_expression,
    parse_template,
)
from voicebot.dialogue.rendering import FILTERS

ON_ERROR = "<error>"
GOODBYE = "<end>"
GAVE_UP = "<gave up>"
RING_BACK = "<ring back>"


class Compiling(ABC):
    """Problems with places, names, texts and conditions; each part of the compiler builds on it."""

    def __init__(self, source: model.Dialplan, located: LocatedData) -> None:
        self.problems: list[DialplanError] = []
        self._source = source
        self._located = located
        self._global_examples: dict[str, tuple[str, ...]] = {}
        self._global_phrases: tuple[str, ...] = ()
        self._blocks: dict[str, tuple[program.Op, ...]] = {}
        self._defaults = source.defaults
        self._flow = ""
        self._collected: dict[tuple[str, str], tuple[str, int]] = {}
        self._retries: list[tuple[str, int, str, str, YamlPath]] = []

    def _problem(self, path: YamlPath, message: str) -> None:
        place = model.model_path(path, self._located.data)
        error = self._located.error(place, message, DialplanError)
        assert isinstance(error, DialplanError)
        self.problems.append(error)

    def _known(self, name: str, names: Mapping[str, Any], what: str, path: YamlPath) -> bool:
        if name in names:
            return True
        there = ", ".join(names) or "none"
        self._problem(path, f"unknown {what} {name!r}; there are: {there}")
        return False

    def _template(self, text: str, path: YamlPath) -> Template:
        try:
            return parse_template(text, FILTERS)
        except ExpressionError as error:
            self._problem(path, str(error))
            return Template(text, (text,))

    def _templates(self, texts: Sequence[str], path: YamlPath) -> tuple[Template, ...]:
        return tuple(self._template(t, (*path, n)) for n, t in enumerate(texts))

    def _expression(self, text: str, path: YamlPath) -> Expression:
        try:
            return parse_expression(text)
        except ExpressionError as error:
            self._problem(path, f"not a condition: {error}")
            return Expression(text, ("value", False), frozenset())

    @abstractmethod
    def _branch(
        self, steps: list[Any] | None, path: YamlPath, name: str, otherwise: str = ON_ERROR
    ) -> str: ...
