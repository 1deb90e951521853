"""Many callers who speak at the same moment, recognised by the real engine: is any RTP packet late?

    python -m tests.bench.asr_calls [--calls 20] [--seconds 60] [--engine real|stub]

`voicebot serve` with as many edges as the calls need (Kamailio in front), Vosk with the packaged model (stub: a
fake that knows the number), a tone for a voice; callers that cost next to nothing (`tests.bench.light_callers`) all say an eight-digit number
at once, over and over. A packet is late when the gap to the one before is above 40 ms: the next one was due by
then. A run in which the callers themselves sent late is void and says so.
"""

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

from sip_test_harness import read_wav
from sip_test_harness.asr_run import digits_said
from tests.bench.light_callers import FRAME_BYTES, LightCallers
from tests.bench.rows import at_most, machine, row, write
from tests.bench.wire import cpu_seconds
from tests.loopback.bot_program import ROOT, running_bot
from tests.loopback.raw_sip_caller import Caller
from tests.ports import free_port_range
from voicebot.audio.g711 import encode_ulaw

SPEECH = ROOT / "tests/data/caller/account_number.wav"
SAID = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
LATE_GAP_MS = 40
MOST_SENDER_LATE_MS = 5
"""Callers that send later than this at p99 make the run void."""

MOST_MISSING_SHARE = 0.02
"""A call that brought fewer packets than this ended before the others."""

ENGINES = {
    "real": {},
    "stub": {"asr__engine": "fake", "asr__fake_script": f"{' '.join(SAID)}@2000"},
}
PAUSE_S = 2.5
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


def speech():
    """What all say, mu-law, whole frames."""
    said = encode_ulaw(read_wav(SPEECH))
    return said + bytes([0xFF]) * (-len(said) % FRAME_BYTES)


async def measure(calls, seconds, engine):
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
            **ENGINES[engine],
        }
        async with (
            running_bot(Path(folder) / "data", **settings) as bot,
            contextlib.AsyncExitStack() as stack,
        ):
            # Calls that come before their worker does get 503.
            await bot.wait_event("worker_ready", 2 if calls > CALLS_OF_ONE_EDGE else 1, limit_s=240)
            callers = []
            for number in range(calls):
                caller = Caller(("127.0.0.1", bot.sip_port), from_user=f"caller{number}")
                callers.append(await stack.enter_async_context(caller))
                answer = await caller.call()
                assert answer.code == 200, answer.first_line
                await asyncio.sleep(BETWEEN_INVITES_S)
            said = speech()
            round_s = len(said) / 8000 + PAUSE_S
            crowd = LightCallers(callers, said, PAUSE_S, max(1, round(seconds / round_s)))
            before = processes(bot)
            began_s = time.monotonic()
            await crowd.run()
            elapsed_s = time.monotonic() - began_s
            spent = {pid: used - before.get(pid, 0.0) for pid, used in processes(bot).items()}
            late = await edge_lateness(bot)
            for caller in callers:
                await caller.hang_up()
            await bot.wait_records(calls, limit_s=60)
            ended = Counter(record["reason"] for record in bot.records())
            heard = [
                line["text"]
                for record in bot.records()
                for line in record["transcript"]
                if line["who"] == "caller"
            ]
    return crowd, heard, sum(spent.values()) / elapsed_s, late, ended


def processes(bot):
    """Processor seconds of edges, workers and Kamailio so far, by process id."""
    return {pid: cpu_seconds(pid) for pid in bot.children()}


async def edge_lateness(bot):
    """Above how many seconds the edges' own clocks were late, and how often: not the network, not the callers."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{bot.metrics_port}/metrics")).text
    found = re.findall(
        r'^voicebot_frame_late_seconds_bucket\{.*?le="([^"]+)".*?\} (\S+)', text, re.MULTILINE
    )
    return {le: float(count) for le, count in found}


def rows_of(crowd, heard, cores, late, ended, seconds):
    calls = len(crowd.calls)
    void = crowd.late_p99_ms > MOST_SENDER_LATE_MS
    own = f"callers late {crowd.late_p99_ms:.1f} ms p99, {max(crowd.late_ms):.1f} most"
    note = f"{calls} calls at once, {seconds:g} s; {own}{'; VOID' if void else ''}"
    gaps = [arrivals.gaps_ms() for arrivals in crowd.arrivals]
    every = np.concatenate(gaps)
    right = sum(digits_said(text) == SAID for text in heard)
    others = sorted({text for text in heard if digits_said(text) != SAID})[:3]
    expected = len(crowd.frames) * (1 - MOST_MISSING_SHARE)
    lasted = sum(len(arrivals.at_s) >= expected for arrivals in crowd.arrivals)
    contiguous = all(arrivals.contiguous for arrivals in crowd.arrivals)
    too_long = f"{int((every > LATE_GAP_MS).sum())} of {len(every)} gaps above {LATE_GAP_MS} ms; edges' clocks: {late}"
    return [
        at_most("all speak at once: longest RTP gap", float(every.max()), "ms", LATE_GAP_MS, note=note),
        at_most(
            "all speak at once: RTP gap p99.9, worst call",
            max(float(np.quantile(g, 0.999)) for g in gaps),
            "ms",
            25,
            target="8",
            note=too_long,
        ),
        row("sequence and timestamps contiguous", int(contiguous), "", limit="1", ok=contiguous),
        row(
            "calls in which packets came to the end",
            lasted,
            "",
            limit=f"{calls}",
            ok=lasted == calls,
            note=f"calls ended: {dict(ended)}",
        ),
        row(
            "turns recognised",
            len(heard),
            "",
            note=f"{right} with all eight digits right; others: {others}",
        ),
        row("cores taken by edges, workers and Kamailio, all speaking", round(cores, 2), ""),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="real")
    options = parser.parse_args()
    found = asyncio.run(measure(options.calls, options.seconds, options.engine))
    print(machine())
    write("asr_calls", rows_of(*found, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
