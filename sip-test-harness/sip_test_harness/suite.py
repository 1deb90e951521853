"""QA suites: a file of recorded callers, networks and conditions that each build has to meet.

::

    recordings: [balance.wav]         # beside the file; WAV, pcap or pcapng
    target: sip:bank@127.0.0.1        # whom they call; --target replaces it
    networks:
      - {loss: 0}
      - {loss: 5, burst: 3, jitter: 30}
      - {profile: wifi-bursty}
    fail_on: default                  # or a list of conditions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sip_test_harness.compare import Threshold
from sip_test_harness.errors import ScriptError
from sip_test_harness.judgement import summary_of
from sip_test_harness.profile import Profile, load_profile
from sip_test_harness.qa_row import Cell, QaRow
from sip_test_harness.recorded_caller import RecordedCaller, read_recordings, with_secret_keys
from sip_test_harness.scenario_runner import ScenarioResult, write_junit
from sip_test_harness.sweep import Job, jobs_over, profile_of

DEFAULT_CONDITIONS: Final = (
    "failed>0",
    "task_success<-0.1",
    "intents_right<-0.05",
    "slots_right<-0.05",
    "word_error>+0.1",
    "onset_p50_ms>+100",
    "onset_p95_ms>+300",
    "unanswered>+0",
    "cut_offs>+0",
    "missed_barge_ins>+0",
    "false_barge_in_pauses>+0.02",
    "false_barge_in_cancels>+0.005",
    "resume_correct<1",
    "bot_dropped>+0.01",
    "bot_holes>0.4",
    "mos<-0.3",
    "wire_gaps>+5",
)
"""What a new build must not do worse than the baseline; those without a sign hold for every build."""
_KEYS: Final = (
    *("describes", "recordings", "target", "at", "secret_keys", "networks", "seeds"),
    *("silence_ms", "fail_on"),
)


@dataclass(frozen=True)
class Suite:
    """A suite as read."""

    name: str
    describes: str
    recordings: tuple[RecordedCaller, ...]
    networks: tuple[tuple[Cell, Profile], ...]
    target: str
    at: str
    seeds: tuple[int, ...]
    silence_ms: float
    conditions: tuple[Threshold, ...]

    def jobs(self) -> list[Job]:
        """Return every call of the suite."""
        return jobs_over(self.recordings, self.networks, self.seeds)


def read_suite(path: str | Path) -> Suite:
    """Read a suite.

    Raises:
        ScriptError: names the file and the key.
        UsageError: a recording or a profile cannot be read.
    """
    path = Path(path)
    try:
        document: Any = YAML(typ="safe").load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ScriptError(str(error).splitlines()[0], file=str(path)) from error
    if not isinstance(document, dict):
        raise ScriptError("a mapping expected", file=str(path))
    for key in document:
        if key not in _KEYS:
            raise ScriptError(f"unknown key; known are {', '.join(_KEYS)}", file=str(path), key=str(key))
    for key in ("recordings", "networks"):
        if not isinstance(document.get(key), list) or not document[key]:
            raise ScriptError("a list expected", file=str(path), key=key)
    secret = str(document.get("secret_keys", ""))
    recordings = [
        with_secret_keys(caller, secret)
        for name in document["recordings"]
        for caller in read_recordings(path.parent / str(name))
    ]
    fail_on = document.get("fail_on", "default")
    texts: Sequence[str] = DEFAULT_CONDITIONS if fail_on == "default" else [str(t) for t in fail_on]
    try:
        seeds, silence_ms = int(document.get("seeds", 1)), float(document.get("silence_ms", 700))
    except (TypeError, ValueError) as error:
        raise ScriptError(f"a number expected ({error})", file=str(path), key="seeds") from error
    return Suite(
        name=path.stem,
        describes=str(document.get("describes", "")),
        recordings=tuple(recordings),
        networks=tuple(_network(item, str(path)) for item in document["networks"]),
        target=str(document.get("target", "")),
        at=str(document.get("at", "")),
        seeds=tuple(range(1, seeds + 1)),
        silence_ms=silence_ms,
        conditions=tuple(Threshold.parse(text) for text in texts),
    )


def _network(item: Any, file: str) -> tuple[Cell, Profile]:
    known = {"loss", "burst", "jitter", "profile"}
    if not isinstance(item, Mapping) or set(item) - known:
        raise ScriptError(f"{', '.join(sorted(known))} expected", file=file, key="networks")
    if "profile" in item:
        profile = load_profile(str(item["profile"]))
        expect = profile.expect
        return Cell(expect.loss_percent, expect.mean_burst_packets, expect.jitter_ms), profile
    try:
        cell = Cell(
            float(item.get("loss", 0)), float(item.get("burst", 1)), float(item.get("jitter", 0))
        )
    except (TypeError, ValueError) as error:
        raise ScriptError(f"numbers expected ({error})", file=file, key="networks") from error
    if not 0 <= cell.loss_percent < 100 or cell.mean_burst_packets < 1 or cell.jitter_ms < 0:
        raise ScriptError("a loss below 100 %, bursts from 1, jitter from 0", file=file, key="networks")
    return cell, profile_of(cell)


def crossed(
    conditions: Sequence[Threshold], rows: Sequence[QaRow], baseline: Sequence[QaRow]
) -> dict[str, str]:
    """Return a sentence for each condition that is crossed, by its figure.

    Without a baseline the conditions that compare with one are left out, and so is a figure that
    was measured in neither run.
    """
    now = summary_of(rows)
    before = summary_of(baseline) if baseline else None
    out: dict[str, str] = {}
    for condition in conditions:
        if condition.relative and before is None:
            continue
        measured = now[condition.figure] is not None
        if not measured and (before is None or before[condition.figure] is None):
            continue
        failure = condition.failure(now, before)
        if failure is not None:
            out[condition.figure] = failure
    return out


def write_suite_junit(path: Path, suite: Suite, failures: Mapping[str, str]) -> None:
    """Write a JUnit file with a test case for each condition."""
    write_junit(
        path,
        [
            ScenarioResult(
                f"{suite.name}: {condition.text}",
                [failures[condition.figure]] if condition.figure in failures else [],
                0.0,
            )
            for condition in suite.conditions
        ],
    )
