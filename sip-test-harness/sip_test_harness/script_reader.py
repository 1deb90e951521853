"""Reading a script, from a file or from the command line; every mistake is named with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sip_test_harness.check import EXPECTATION_TYPES, Expectations
from sip_test_harness.errors import ScriptError, SyntaxRefusedError, UsageError
from sip_test_harness.profile import load_profile
from sip_test_harness.sip_message import Header, parse_uri
from sip_test_harness.speech_text import speak_text
from sip_test_harness.voice import Voice, VoicePath
from sip_test_harness.wav_file import read_wav

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
from sip_test_harness.script import Script, Turn

MAX_SCRIPT_BYTES: Final = 256 * 1024
MAX_TURNS: Final = 500
_KINDS: Final = ("say", "text", "dtmf", "wait_ms", "hang_up", "expect_hang_up_s")
_DTMF_MODES: Final = ("rfc4733", "inband", "info")


_TURN_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "say": (str,),
    "text": (str,),
    "dtmf": (str,),
    "wait_ms": (int, float),
    "hang_up": (bool,),
    "expect_hang_up_s": (int, float),
    "dtmf_mode": (str,),
    "barge_in_ms": (int, float),
    "pause_ms": (int, float),
    "wait_for_bot": (bool,),
    "silence_ms": (int, float),
    "onset_within_ms": (int, float),
    "stop_within_ms": (int, float),
}
_SCRIPT_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "target": (str,),
    "silence_ms": (int, float),
    "turn_timeout_s": (int, float),
    "limit_s": (int, float),
    "late_offer": (bool,),
    "greeting": (bool,),
    "headers": (dict,),
    "name": (str,),
    "profile": (str,),
    "seed": (int,),
    "voice": (dict,),
    "expect": (dict,),
    "turns": (list,),
}


@dataclass(frozen=True)
class _Place:
    """Where in the file a mapping stands, to say so in an error."""

    file: str
    node: Any
    path: str = ""

    def error(self, message: str, key: str | int | None = None) -> ScriptError:
        line, column = 1, 1
        position = getattr(self.node, "lc", None)
        if position is not None:
            line, column = position.line + 1, position.col + 1
            data = position.data or {}
            if key in data:
                line, column = data[key][0] + 1, data[key][1] + 1
        dotted = ".".join(part for part in (self.path, "" if key is None else str(key)) if part)
        return ScriptError(message, file=self.file, line=line, column=column, key=dotted)


def _checked(
    place: _Place, mapping: Mapping[Any, Any], types: Mapping[str, tuple[type, ...]]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        if key not in types:
            raise place.error(f"unknown key; known are {', '.join(types)}", key)
        allowed = types[key]
        is_bool = isinstance(value, bool)
        if not isinstance(value, allowed) or (is_bool and bool not in allowed):
            wanted = " or ".join(kind.__name__ for kind in allowed)
            hint = ' (put it in quotes: "…")' if key == "dtmf" else ""
            raise place.error(f"{wanted} expected, not {type(value).__name__}{hint}", key)
        if not is_bool and isinstance(value, (int, float)) and value < 0:
            raise place.error("must not be negative", key)
        out[key] = value
    return out


def read_script(path: str | Path) -> Script:
    """Read and check a script; every WAV file is opened once.

    Raises:
        ScriptError: with file, line, column and key.
    """
    path = Path(path)
    name = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScriptError(error.strerror or str(error), file=name) from error
    if len(data) > MAX_SCRIPT_BYTES:
        raise ScriptError(f"larger than {MAX_SCRIPT_BYTES} bytes", file=name)
    try:
        document = YAML(typ="rt").load(data.decode())
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise ScriptError(
            str(error.problem).splitlines()[0],
            file=name,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
        ) from error
    except (YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ScriptError(str(error).splitlines()[0], file=name) from error
    place = _Place(name, document)
    if not isinstance(document, dict):
        raise place.error("a mapping with the key 'turns' expected")
    values = _checked(place, document, _SCRIPT_TYPES)
    if "turns" not in values:
        raise place.error("the key 'turns' is missing")
    if "target" in values:
        try:
            parse_uri(values["target"])
        except SyntaxRefusedError as error:
            raise place.error(str(error), "target") from error
    headers = _headers(_Place(name, values.pop("headers", {}), "headers"))
    expect = _expectations(_Place(name, values.pop("expect", {}), "expect"))
    values["voice"] = _voice(_Place(name, values.get("voice", {}), "voice"))
    if "profile" in values:
        try:
            load_profile(_profile_path(values["profile"], path.parent))
        except UsageError as error:
            raise place.error(str(error), "profile") from error
        values["profile"] = _profile_path(values["profile"], path.parent)
    values.setdefault("name", path.stem)
    turns = values.pop("turns")
    if len(turns) > MAX_TURNS:
        raise place.error(f"more than {MAX_TURNS} turns", "turns")
    return Script(
        turns=tuple(
            _turn(_Place(name, node if isinstance(node, dict) else turns, f"turns[{index}]"), node)
            for index, node in enumerate(turns)
        ),
        headers=headers,
        expect=expect,
        file=name,
        **values,
    )


def _profile_path(name: str, folder: Path) -> str:
    return str(folder / name) if name.endswith(".yaml") else name


def _expectations(place: _Place) -> Expectations:
    values = _checked(place, place.node, EXPECTATION_TYPES)
    for key in ("codec", "ended_by"):
        choices = {"codec": ("pcmu", "pcma"), "ended_by": ("bot", "harness")}[key]
        if key in values and values[key] not in choices:
            raise place.error(f"one of {', '.join(choices)} expected", key)
    for key in ("text", "not_text", "intents"):
        for pattern in values.get(key, ()):
            _pattern(place, key, pattern)
        values[key] = tuple(values.get(key, ()))
    for key in ("transfer_to", "keys"):
        if key in values:
            _pattern(place, key, values[key])
    for key in ("headers", "record"):
        for pattern in values.get(key, {}).values():
            _pattern(place, key, pattern)
        values[key] = {str(name): str(text) for name, text in values.get(key, {}).items()}
    return Expectations(**values)


_VOICE_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "echo": (str,),
    "return_loss_db": (int, float),
    "echo_delay_ms": (int, float),
    "noise": (str,),
    "noise_dbov": (int, float),
    "gain_db": (int, float),
    "clip_dbov": (int, float),
    "tandem": (int,),
}


def _voice(place: _Place) -> Voice:
    signed = {"noise_dbov", "gain_db", "clip_dbov"}
    checked = {key: value for key, value in place.node.items() if key not in signed}
    values = _checked(place, checked, _VOICE_TYPES)
    for key in signed & set(place.node):
        value = place.node[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise place.error("a number expected", key)
        values[key] = float(value)
    if values.get("noise", "").endswith(".wav"):
        values["noise"] = str(Path(place.file).parent / values["noise"])
    if values.get("clip_dbov", 0.0) > 0:
        raise place.error("at most 0 (full scale)", "clip_dbov")
    voice = Voice(**values)
    try:
        VoicePath(voice, 0)
    except UsageError as error:
        raise place.error(str(error), "echo" if "echo" in str(error) else "noise") from error
    return voice


def _pattern(place: _Place, key: str, pattern: object) -> None:
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise place.error(f"not a regular expression: {error}", key) from error


def _headers(place: _Place) -> tuple[Header, ...]:
    out: list[Header] = []
    for name, value in place.node.items():
        text = str(value)
        if not re.fullmatch(r"[A-Za-z0-9\-]+", str(name)) or "\n" in text or "\r" in text:
            raise place.error("not a SIP header", name)
        out.append((str(name), text))
    return tuple(out)


def _turn(place: _Place, node: object) -> Turn:
    if not isinstance(node, dict):
        raise place.error(f"a mapping with one of {', '.join(_KINDS)} expected")
    values = _checked(place, node, _TURN_TYPES)
    kinds = [kind for kind in _KINDS if kind in values]
    if len(kinds) != 1:
        raise place.error(f"exactly one of {', '.join(_KINDS)} expected, found {len(kinds)}")
    turn = Turn(**values, key=place.path)
    try:
        return _resolved(turn, Path(place.file).parent)
    except UsageError as error:
        raise place.error(str(error), kinds[0]) from error


def _resolved(turn: Turn, folder: Path) -> Turn:
    """Check the values; a WAV file is looked up beside the script.

    Raises:
        UsageError: what is wrong.
    """
    if turn.dtmf is not None and not re.fullmatch(r"[0-9*#A-Da-d]+", turn.dtmf):
        raise UsageError("only the keys 0-9 * # A-D")
    if turn.dtmf_mode not in _DTMF_MODES:
        raise UsageError(f"dtmf_mode is one of {', '.join(_DTMF_MODES)}")
    if turn.hang_up is False:
        raise UsageError("hang_up can only be true")
    if turn.text is not None:
        speak_text(turn.text)
    if turn.say is None:
        return turn
    path = folder / turn.say
    if not len(read_wav(path)):
        raise UsageError(f"{path}: no samples")
    return replace(turn, say=str(path))


def turns_of_options(options: Iterable[str]) -> tuple[Turn, ...]:
    """Build turns from ``say=file.wav``, ``dtmf=1234#``, ``wait_ms=500``, ``hang_up`` ….

    Further keys of the turn follow after commas: ``say=stop.wav,barge_in_ms=800``.

    Raises:
        UsageError: which option is wrong.
    """
    turns: list[Turn] = []
    for index, option in enumerate(options):
        values: dict[str, Any] = {}
        for part in option.split(","):
            key, equals, text = part.partition("=")
            if key not in _TURN_TYPES:
                raise UsageError(f"--turn {option!r}: unknown {key!r}; {', '.join(_TURN_TYPES)}")
            kinds = _TURN_TYPES[key]
            try:
                if kinds == (bool,):
                    values[key] = not equals or text.lower() in {"1", "true", "yes"}
                else:
                    values[key] = text if kinds == (str,) else float(text)
            except ValueError as error:
                raise UsageError(f"--turn {option!r}: {key} needs a number") from error
        if sum(kind in values for kind in _KINDS) != 1:
            raise UsageError(f"--turn {option!r}: exactly one of {', '.join(_KINDS)}")
        try:
            turns.append(_resolved(Turn(**values, key=f"--turn {index + 1}"), Path()))
        except UsageError as error:
            raise UsageError(f"--turn {option!r}: {error}") from error
    return tuple(turns)
