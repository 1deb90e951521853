"""Many calls at once: a bounded number, at a steady rate, each one measured like a single call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sip_test_harness.errors import HarnessError, UsageError
from sip_test_harness.measures import SENDER_LATE_P99_MS, CallMeasures
from sip_test_harness.profile import load_profile
from sip_test_harness.rtp_statistics import Spread
from sip_test_harness.script_runner import run_script

if TYPE_CHECKING:
    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.script import Script

MAX_CALLS: Final = 10_000
MAX_AT_ONCE: Final = 200
MAX_CALLS_PER_S: Final = 100.0

OnCall = Callable[[int, int], None]


@dataclass
class LoadResult:
    """What came of a load run.

    ``failures`` counts each distinct sentence; ``held_back`` are starts that had to wait because
    the limit of calls at once was reached. Call n had ``profile`` with ``seed`` plus n.
    """

    calls: int = 0
    passed: int = 0
    duration_s: float = 0.0
    held_back: int = 0
    most_at_once: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    invite_to_200: Spread = field(default_factory=Spread)
    greeting: Spread = field(default_factory=Spread)
    response_onset: Spread = field(default_factory=Spread)
    bot_gap: Spread = field(default_factory=Spread)
    sender_lateness: Spread = field(default_factory=Spread)
    quality_mos_min: float | None = None
    lost_packets: int = 0
    timestamp_breaks: int = 0
    profile: str = "none"
    seed: int = 1

    @property
    def void(self) -> bool:
        """Whether the harness itself sent too late to say anything about timing."""
        return self.sender_lateness.p99_ms > SENDER_LATE_P99_MS

    def count_failure(self, sentence: str) -> None:
        """One more call failed so."""
        self.failures[sentence] = self.failures.get(sentence, 0) + 1


@dataclass
class _Running:
    calls: int = 0
    lateness_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    measures: list[CallMeasures] = field(default_factory=list)


async def run_load(
    script: Script,
    options: CallerOptions,
    *,
    target: str = "",
    calls: int,
    calls_per_s: float,
    at_once: int,
    on_call: OnCall | None = None,
) -> LoadResult:
    """Place ``calls`` calls of one script; call n uses the seed plus n.

    Args:
        script: what each caller does.
        options: the callers.
        target: overrides the script's target.
        calls: how many in all, at most 10,000.
        calls_per_s: new calls per second, at most 100.
        at_once: calls at the same time, at most 200; further ones wait.
        on_call: called with (done, failed) after each call.

    Raises:
        UsageError: a bound is exceeded.
    """
    if not 1 <= calls <= MAX_CALLS:
        raise UsageError(f"1 to {MAX_CALLS} calls, not {calls}")
    if not 0 < calls_per_s <= MAX_CALLS_PER_S:
        raise UsageError(f"up to {MAX_CALLS_PER_S:g} calls per second, not {calls_per_s:g}")
    if not 1 <= at_once <= MAX_AT_ONCE:
        raise UsageError(f"1 to {MAX_AT_ONCE} calls at once, not {at_once}")
    profile = load_profile(script.profile)
    result = LoadResult(profile=script.profile, seed=options.seed)
    running = _Running()
    gate = asyncio.Semaphore(at_once)

    async def one(index: int) -> None:
        seed = options.seed + index
        way_out, way_in = profile.build(seed)
        media = replace(options.media, impairment_out=way_out, impairment_in=way_in)
        caller = replace(options, media=media, seed=seed, profile=script.profile, user=f"load{index}")
        running.calls += 1
        result.most_at_once = max(result.most_at_once, running.calls)
        try:
            run = await run_script(script, caller, target=target)
        except HarnessError as error:
            result.count_failure(str(error))
        else:
            running.measures.append(run.measures)
            running.lateness_ms += run.call.media.lateness_ms
            arrivals = [item.arrival_ns for item in run.call.media.received]
            running.gaps_ms += [(b - a) / 1e6 for a, b in itertools.pairwise(arrivals)]
            if run.failures:
                result.count_failure(run.failures[0])
            else:
                result.passed += 1
        finally:
            running.calls -= 1
            result.calls += 1
            gate.release()
            if on_call is not None:
                on_call(result.calls, sum(result.failures.values()))

    start_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for index in range(calls):
            await asyncio.sleep(max(0.0, start_s + index / calls_per_s - time.monotonic()))
            result.held_back += gate.locked()
            await gate.acquire()
            group.create_task(one(index))
    result.duration_s = round(time.monotonic() - start_s, 3)
    _summarise(result, running)
    return result


def _summarise(result: LoadResult, running: _Running) -> None:
    measures = running.measures

    def spread(values: list[float | None]) -> Spread:
        return Spread.of([value for value in values if value is not None])

    result.invite_to_200 = spread([item.invite_to_200_ms for item in measures])
    result.greeting = spread([item.greeting_ms for item in measures])
    result.response_onset = spread([turn.response_onset_ms for item in measures for turn in item.turns])
    result.bot_gap = Spread.of(running.gaps_ms)
    result.sender_lateness = Spread.of(running.lateness_ms)
    rated = [item.quality_mos for item in measures if item.quality_mos is not None]
    result.quality_mos_min = min(rated, default=None)
    streams = [stream for item in measures for stream in item.bot_streams]
    result.lost_packets = sum(stream.lost for stream in streams)
    result.timestamp_breaks = sum(stream.timestamp_breaks for stream in streams)
