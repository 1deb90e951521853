"""Replays recorded callers against a bot on virtual time: quick, and equal byte for byte."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sip_test_harness import g711
from sip_test_harness.call_record import record_of
from sip_test_harness.caller import CallerOptions
from sip_test_harness.errors import HarnessError, UsageError
from sip_test_harness.offline_bot import OfflineBot
from sip_test_harness.offline_caller import OfflineCaller
from sip_test_harness.qa_row import QaRow, row_of
from sip_test_harness.replay import run_replay
from sip_test_harness.virtual_loop import run_virtually

if TYPE_CHECKING:
    from sip_test_harness.script_runner import CallRun
    from sip_test_harness.sweep import Job, OnRow


@dataclass(frozen=True)
class OfflinePlan:
    """What all calls of an offline sweep share.

    Args:
        command: starts the bot's process.
        target: SIP address whose user part is dialled.
        at: time of day of the calls, ISO 8601; "" is the bot's own choice.
        timing: ``turns`` or ``verbatim``.
        silence_ms: the bot has finished after this silence.
        sound: put the sound into the rows.
    """

    command: str
    target: str
    at: str = ""
    timing: str = "turns"
    silence_ms: float = 700.0
    sound: bool = True


def offline_row(bot: OfflineBot, plan: OfflinePlan, job: Job) -> QaRow:
    """Place one call on virtual time and return its row."""
    way_out, way_in = job.profile.build(job.seed)
    base = CallerOptions()
    media = replace(base.media, impairment_out=way_out, impairment_in=way_in)
    options = replace(base, media=media, seed=job.seed, profile=job.profile.name)
    name = f"{job.recorded.name}-{job.profile.name}-{job.seed}"
    callers: list[OfflineCaller] = []

    def open_caller(target: str, options: CallerOptions) -> OfflineCaller:
        caller = OfflineCaller(bot, target, options, call_id=name, at=plan.at)
        callers.append(caller)
        return caller

    async def call() -> CallRun:
        return await run_replay(
            job.recorded,
            options,
            plan.target,
            timing=plan.timing,
            silence_ms=plan.silence_ms,
            open_caller=open_caller,
        )

    try:
        run = run_virtually(call)
    except UsageError:
        raise
    except HarnessError as error:
        return QaRow(job.recorded.name, asdict(job.cell), job.profile.name, job.seed, [str(error)])
    end = callers[0].end
    record = record_of(end.record) if end is not None else None
    heard = g711.decode(end.heard, g711.PCMU) if end is not None else None
    return row_of(run, record, job.cell, sound=plan.sound, bot_heard=heard)


def run_offline_sweep(
    jobs: Sequence[Job], plan: OfflinePlan, *, processes: int = 1, on_row: OnRow | None = None
) -> list[QaRow]:
    """Place every call; rows in the order of the jobs, whatever the number of processes.

    Args:
        jobs: the calls.
        plan: what they share.
        processes: bots, and callers, at the same time; about the number of cores.
        on_row: told of each row.

    Raises:
        UsageError: the bot's command cannot be started.
        OfflineBotError: it does not speak the protocol.
    """
    rows: list[QaRow] = []
    with ExitStack() as stack:
        if processes > 1:
            pool = stack.enter_context(
                ProcessPoolExecutor(
                    min(processes, len(jobs)),
                    multiprocessing.get_context("spawn"),
                    _start,
                    (plan,),
                )
            )
            results = pool.map(_row, jobs)
        else:
            bot = stack.enter_context(OfflineBot(plan.command))
            results = (offline_row(bot, plan, job) for job in jobs)
        for row in results:
            rows.append(row)
            if on_row is not None:
                on_row(len(rows), len(jobs), row)
    return rows


_own: list[tuple[OfflineBot, OfflinePlan]] = []


def _start(plan: OfflinePlan) -> None:
    # The bot ends by itself when this process, and with it the pipe, is gone.
    _own.append((OfflineBot(plan.command), plan))


def _row(job: Job) -> QaRow:
    bot, plan = _own[0]
    return offline_row(bot, plan, job)
