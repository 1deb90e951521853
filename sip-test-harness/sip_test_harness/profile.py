"""Impairment profiles: files that name what a path does to packets, in each direction.

::

    describes: "3 % independent loss and a uniform delay of 0 to 20 ms for each packet"
    expect: {loss_percent: 3.0, mean_burst_packets: 1.03, jitter_ms: 6.667}
    both:                       # or 'out' (caller to bot) and 'in' (bot to caller)
      - random_loss: {percent: 3.0}
      - jitter: {kind: uniform, spread_ms: 20.0}
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sip_test_harness import impairment_delay, impairment_loss
from sip_test_harness.errors import ScriptError, UsageError
from sip_test_harness.impairment import Chain, Impairment
from sip_test_harness.pcap_reader import read_capture, rtp_streams
from sip_test_harness.rtp_statistics import extend

_NUMBER: Final = (int, float)
_Types = Mapping[str, tuple[type, ...]]


@dataclass(frozen=True)
class Expectation:
    """What the profile's name promises over a minute.

    ``jitter_ms`` is the mean of the RFC 3550 estimate, ``mean_burst_packets`` the mean length of a
    run of lost packets.
    """

    loss_percent: float = 0.0
    mean_burst_packets: float = 0.0
    jitter_ms: float = 0.0


@dataclass(frozen=True)
class Profile:
    """A profile; ``build`` makes the schedules of one call."""

    name: str
    describes: str = ""
    expect: Expectation = field(default_factory=Expectation)
    stages_out: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stages_in: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def build(self, seed: int) -> tuple[Impairment, Impairment]:
        """Return the schedules out (caller to bot) and in (bot to caller) of one call.

        Each stage draws from a source of its own, so that taking one stage out of a profile leaves
        the fates by the others as they were.
        """
        return self._chain(self.stages_out, f"{seed}:out"), self._chain(self.stages_in, f"{seed}:in")

    @staticmethod
    def _chain(stages: tuple[tuple[str, Mapping[str, Any]], ...], seed: str) -> Impairment:
        return Chain(
            [
                _STAGES[name][1](values, random.Random(f"{seed}:{index}:{name}"))
                for index, (name, values) in enumerate(stages)
            ]
        )


_Build = Callable[[Mapping[str, Any], random.Random], Impairment]
_STAGES: Final[dict[str, tuple[_Types, _Build]]] = {
    "random_loss": (
        {"percent": _NUMBER},
        lambda v, chance: impairment_loss.RandomLoss(v["percent"] / 100, chance),
    ),
    "gilbert_elliott": (
        {"percent": _NUMBER, "mean_burst_packets": _NUMBER},
        lambda v, chance: impairment_loss.GilbertElliott.of(
            v["percent"] / 100, v["mean_burst_packets"], chance
        ),
    ),
    "trace": (
        {"delays_ms": (list,), "capture": (str,)},
        lambda v, _: impairment_loss.Trace(
            tuple(v["delays_ms"]) if "delays_ms" in v else trace_of_capture(v["capture"])
        ),
    ),
    "one_way": (
        {"start_s": _NUMBER, "duration_s": (int, float, type(None))},
        lambda v, _: impairment_loss.Blackout(v.get("start_s", 0.0), v.get("duration_s")),
    ),
    "dtx": (
        {"hangover_packets": (int,)},
        lambda v, _: impairment_loss.Dtx(v.get("hangover_packets", 10)),
    ),
    "event_end_loss": (
        {"keep": (int,)},
        lambda v, _: impairment_loss.EventEndLoss(v.get("keep", 0)),
    ),
    "delay": ({"ms": _NUMBER}, lambda v, _: impairment_delay.Delay(v["ms"])),
    "jitter": (
        {"kind": (str,), "spread_ms": _NUMBER, "keep_order": (bool,)},
        lambda v, chance: impairment_delay.Jitter(
            v.get("kind", "uniform"), v["spread_ms"], chance, keep_order=v.get("keep_order", True)
        ),
    ),
    "spikes": (
        {"mean_interval_s": _NUMBER, "height_ms": _NUMBER},
        lambda v, chance: impairment_delay.Spikes(v["mean_interval_s"], v["height_ms"], chance),
    ),
    "stall": (
        {"every_s": _NUMBER, "duration_ms": _NUMBER},
        lambda v, _: impairment_delay.Stall(v["every_s"], v["duration_ms"]),
    ),
    "skew": (
        {"ppm": _NUMBER, "headroom_ms": _NUMBER},
        lambda v, _: impairment_delay.ClockSkew(v["ppm"], v.get("headroom_ms", 200.0)),
    ),
    "reordering": (
        {"percent": _NUMBER, "depth": (int,)},
        lambda v, chance: impairment_delay.Reordering(v["percent"] / 100, v.get("depth", 1), chance),
    ),
    "duplication": (
        {"percent": _NUMBER, "after_ms": _NUMBER},
        lambda v, chance: impairment_delay.Duplication(
            v["percent"] / 100, chance, v.get("after_ms", 1.0)
        ),
    ),
}
_REQUIRED: Final = {
    "random_loss": ("percent",),
    "gilbert_elliott": ("percent", "mean_burst_packets"),
    "delay": ("ms",),
    "jitter": ("spread_ms",),
    "spikes": ("mean_interval_s", "height_ms"),
    "stall": ("every_s", "duration_ms"),
    "skew": ("ppm",),
    "reordering": ("percent",),
    "duplication": ("percent",),
}


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the harness, sorted."""
    folder = resources.files("sip_test_harness") / "profiles"
    return sorted(
        item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")
    )


