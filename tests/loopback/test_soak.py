"""Many calls to the whole bot with quick engines: none fails, and nothing grows."""

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio

from tests.loopback.bot_program import running_bot
from tests.loopback.raw_sip_caller import Caller

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]

LONG_CALLS = int(os.environ.get("VOICEBOT_SOAK_CALLS", "1000"))
LONG_MINUTES = float(os.environ.get("VOICEBOT_SOAK_MINUTES", "10"))
WARM_CALLS = 10
SETTLE_S = 60


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bot(tmp_path_factory):
    """Fake recogniser and tones: what is soaked is everything around the engines."""
    async with running_bot(
        tmp_path_factory.mktemp("soak"), asr__engine="fake", tts__engine="tone", console__enabled="false"
    ) as running:
        await running.wait_event("worker_ready", 2)
        yield running


def usage(bot):
    """Descriptors, threads and memory of each process of the bot."""
    found = {}
    for pid in (bot.process.pid, *bot.children()):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        found[pid] = {
            "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
            "threads": int(fields["Threads"]),
            "memory_kib": int(fields["VmRSS"].split()[0]),
        }
    return found


async def one_call(bot, *, packets=10):
    """Answered, greeted, hung up."""
    async with Caller(("127.0.0.1", bot.sip_port), user="bank") as caller:
        answer = await caller.call(repeats=True)  # several lines may begin together
        assert answer.code == 200, answer.first_line
        await caller.hear(packets, timeout_s=packets / 50 + 10)
        assert (await caller.hang_up()).code == 200


async def settled(bot, before):
    """Until descriptors and threads are back where they were: a call is closed a moment after its BYE."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLE_S
    while True:
        after = usage(bot)
        assert set(after) == set(before), "a process was restarted"
        grown = {
            (pid, what): (before[pid][what], after[pid][what])
            for pid in before
            for what in ("descriptors", "threads")
            if after[pid][what] > before[pid][what] + 3
        }
        if not grown:
            return after
        assert loop.time() < end, grown
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("calls", "kib_per_call"),
    [
        pytest.param(40, 200, id="short", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
        pytest.param(LONG_CALLS, 6, id="long", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
async def test_calls_in_a_row_leave_nothing_behind(bot, calls, kib_per_call):
    """No call fails; descriptors and threads stay, memory of the second half grows by its noise only."""
    for _ in range(WARM_CALLS):
        await one_call(bot)
    records = len(bot.records())
    before = usage(bot)
    began_s = time.monotonic()
    for _ in range(calls // 2):
        await one_call(bot)
    middle = usage(bot)
    for _ in range(calls - calls // 2):
        await one_call(bot)
    took_s = time.monotonic() - began_s
    await bot.wait_records(records + calls, limit_s=SETTLE_S)
    after = await settled(bot, before)
    grown = {pid: (after[pid]["memory_kib"] - before[pid]["memory_kib"]) / calls for pid in before}
    # The first hundreds fill caches and the allocator's arenas: what counts is whether it ends.
    later = {p: (after[p]["memory_kib"] - middle[p]["memory_kib"]) / (calls / 2) for p in before}
    sys.stdout.write(f"{calls} calls in {took_s:.0f} s; KiB per call: {grown}, second half: {later}\n")
    assert max(later.values()) < kib_per_call
    assert not bot.events("child_died")


@pytest.mark.long
@pytest.mark.timeout(LONG_MINUTES * 60 + 600)
async def test_hours_at_a_steady_load(bot):
    """Three lines, one call after the other: slopes of memory, descriptors and threads are about zero."""
    end_s = time.monotonic() + LONG_MINUTES * 60
    samples = []

    async def line():
        while time.monotonic() < end_s:
            await one_call(bot, packets=200)

    async def watch():
        while time.monotonic() < end_s:
            samples.append((time.monotonic(), usage(bot)))
            await asyncio.sleep(5)

    await one_call(bot)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        for _ in range(3):
            tasks.create_task(line())
    later = samples[len(samples) // 4 :]
    hours = [at_s / 3600 for at_s, _ in later]
    slopes = {
        (pid, what): statistics.linear_regression(hours, [u[pid][what] for _, u in later]).slope
        for pid in later[0][1]
        for what in ("descriptors", "threads", "memory_kib")
    }
    sys.stdout.write(f"per hour: { {key: round(slope, 1) for key, slope in slopes.items()} }\n")
    for (_, what), slope in slopes.items():
        assert abs(slope) < {"descriptors": 10, "threads": 5, "memory_kib": 30_000}[what]
    assert not bot.events("child_died")
