"""What the caller hears when a worker dies or hangs, measured at the wire.

    python -m tests.bench.failover [--trials 20] [--kills 0]

`voicebot serve` with two workers and stub engines (keys instead of words, a tone instead of a voice), called
by the independent harness. Two moments: in the middle of a prompt (the gap is the longest silence in a tone
that has none), and right after the last key of an answer (the gap is how much later the bot's next word comes
than in the calls without a kill). `--kills` runs so many random kills as well and checks every call.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from sip_test_harness import Caller, CallerOptions, HarnessError
from tests.bench.rows import FOLDER, at_most, machine, percentile, row, write
from tests.loopback.takeover_kit import (
    Booking,
    busy_pids,
    kill,
    ordering_call,
    problems,
    serving_pid,
    takeover_bot,
    two_workers_ready,
)

AUDIBLE_DBFS = -45
LIMITS_MS = {"kill": 200, "stop": 500}


def longest_silence_ms(received, from_ns, to_ns):
    """Longest time between two audible packets that overlaps the window."""
    audible = [
        p.arrival_ns for p in received if p.level_dbfs is not None and p.level_dbfs > AUDIBLE_DBFS
    ]
    gaps = [(b - a) / 1e6 for a, b in itertools.pairwise(audible) if b > from_ns and a < to_ns]
    return max(gaps, default=float("inf"))


async def in_a_prompt(bot, how, chance):
    """Kill in the middle of the greeting, which is more than four seconds of tone."""
    async with Caller(bot.uri, CallerOptions(limit_s=60)) as call:
        await call.invite()
        await call.wait_bot_audible(30)
        await asyncio.sleep(
            chance.uniform(0.1, 1.8)
        )  # its first sentence lasts 3.2 s, then comes a pause
        at_ns = time.monotonic_ns()
        kill(serving_pid(bot, call.call_id), how)
        await asyncio.sleep(1.6)
        return longest_silence_ms(call.media.received, at_ns - 100_000_000, at_ns + 1_300_000_000), call


async def after_a_key(bot, how, chance):
    """Kill around the moment at which the last key of an answer arrives; how=None: a call without a kill."""
    async with Caller(bot.uri, CallerOptions(limit_s=60)) as call:
        await call.invite()
        await call.wait_bot_audible(30)
        await call.wait_bot_silent(400, timeout_s=60)
        for digit in "1357":
            await call.press(digit)
        await asyncio.sleep(chance.uniform(0, 0.15))
        if how is not None:
            kill(serving_pid(bot, call.call_id), how)
        await call.wait_bot_audible(30, since_ns=time.monotonic_ns())
        await asyncio.sleep(0.3)
        return call.measures().turns[-1].response_onset_ms, call


async def trials(bot, count, chance):
    usual = [(await after_a_key(bot, None, chance))[0] for _ in range(5)]
    usual_ms = percentile([u for u in usual if u is not None], 0.5)
    rows = [row("answer after the last key without a kill, p50", round(usual_ms, 1), "ms", note="n=5")]
    for how, limit_ms in LIMITS_MS.items():
        gaps = {"in a prompt": [], "after a key": []}
        whole = True
        for _ in range(count):
            for moment, trial in (("in a prompt", in_a_prompt), ("after a key", after_a_key)):
                await two_workers_ready(bot)
                value, call = await trial(bot, how, chance)
                if moment == "after a key" and value is not None:
                    value = max(0.0, value - usual_ms)
                gaps[moment].append(value)
                whole &= all(s.contiguous for s in call.measures().bot_streams)
                print(f"{how} {moment}: {value}", flush=True)
        name = "kill -9" if how == "kill" else "SIGSTOP"
        for moment, values in gaps.items():
            lost = sum(v is None for v in values)
            heard = [v for v in values if v is not None] or [float("inf")]
            note = f"n={len(values)}, unanswered {lost}"
            rows.append(
                row(
                    f"{name} {moment}, silence heard p50",
                    round(percentile(heard, 0.5), 1),
                    "ms",
                    note=note,
                )
            )
            rows.append(
                at_most(
                    f"{name} {moment}, silence heard p95",
                    percentile(heard, 0.95),
                    "ms",
                    limit_ms,
                    target="16",
                )
            )
            rows.append(row(f"{name} {moment}, silence heard max", round(max(heard), 1), "ms"))
        rows.append(
            row(
                f"{name}: RTP sequence contiguous in all calls",
                int(whole),
                "",
                limit="1",
                ok=whole,
                target="16",
            )
        )
    return rows


async def judged_call(bot, booking):
    """One caller's whole call, and what was wrong with it."""
    try:
        call = await ordering_call(bot)
        record = await bot.record_of(call.call_id, limit_s=60)
    except (HarnessError, TimeoutError) as error:
        return [f"{type(error).__name__}: {error}"]
    found = problems(call, record, booking, record["session_id"])
    return [f"{record['call_id']}: {problem}" for problem in found]


async def random_kills(bot, booking, wanted, seed):
    chance = random.Random(seed)
    kills, found, done = 0, [], 0

    async def killer():
        nonlocal kills
        while kills < wanted:
            await asyncio.sleep(chance.uniform(0.5, 4.0))
            await two_workers_ready(bot)
            if busy := busy_pids(bot):  # a kill that no call suffers from does not count
                pid = chance.choice(busy)
                how = chance.choice(["kill", "kill", "stop"])
                bot.log.append(f"# {time.time():.3f} {how} {pid}")
                kill(pid, how)
                kills += 1

    killing = asyncio.create_task(killer())
    while not killing.done():
        for found_here in await asyncio.gather(*(judged_call(bot, booking) for _ in range(4))):
            found += found_here
            done += 1
        print(f"{kills} kills, {done} calls, problems: {found}", flush=True)
        if found:
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / f"failover-kills-{seed}.log").write_text("\n".join(bot.log))
    await killing
    return [
        row(
            "calls with something lost, doubled or broken",
            len(found),
            "",
            limit="0",
            ok=not found,
            target="16",
            note=f"{kills} random kills (two of three -9, one SIGSTOP), {done} calls; {'; '.join(found[:3])}",
        )
    ]


async def measure(options):
    chance = random.Random(options.seed)
    rows = [row("machine", machine(), "")]
    with tempfile.TemporaryDirectory() as folder:
        if options.trials:
            place = Path(folder) / "trials"
            place.mkdir()
            # A tool in doubt that knows its keys is called again at once; another one is waited for.
            async with Booking() as booking, takeover_bot(place, booking, repeatable=True) as bot:
                rows += await trials(bot, options.trials, chance)
        if options.kills:
            place = Path(folder) / "kills"
            place.mkdir()
            # Five workers, so that two work while three start again: a kill every few seconds.
            quick = {"link__standby_workers": 4, "scale__hang_limit_s": 2}
            async with Booking(delay_s=0.1) as booking, takeover_bot(place, booking, **quick) as bot:
                rows += await random_kills(bot, booking, options.kills, options.seed)
                left = sum('"worker_silent"' in line for line in bot.log)
                rows.append(row("links left for their silence, SIGSTOP included", left, ""))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="per moment and way of dying")
    parser.add_argument("--kills", type=int, default=0, help="random kills under four calls")
    parser.add_argument("--seed", type=int, default=16, help="of the moments; another one for each part")
    options = parser.parse_args()
    rows = asyncio.run(measure(options))
    write("failover", rows)
    return 0 if all(r["ok"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
