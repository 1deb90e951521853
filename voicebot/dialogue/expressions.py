"""Conditions and ``{{ templates }}``: a language too small to do harm.

    or > and > not > comparison (== != < <= > >= in) > + - > name.member, "text", 12, true, (…)

An expression is parsed once when the plan is loaded, into nested tuples; evaluating walks them. There
are no calls, no indexing, no loops, and names reach only what the conversation offers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Node = tuple[Any, ...]
MAX_LENGTH = 500
MAX_DEPTH = 20

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|\+|-|\(|\)))"
)
_WORDS = {"true": True, "false": False, "none": None}
_COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">=", "in"])


class ExpressionError(ValueError):
    """An expression or template that is not in the language."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: ``source`` for messages, ``names`` it reads."""

    source: str
    node: Node
    names: frozenset[str]

    def value(self, names: Mapping[str, Any]) -> Any:
        """Evaluate; unknown names are None, unlike things compare as false; never an error."""
        return _evaluate(self.node, names)


def parse_expression(source: str) -> Expression:
    """Parse ``source``.

    Raises:
        ExpressionError: With what was expected.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    tokens: list[tuple[str, str]] = []
    position = 0
    text = source.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected {text[position:].strip()[:1]!r}")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        position = match.end()
    parser = _Parser(tokens)
    node = parser.whole()
    return Expression(source.strip(), node, frozenset(parser.names))


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> Node:
        node = self._or()
        if self._at < len(self._tokens):
            raise ExpressionError(f"unexpected {self._tokens[self._at][1]!r}")
        return node

    def _take(self, *texts: str) -> str | None:
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if text in texts and kind in {"name", "sign"}:
                self._at += 1
                return text
        return None

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError("nested too deeply")
        node = self._and()
        while self._take("or"):
            node = ("or", node, self._and())
        self._depth -= 1
        return node

    def _and(self) -> Node:
        node = self._not()
        while self._take("and"):
            node = ("and", node, self._not())
        return node

    def _not(self) -> Node:
        negations = 0
        while self._take("not"):
            negations += 1
        node = self._comparison()
        for _ in range(negations):
            node = ("not", node)
        return node

    def _comparison(self) -> Node:
        node = self._sum()
        sign = self._take(*_COMPARISONS)
        return (sign, node, self._sum()) if sign else node

    def _sum(self) -> Node:
        node = self._atom()
        while sign := self._take("+", "-"):
            node = (sign, node, self._atom())
        return node

    def _atom(self) -> Node:
        if self._take("("):
            node = self._or()
            if not self._take(")"):
                raise ExpressionError("missing ')'")
            return node
        if self._at >= len(self._tokens):
            raise ExpressionError("ends too early")
        kind, text = self._tokens[self._at]
        self._at += 1
        match kind:
            case "number":
                return ("value", float(text) if "." in text else int(text))
            case "text":
                return ("value", text[1:-1])
            case "name" if text in _WORDS:
                return ("value", _WORDS[text])
            case "name" if text not in {"and", "or", "not", "in"}:
                self.names.add(text)
                return ("name", *text.split("."))
        raise ExpressionError(f"unexpected {text!r}")


def _number(value: object) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}(\.\d{1,6})?( [A-Z]{3})?", value):
        return float(value.split()[0])  # digits and money ("42.10 GBP") compare by amount
    return None


def _evaluate(node: Node, names: Mapping[str, Any]) -> Any:
    match node:
        case ("value", value):
            return value
        case ("name", *parts):
            here: Any = names
            for part in parts:
                here = here.get(part) if isinstance(here, Mapping) else None
            return here
        case ("not", inner):
            return not _evaluate(inner, names)
        case ("and", left, right):
            return _evaluate(left, names) and _evaluate(right, names)
        case ("or", left, right):
            return _evaluate(left, names) or _evaluate(right, names)
        case (sign, left, right):
            return _apply(sign, _evaluate(left, names), _evaluate(right, names))
    raise AssertionError(node)


def _apply(sign: str, left: Any, right: Any) -> Any:
    if sign == "in":
        return isinstance(right, str | list | tuple | Mapping) and left in right
    if sign in {"==", "!="}:
        return (left == right) == (sign == "==")
    numbers = _number(left), _number(right)
    if numbers[0] is None or numbers[1] is None:
        if sign in {"+", "-"}:
            return None
        if not (isinstance(left, str) and isinstance(right, str)):
            return False
        return _ORDER[sign](left, right)  # ISO dates and times sort as text
    if sign == "+":
        return numbers[0] + numbers[1]
    if sign == "-":
        return numbers[0] - numbers[1]
    return _ORDER[sign](numbers[0], numbers[1])


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True, slots=True)
class Template:
    """Text with holes: each part is text, or an expression with the filter that renders it."""

    source: str
    parts: tuple[str | tuple[Expression, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """Every name that the template reads."""
        return frozenset().union(*(p[0].names for p in self.parts if not isinstance(p, str)))

    def render(self, names: Mapping[str, Any], say: Callable[[Any, str], str]) -> str:
        """The text, each hole filled by ``say(value, filter)``; filter is "" when none is given."""
        return "".join(
            p if isinstance(p, str) else say(p[0].value(names), p[1]) for p in self.parts
        ).strip()


_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def parse_template(source: str, filters: frozenset[str]) -> Template:
    """Parse ``Your balance is {{ amount | money }}``.

    Raises:
        ExpressionError: For a bad expression, an unknown filter or an unclosed hole.
    """
    parts: list[str | tuple[Expression, str]] = []
    position = 0
    for match in _HOLE.finditer(source):
        parts.append(source[position : match.start()])
        expression, _, name = match[1].partition("|")
        name = name.strip()
        if name and name not in filters:
            raise ExpressionError(f"unknown filter {name!r}; there are {', '.join(sorted(filters))}")
        parts.append((parse_expression(expression), name))
        position = match.end()
    rest = source[position:]
    if "{{" in rest or "}}" in rest or "{{" in "".join(p for p in parts if isinstance(p, str)):
        raise ExpressionError("'{{' and '}}' must come in pairs")
    parts.append(rest)
    return Template(source, tuple(p for p in parts if p))
