"""Many callers who speak at the same moment, recognised by the real engine: is any RTP packet late?

    python -m tests.bench.asr_calls [--calls 20] [--seconds 30]

`voicebot serve` with as many edges as the calls need (Kamailio in front), Vosk with the packaged model, a
tone for a voice; the harness's callers all say an eight-digit number at once, over and over. A packet is
late when the gap to the one before is above 40 ms: the next one was due by then. A run in which the harness
itself sent late is void and says so.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sip_test_harness import Caller, CallerOptions, read_wav
from sip_test_harness.asr_run import digits_said
from sip_test_harness.pacer import realtime_section
from tests.bench.rows import at_most, machine, row, write
from tests.bench.wire import cpu_seconds
from tests.loopback.bot_program import ROOT, running_bot
from tests.ports import free_port_range

SPEECH = ROOT / "tests/data/caller/account_number.wav"
SAID = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
LATE_GAP_MS = 40
PAUSE_S = 2.5
ROUND_S = 7.5  # five seconds of digits and the pause
CALLS_OF_ONE_EDGE = 4
BETWEEN_INVITES_S = 0.1
"""At the same instant an edge refuses all but two of one source (`max_half_open_per_source`)."""
PLAN = """
version: 1
name: digits
locale: en-GB
timezone: Europe/London
routes: [{ match: { to: ["*"] }, flow: main }]
defaults:
  no_input: { timeout: 20s, retries: 9, say: ["Again."], then: { goto: main } }
  no_match: { retries: 9, say: ["Again."], then: { goto: main } }
slots:
  number: { type: digits, length: 8, input: [speech], confirm: never, ask: "Now." }
flows:
  main:
    - collect: number
    - clear: [number]
      goto: main
"""


async def speaking_call(bot, together, rounds, number):
    """One caller who speaks whenever all do; its measures."""
    samples = read_wav(SPEECH)
    await asyncio.sleep(number * BETWEEN_INVITES_S)
    async with Caller(bot.uri, CallerOptions(limit_s=rounds * ROUND_S * 2 + 120)) as call:
        await call.invite()
        await call.wait_bot_silent(500, timeout_s=60)
        for _ in range(rounds):
            await together.wait()
            await call.say(samples)
            await asyncio.sleep(PAUSE_S)
        return call.measures()


async def measure(calls, seconds):
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "digits.yaml"
        plan.write_text(PLAN)
        ports = free_port_range(4 * calls + 32)
        settings = {
            "dialplan": plan,
            "tts__engine": "tone",
            "recording__enabled": "false",
            "scale__calls": calls,
            "rtp__port_min": ports,
            "rtp__port_max": ports + 4 * calls + 31,
        }
        async with running_bot(Path(folder) / "data", **settings) as bot:
            # Calls that come before their worker does get 503.
            await bot.wait_event("worker_ready", 2 if calls > CALLS_OF_ONE_EDGE else 1, limit_s=240)
            together, rounds = asyncio.Barrier(calls), max(1, round(seconds / ROUND_S))
            began_s = time.monotonic()
            before = sum(cpu_seconds(pid) for pid in bot.children())
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(speaking_call(bot, together, rounds, number))
                    for number in range(calls)
                ]
            spent_s = sum(cpu_seconds(pid) for pid in bot.children()) - before
            elapsed_s = time.monotonic() - began_s
            found = [task.result() for task in running]
            await bot.wait_records(calls, limit_s=60)
            heard = [
                line["text"]
                for record in bot.records()
                for line in record["transcript"]
                if line["who"] == "caller"
            ]
    return found, heard, spent_s / (calls * elapsed_s / 60)


def rows_of(measured, heard, cpu_s, seconds):
    streams = [stream for m in measured for stream in m.bot_streams]
    void = "; ".join(sorted({m.void_reason for m in measured if m.void}))
    note = f"{len(measured)} calls at once, {seconds} s{'; VOID: ' + void if void else ''}"
    worst = max(s.gap.max_ms for s in streams)
    right = sum(digits_said(text) == SAID for text in heard)
    others = sorted({text for text in heard if digits_said(text) != SAID})[:3]
    contiguous = all(s.contiguous for s in streams)
    return [
        at_most("all speak at once: longest RTP gap", worst, "ms", LATE_GAP_MS, target="8", note=note),
        at_most(
            "all speak at once: RTP gap p99.9, worst call",
            max(s.gap.p999_ms for s in streams),
            "ms",
            25,
            target="8",
            note=note,
        ),
        row(
            "sequence and timestamps contiguous",
            int(contiguous),
            "",
            limit="1",
            ok=contiguous,
            note=note,
        ),
        row(
            "turns recognised",
            len(heard),
            "",
            note=f"{right} with all eight digits right; others: {others}",
        ),
        row(
            "CPU per call-minute, real recogniser, all speaking",
            round(cpu_s, 2),
            "s",
            note="edges and workers",
        ),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with realtime_section():
        measured, heard, cpu_s = asyncio.run(measure(options.calls, options.seconds))
    print(machine())
    write("asr_calls", rows_of(measured, heard, cpu_s, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
