"""YAML that remembers where each key stands, and refuses what a person would not have meant.

The text is read event by event and never composed by the library, so that size, depth, aliases and
duplicate keys are refused before anything is built from them. Scalars follow the YAML 1.2 core schema:
``yes``, ``on`` and ``8:00`` are text, ``true``, ``null`` and ``12`` are not.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from voicebot.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

YamlPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 64

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}\Z|0x[0-9a-fA-F]{1,15}\Z|0o[0-7]{1,20}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?\Z")
_BRACKET = re.compile(r"[\[\]{}]")
_ANY_NUMBER = re.compile(r"[-+]?[0-9]{19,}\Z")


@dataclass(frozen=True, slots=True)
class LocatedData:
    """Plain data with the place of each key.

    Args:
        data: dict, list, str, int, float, bool or None, nested.
        file: Name for error messages; None for text without a file.
        places: 1-based (line, column) of each key or list item by its path.
    """

    data: Any
    file: str | None
    places: dict[YamlPath, tuple[int, int]]

    def where(self, path: YamlPath) -> tuple[int, int]:
        """1-based line and column of ``path``, or of its nearest ancestor that stands in the file."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return self.places.get((), (1, 1))

    def error(self, path: YamlPath, message: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
        """An error of ``kind`` that points at ``path``."""
        line, column = self.where(path)
        return kind(message, file=self.file, line=line, column=column, key=dotted(path) or None)


def dotted(path: YamlPath) -> str:
    """``flows.main[2].say`` for a path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load_located_yaml(
    source: Path | str,
    *,
    file: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> LocatedData:
    """Read one YAML document.

    Args:
        source: A file (``Path``) or the text itself (``str``).
        file: Name for error messages; default the path.
        max_bytes: Larger input is refused unread.
        max_depth: Deeper nesting of lists and mappings is refused.

    Raises:
        ConfigError: With file, line, column and key: not readable, not UTF-8, too large, too deep, bad
            syntax, duplicate or non-text keys, anchors, aliases, merge keys, tags, several documents.
    """
    if isinstance(source, Path):
        file = file or str(source)
        text = _read(source, file, max_bytes)
    else:
        text = source
        if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
            raise ConfigError(f"larger than {max_bytes} bytes; split it", file=file)
    _refuse_bracket_towers(text, file, max_depth)
    return _Reader(text, file, max_depth).read()


def _refuse_bracket_towers(text: str, file: str | None, max_depth: int) -> None:
    """Thousands of open brackets cost the library seconds before it gives the first event."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += 1 if match[0] in "[{" else -1
        if depth > 2 * max_depth:  # twice: brackets in plain text are counted too
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            message = f"nested deeper than {max_depth}"
            raise ConfigError(message, file=file, line=line, column=column)


def _read(path: Path, file: str, max_bytes: int) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
    if len(raw) > max_bytes:
        raise ConfigError(f"larger than {max_bytes} bytes; split it", file=file)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ConfigError("not UTF-8; save it as UTF-8", file=file, line=line, column=column) from error


class _Reader:
    """Builds plain data from the library's event stream."""

    def __init__(self, text: str, file: str | None, max_depth: int) -> None:
        self._file = file
        self._max_depth = max_depth
        self._places: dict[YamlPath, tuple[int, int]] = {}
        self._events: Iterator[Any] = YAML(typ="rt", pure=True).parse(text)

    def read(self) -> LocatedData:
        try:
            data = self._document()
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise ConfigError(
                f"not valid YAML: {error.problem or error.context}",
                file=self._file,
                line=None if mark is None else mark.line + 1,
                column=None if mark is None else mark.column + 1,
            ) from error
        except (YAMLError, ValueError) as error:
            # The reader refuses control characters with an error that knows no line.
            raise ConfigError(
                f"not valid YAML: {' '.join(str(error).split())}", file=self._file
            ) from error
        return LocatedData(data, self._file, self._places)

    def _document(self) -> Any:
        data: Any = None
        documents = 0
        for event in self._events:
            match type(event).__name__:
                case "StreamStartEvent" | "StreamEndEvent" | "DocumentEndEvent" | "CommentEvent":
                    pass
                case "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        raise self._error(event, (), "only one document is allowed; remove the '---'")
                case _:
                    self._places[()] = _place(event)
                    data = self._node(event, ())
        return data

    def _next(self) -> Any:
        for event in self._events:
            if type(event).__name__ != "CommentEvent":
                return event
        raise ConfigError("not valid YAML: ends too early", file=self._file)

    def _node(self, event: Any, path: YamlPath) -> Any:
        if type(event).__name__ == "AliasEvent":
            raise self._error(event, path, f"alias *{event.anchor}: write the value out")
        if event.anchor is not None:
            raise self._error(event, path, f"anchor &{event.anchor}: write the value at each place")
        if event.tag is not None:
            raise self._error(event, path, f"tag {event.tag}: remove it; quotes make text")
        if len(path) > self._max_depth:
            raise self._error(event, path, f"nested deeper than {self._max_depth}")
        match type(event).__name__:
            case "MappingStartEvent":
                return self._mapping(path)
            case "SequenceStartEvent":
                return self._sequence(path)
            case _:
                return self._scalar(event, path)

    def _mapping(self, path: YamlPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while True:
            event = self._next()
            if type(event).__name__ == "MappingEndEvent":
                return data
            if type(event).__name__ != "ScalarEvent":
                raise self._error(event, path, "a key must be text")
            key = self._node(event, path)
            if not isinstance(key, str):
                raise self._error(
                    event, path, f'key {event.value or "(empty)"} is not text; write "{event.value}"'
                )
            place = (*path, key)
            if key == "<<" and event.style is None:
                raise self._error(event, place, "merge key: write the values out")
            if key in data:
                line = self._places[place][0]
                raise self._error(event, place, f"duplicate key, first on line {line}; remove one")
            self._places[place] = _place(event)
            data[key] = self._node(self._next(), place)

    def _sequence(self, path: YamlPath) -> list[Any]:
        data: list[Any] = []
        while True:
            event = self._next()
            if type(event).__name__ == "SequenceEndEvent":
                return data
            place = (*path, len(data))
            self._places[place] = _place(event)
            data.append(self._node(event, place))

    def _scalar(self, event: Any, path: YamlPath) -> Any:
        text: str = event.value
        if event.style is not None:  # quoted or block text is text
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INT.match(text):
            return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
        if _ANY_NUMBER.match(text):
            raise self._error(event, path, "number too long; quote it to make it text")
        if _FLOAT.match(text):
            value = float(text)
            if not math.isfinite(value):
                raise self._error(event, path, "number too large")
            return value
        return text

    def _error(self, event: Any, path: YamlPath, message: str) -> ConfigError:
        line, column = _place(event)
        return ConfigError(message, file=self._file, line=line, column=column, key=_short(path))


def _short(path: YamlPath) -> str | None:
    # a path of 64 levels is no help to anybody
    return dotted(path[:8]) + ("…" if len(path) > 8 else "") or None


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
