"""Replays recorded callers over a matrix of losses, bursts, jitters and seeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sip_test_harness.call_record import find_record
from sip_test_harness.errors import HarnessError, UsageError
from sip_test_harness.judgement import judge, summary_of
from sip_test_harness.profile import Expectation, Profile, load_profile
from sip_test_harness.qa_row import Cell, QaRow, row_of
from sip_test_harness.recorded_caller import RecordedCaller, read_recordings, undisturbed
from sip_test_harness.replay import run_replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sip_test_harness.caller import CallerOptions

FORMAT: Final = 1
MAX_CALLS: Final = 5000

OnRow = Callable[[int, int, QaRow], None]


@dataclass(frozen=True)
class Job:
    """One call of a sweep."""

    recorded: RecordedCaller
    cell: Cell
    profile: Profile
    seed: int


def profile_of(cell: Cell) -> Profile:
    """Return the profile of a sweep's cell; jitter is the span of a uniform delay, order kept."""
    stages: list[tuple[str, dict[str, Any]]] = []
    if cell.loss_percent and cell.mean_burst_packets > 1:
        stages.append(
            (
                "gilbert_elliott",
                {"percent": cell.loss_percent, "mean_burst_packets": cell.mean_burst_packets},
            )
        )
    elif cell.loss_percent:
        stages.append(("random_loss", {"percent": cell.loss_percent}))
    if cell.jitter_ms:
        stages.append(("jitter", {"kind": "uniform", "spread_ms": cell.jitter_ms}))
    return Profile(
        name=f"loss{cell.loss_percent:g}-burst{cell.mean_burst_packets:g}-jitter{cell.jitter_ms:g}",
        describes=cell.label,
        expect=Expectation(cell.loss_percent, cell.mean_burst_packets, cell.jitter_ms / 3),
        stages_out=tuple(stages),
        stages_in=tuple(stages),
    )


def matrix(losses: Sequence[float], bursts: Sequence[float], jitters: Sequence[float]) -> list[Cell]:
    """Return the cells of a sweep; without loss the burst length makes no difference.

    Raises:
        UsageError: a value outside its range.
    """
    if any(not 0 <= loss < 100 for loss in losses):
        raise UsageError("losses are percentages from 0 to below 100")
    if any(burst < 1 for burst in bursts) or any(jitter < 0 for jitter in jitters):
        raise UsageError("bursts are at least 1 packet, jitters at least 0 ms")
    cells = [
        Cell(loss, burst if loss else 1.0, jitter)
        for loss in losses
        for burst in bursts
        for jitter in jitters
    ]
    return list(dict.fromkeys(cells))


def jobs_of(
    recordings: Sequence[RecordedCaller],
    cells: Sequence[Cell],
    seeds: Sequence[int],
    *,
    profile: str = "none",
) -> list[Job]:
    """Return every call of a sweep; a named profile takes the place of the cells' own.

    Raises:
        UsageError: more than 5,000 calls.
    """
    named = load_profile(profile) if profile != "none" else None
    networks = [(cell, named or profile_of(cell)) for cell in cells]
    out = jobs_over(recordings, networks, seeds)
    if len(out) > MAX_CALLS:
        raise UsageError(f"{len(out)} calls; at most {MAX_CALLS} in one sweep")
    return out


def jobs_over(
    recordings: Sequence[RecordedCaller],
    networks: Sequence[tuple[Cell, Profile]],
    seeds: Sequence[int],
) -> list[Job]:
    """Return recordings x networks x seeds.

    A caller with sounds that are not meant calls once more without them, over a perfect network: what
    the bot says then is what its words are compared with.
    """
    out: list[Job] = []
    for recorded in recordings:
        quiet = undisturbed(recorded)
        if quiet is not None:
            out.append(Job(quiet, Cell(), profile_of(Cell()), seeds[0]))
        out += [Job(recorded, cell, profile, seed) for cell, profile in networks for seed in seeds]
    return out


async def run_sweep(
    jobs: Sequence[Job],
    options: CallerOptions,
    target: str,
    *,
    at_once: int = 1,
    timing: str = "turns",
    silence_ms: float = 700.0,
    record_dir: Path | None = None,
    sound: bool = True,
    on_row: OnRow | None = None,
) -> list[QaRow]:
    """Place every call, at most ``at_once`` at the same time; rows in the order of the jobs."""
    gate = asyncio.Semaphore(at_once)
    done = 0

    async def one(job: Job) -> QaRow:
        nonlocal done
        async with gate:
            row = await _call(
                job,
                options,
                target,
                timing=timing,
                silence_ms=silence_ms,
                record_dir=record_dir,
                sound=sound,
            )
        done += 1
        if on_row is not None:
            on_row(done, len(jobs), row)
        return row

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job)) for job in jobs]
    return [task.result() for task in tasks]


async def _call(
    job: Job,
    options: CallerOptions,
    target: str,
    *,
    timing: str,
    silence_ms: float,
    record_dir: Path | None,
    sound: bool,
) -> QaRow:
    way_out, way_in = job.profile.build(job.seed)
    media = replace(options.media, impairment_out=way_out, impairment_in=way_in)
    caller = replace(options, media=media, seed=job.seed, profile=job.profile.name)
    try:
        run = await run_replay(job.recorded, caller, target, timing=timing, silence_ms=silence_ms)
    except UsageError:
        raise
    except HarnessError as error:
        return QaRow(job.recorded.name, asdict(job.cell), job.profile.name, job.seed, [str(error)])
    record = None
    if record_dir is not None:
        record = await asyncio.to_thread(find_record, record_dir, run.measures.call_id)
        if record is None:
            run.failures.append("the bot's record of the call was not found")
    heard = None
    if record_dir is not None and record is not None:
        heard = await asyncio.to_thread(_bot_recording, record_dir, record.recording)
    return await asyncio.to_thread(row_of, run, record, job.cell, sound=sound, bot_heard=heard)


def _bot_recording(record_dir: Path, name: str) -> NDArray[np.int16] | None:
    """Return the caller's side of the bot's own recording, None when it cannot be read."""
    places = [path for path in (Path(name), record_dir / name) if name and path.is_file()]
    try:
        return read_recordings(places[0])[0].samples if places else None
    except UsageError:
        return None


def write_results(path: Path, rows: Sequence[QaRow], *, about: dict[str, Any]) -> None:
    """Write a results file, readable by ``read_results``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "about": about,
        "summary": summary_of(rows),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content) + "\n")


def read_results(path: str | Path) -> list[QaRow]:
    """Read the rows of a results file.

    Raises:
        UsageError: not a results file of this format.
    """
    try:
        content = json.loads(Path(path).read_text())
        known = {item.name for item in fields(QaRow)}
        if content["format"] != FORMAT:
            raise UsageError(f"{path}: format {content['format']}, {FORMAT} is read")
        rows = [
            QaRow(**{key: value for key, value in row.items() if key in known})
            for row in content["rows"]
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: not a results file ({error})") from error
    return rows


def judged(rows: Sequence[QaRow], baseline: Sequence[QaRow] = ()) -> list[QaRow]:
    """Judge rows against their references and return them."""
    judge(rows, baseline)
    return list(rows)