def load_profile(name: str) -> Profile:
    """Load a profile by its name, or from a file when the name ends in ``.yaml``.

    Raises:
        UsageError: no such profile.
        ScriptError: the file is wrong.
    """
    if name.endswith(".yaml"):
        path = Path(name)
        try:
            return parse_profile(path.stem, path.read_text("utf-8"), file=name)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read profile {name}: {error}") from error
    if name not in profile_names():
        raise UsageError(f"no profile {name!r}; there are {', '.join(profile_names())}")
    resource = resources.files("sip_test_harness") / "profiles" / f"{name}.yaml"
    return parse_profile(name, resource.read_text("utf-8"), file=f"{name}.yaml")


def parse_profile(name: str, text: str, *, file: str = "") -> Profile:
    """Read a profile.

    Raises:
        ScriptError: with file, key and line where known.
    """
    file = file or name
    try:
        document = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise ScriptError(str(error).splitlines()[0], file=file, line=line) from error
    if not isinstance(document, dict):
        raise ScriptError("a mapping expected", file=file)

    def fail(message: str, key: str) -> ScriptError:
        first = key.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        places = getattr(getattr(document, "lc", None), "data", None) or {}
        line = places[first][0] + 1 if first in places else 1
        return ScriptError(message, file=file, line=line, key=key)

    for key in document:
        if key not in {"describes", "expect", "both", "out", "in"}:
            raise fail("unknown key; known are describes, expect, both, out, in", str(key))
    if "both" in document and ("out" in document or "in" in document):
        raise fail("give either 'both' or 'out' and 'in'", "both")
    expect = document.get("expect", {})
    try:
        expectation = Expectation(**{str(key): float(expect[key]) for key in expect})
    except (TypeError, ValueError) as error:
        raise fail(
            f"loss_percent, mean_burst_packets, jitter_ms expected ({error})", "expect"
        ) from error
    both = document.get("both", [])
    folder = Path(file).parent if file.endswith(".yaml") else None
    return Profile(
        name=name,
        describes=str(document.get("describes", "")),
        expect=expectation,
        stages_out=_stages(
            document.get("out", both), "out" if "out" in document else "both", fail, folder
        ),
        stages_in=_stages(document.get("in", both), "in" if "in" in document else "both", fail, folder),
    )


def trace_of_capture(path: str | Path) -> tuple[float | None, ...]:
    """Return the delays of the longest RTP stream of a capture, relative to its quickest packet.

    A missing sequence number is None; of a duplicate the first counts.

    Raises:
        UsageError: no capture, or no RTP in it.
    """
    streams = rtp_streams(read_capture(path))
    if not streams:
        raise UsageError(f"{path}: no RTP stream found")
    packets = max(streams, key=lambda stream: len(stream.packets)).packets
    numbers = extend([packet.sequence_number for _, packet in packets], 16)
    stamps = extend([packet.timestamp for _, packet in packets], 32)
    transit: dict[int, float] = {}
    for number, stamp, (time_ns, _) in zip(numbers, stamps, packets, strict=True):
        transit.setdefault(number, time_ns / 1e6 - stamp / 8)
    quickest = min(transit.values())
    return tuple(
        round(transit[number] - quickest, 3) if number in transit else None
        for number in range(min(numbers), max(numbers) + 1)
    )


def _check_trace(values: Mapping[str, Any], here: str, fail: Callable[[str, str], ScriptError]) -> None:
    if "capture" in values:
        try:
            trace_of_capture(values["capture"])
        except UsageError as error:
            raise fail(str(error), f"{here}.capture") from error
        return
    delays = values["delays_ms"]
    good = all(
        delay is None or (isinstance(delay, _NUMBER) and not isinstance(delay, bool) and delay >= 0)
        for delay in delays
    )
    if not delays or not good:
        raise fail("delays in ms, or null for a lost packet, expected", f"{here}.delays_ms")


def _stages(
    node: Any, key: str, fail: Callable[[str, str], ScriptError], folder: Path | None
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    if not isinstance(node, list):
        raise fail("a list of stages expected", key)
    out: list[tuple[str, Mapping[str, Any]]] = []
    for index, item in enumerate(node):
        here = f"{key}[{index}]"
        if not isinstance(item, dict) or len(item) != 1:
            raise fail("one stage expected, as 'name: {settings}'", here)
        ((name, settings),) = item.items()
        if name not in _STAGES:
            raise fail(f"unknown stage {name!r}; known are {', '.join(_STAGES)}", here)
        values = dict(settings or {})
        if isinstance(values.get("capture"), str) and folder is not None:
            values["capture"] = str(folder / values["capture"])
        types = _STAGES[name][0]
        for setting, value in values.items():
            allowed = types.get(setting)
            if allowed is None:
                raise fail(f"unknown setting; known are {', '.join(types)}", f"{here}.{setting}")
            if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
                raise fail(f"{allowed[0].__name__} expected", f"{here}.{setting}")
        missing = [setting for setting in _REQUIRED.get(name, ()) if setting not in values]
        if missing:
            raise fail(f"{missing[0]} is missing", here)
        if name == "trace" and len(values) != 1:
            raise fail("either delays_ms or capture expected", here)
        if name == "trace":
            _check_trace(values, here, fail)
        if not 0 <= float(values.get("percent", 1)) < 100:
            raise fail("0 to below 100 expected", f"{here}.percent")
        if name == "gilbert_elliott" and values["percent"] <= 0:
            raise fail("above 0 expected", f"{here}.percent")
        out.append((str(name), values))
    return tuple(out)
