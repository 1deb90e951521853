"""Targets 8 and 15: RTP send gaps over a minute with four calls; INVITE to 200 and to the first audio.

The edge runs as its own process; a scripted worker in this process sends prompts in bursts, four callers
send and receive. What is measured is what the callers' sockets see, so the jitter of this process is in it.
Run: ``.venv/bin/python -m tests.bench.edge_pacing [seconds]``.
"""

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path

from tests.loopback.edge_program import EdgeProgram, ScriptedWorker
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.binary_media import BotAudio

CALLS = 4


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def measure(seconds: float) -> dict:
    program = EdgeProgram()
    setup_ms, greeting_ms = [], []
    try:
        async with ScriptedWorker(program.worker_port) as worker:
            worker.greeting = BotAudio(generation=0, utterance="hello", payload=b"\x2f" * 8000)
            await asyncio.sleep(1.0)
            for _ in range(20):  # one after the other, on a machine that does nothing else for us
                async with Caller(program.server) as caller:
                    response = await caller.call()
                    setup_ms.append((response.at_s - caller.invite_at_s) * 1000)
                    first = await caller.wait(
                        lambda c=caller: next((p for p in c.rtp if p.payload[0] != 0xFF), None)
                    )
                    greeting_ms.append((first.at_s - caller.invite_at_s) * 1000)
                    await caller.hang_up()
                await asyncio.sleep(0.1)
            callers = [await Caller(program.server).__aenter__() for _ in range(CALLS)]
            for caller in callers:
                assert (await caller.call()).code == 200
            await asyncio.sleep(1.0)
            for caller in callers:
                caller.rtp.clear()
            cpu = cpu_seconds(program.process.pid)
            talking = [asyncio.create_task(c.talk(int(seconds * 50))) for c in callers]
            for turn in range(int(seconds / 3)):
                for call in worker.calls[-CALLS:]:
                    await call.send(
                        BotAudio(generation=0, utterance=f"t{turn}", payload=b"\x2f" * 16000)
                    )
                await asyncio.sleep(3)
            await asyncio.gather(*talking)
            cpu = cpu_seconds(program.process.pid) - cpu
            memory = rss_mb(program.process.pid)
            gaps = [
                (b.at_s - a.at_s) * 1000 for caller in callers for a, b in itertools.pairwise(caller.rtp)
            ]
            whole = all(
                (b.sequence_number - a.sequence_number) & 0xFFFF == 1
                and (b.timestamp - a.timestamp) & 0xFFFFFFFF == 160
                for caller in callers
                for a, b in itertools.pairwise(caller.rtp)
            )
            for caller in callers:
                await caller.hang_up()
                await caller.__aexit__()
        realtime = program.events("edge_scheduling")[0]["realtime"]
    finally:
        program.stop()
    return {
        "gaps": gaps,
        "whole": whole,
        "setup": setup_ms,
        "greeting": greeting_ms,
        "cpu": cpu / seconds * 100,
        "memory": memory,
        "realtime": realtime,
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    got = asyncio.run(measure(seconds))
    note = (
        f"{CALLS} calls, {seconds:.0f} s, {len(got['gaps'])} gaps, load {os.getloadavg()[0]:.1f}, "
        + ("SCHED_RR" if got["realtime"] else "ordinary scheduling")
    )
    rows = [
        ("8", "RTP send gap p99.9", quantile(got["gaps"], 0.999), "ms", "<= 25", 25.0),
        ("8", "RTP send gap max", max(got["gaps"]), "ms", "", float("inf")),
        ("8", "RTP send gap p50", quantile(got["gaps"], 0.5), "ms", "", float("inf")),
        ("8", "breaks in sequence or timestamp", float(not got["whole"]), "", "0", 0.0),
        ("15", "INVITE to 200 p50", quantile(got["setup"], 0.5), "ms", "<= 50", 50.0),
        ("15", "INVITE to 200 max of 20", max(got["setup"]), "ms", "<= 50", 50.0),
        ("15", "INVITE to first audio max of 20", max(got["greeting"]), "ms", "<= 150", 150.0),
        ("", "CPU of the edge", got["cpu"], "% of a core", "", float("inf")),
        ("", "memory of the edge", got["memory"], "MB", "", float("inf")),
    ]
    result = []
    for target, figure, value, unit, limit, bound in rows:
        ok = value <= bound
        print(f"{figure:36s} {value:9.2f} {unit:12s} {limit:8s} {'ok' if ok else 'MISSED'}")
        result.append(
            {
                "target": target,
                "figure": figure,
                "value": round(value, 3),
                "unit": unit,
                "limit": limit,
                "ok": ok,
                "note": note,
            }
        )
    print(note)
    folder = Path("var/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edge_pacing.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
