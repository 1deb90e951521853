"""How many calls a machine carries: response onset, pacing, CPU and memory against calls at the same time.

    python -m tests.bench.capacity [--engine stub|real] [--steps 1,4,8,16,24,32] [--calls-per-step 2]

One bot for the largest step (`voicebot serve --calls N`, Kamailio in front above 4), the harness's `load` as
the callers, in a process of its own. Each step keeps so many calls up for two calls' length. The knee is the
last step whose onset p95 is within 1.3 x that of one call and whose RTP gaps show no tick late by more than
10 ms (p99.9 of the gaps at most 30 ms). How late the edges themselves saw their clocks tick tells a late
sender from a late wire. The callers use the same cores as the bot, so the figures are low
rather than high. Draws docs/images/capacity-ENGINE.svg.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.bench.rows import at_most, machine, row, write
from tests.bench.wire import cpu_seconds
from tests.loopback.bot_program import ROOT, running_bot
from tests.ports import free_port_range

HEARD = "opening hours@700"
SCRIPT = f"""
silence_ms: 700
limit_s: 60
turns:
  - say: {ROOT}/tests/data/caller/balance.wav
  - dtmf: "2"
  - dtmf: "9"
  - expect_hang_up_s: 20
"""
SPARE_CALLS = 4
ENGINES = {
    "stub": {
        "asr__engine": "fake",
        "tts__engine": "tone",
        "asr__fake_script": HEARD,
        "recording__enabled": "false",
    },
    "real": {},
}


def memory_mb(pid):
    """Proportional share of a process: pages that others map too are divided."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def family(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def spent(pids):
    total = 0.0
    for pid in pids:
        if Path(f"/proc/{pid}/stat").exists():
            total += cpu_seconds(pid)
    return total


def ticks(bot):
    """Ticks of the edges' own clocks so far: all, and those that came more than 10 ms late."""
    found = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{bot.metrics_port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("voicebot_frame_late_seconds_bucket"):
                label, _, value = line.rpartition(" ")
                found[label] = found.get(label, 0) + float(value)
    in_time = sum(v for label, v in found.items() if 'le="0.01"' in label)
    every = sum(v for label, v in found.items() if 'le="+Inf"' in label)
    return every, every - in_time


async def step(bot, folder, at_once, calls):
    """One step of the curve; returns its figures."""
    ticks_before = await asyncio.to_thread(ticks, bot)
    script, out = folder / "load.yaml", folder / f"load-{at_once}.json"
    script.write_text(SCRIPT)
    pids = family(bot.process.pid)
    before = spent(pids)
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "sip-test-harness"), "load", str(script),
        "--target", bot.uri, "--calls", str(calls), "--at-once", str(at_once),
        "--rate", str(max(1.0, at_once / 4)), "--max-failed", str(calls), "--json", str(out),
        cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/sip-test-harness"},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await process.wait()
    took_s = loop.time() - began
    # Not while calls are up: the kernel walks the page tables for it and holds up who needs memory.
    peak_mb = sum(memory_mb(p) for p in pids if Path(f"/proc/{p}").exists())
    figures = json.loads(out.read_text())
    every, late = (
        after - before
        for after, before in zip(await asyncio.to_thread(ticks, bot), ticks_before, strict=True)
    )
    figures |= {"ticks": every, "ticks_late": late}
    figures |= {"at_once": at_once, "cores": (spent(pids) - before) / took_s, "memory_mb": peak_mb}
    return figures


async def measure(options, folder):
    # An edge more: a slot is free again when the BYE was answered, and the next caller rings in that moment.
    most = max(options.steps) + SPARE_CALLS
    edges = -(-most // 4)
    rtp = free_port_range(32 * edges)
    settings = {
        "scale__calls": most,
        "scale__edge_port": free_port_range(64),
        "rtp__port_min": rtp,
        "rtp__port_max": rtp + 32 * edges - 1,
    }
    async with running_bot(folder / "data", **settings, **ENGINES[options.engine]) as bot:
        await bot.wait_event("worker_ready", 2, limit_s=240)
        idle_mb = sum(memory_mb(pid) for pid in family(bot.process.pid))
        print(f"idle: {len(family(bot.process.pid))} processes, {idle_mb:.0f} MB", flush=True)
        curve = []
        for at_once in options.steps:
            curve.append(await step(bot, folder, at_once, max(4, at_once * options.calls_per_step)))
            c = curve[-1]
            print(
                f"{at_once:3d} calls: onset p50 {c['response_onset']['p50_ms']:.0f} p95 "
                f"{c['response_onset']['p95_ms']:.0f} ms, gap p99.9 {c['bot_gap']['p999_ms']:.1f} ms, "
                f"longest {c['bot_gap']['max_ms']:.0f} ms, "
                f"{c['ticks_late']:.0f} of {c['ticks']:.0f} ticks late by > 10 ms, "
                f"{c['cores']:.2f} cores, {c['memory_mb']:.0f} MB, failed {sum(c['failures'].values())}"
                f"{', VOID' if c['sender_lateness']['p99_ms'] > 5 else ''}",
                flush=True,
            )
            for reason, count in c["failures"].items():
                print(f"    {count} x {reason}", flush=True)
        return idle_mb, curve


def fits(c, first):
    """Whether a step is left of the knee."""
    onset = c["response_onset"]["p95_ms"] <= 1.3 * first["response_onset"]["p95_ms"]
    return onset and c["bot_gap"]["p999_ms"] <= 30 and not sum(c["failures"].values())


def plot(curve, path, engine):
    """The curve as SVG: onset p95 and cores over calls."""
    width, height, left, bottom = 640, 320, 60, 270
    most = max(c["at_once"] for c in curve)
    top_ms = max(c["response_onset"]["p95_ms"] for c in curve) * 1.1
    top_cores = max(max(c["cores"] for c in curve) * 1.1, 0.1)

    def points(value, top):
        return " ".join(
            f"{left + c['at_once'] / most * (width - 130):.0f},{bottom - value(c) / top * 220:.0f}"
            for c in curve
        )

    onset = points(lambda c: c["response_onset"]["p95_ms"], top_ms)
    cores = points(lambda c: c["cores"], top_cores)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{left}" y="22" font-size="15">Calls at the same time, {engine} engines</text>'
        f'<polyline points="{left},50 {left},{bottom} {width - 70},{bottom}" fill="none" stroke="black"/>'
        f'<polyline points="{onset}" fill="none" stroke="#0b6e99" stroke-width="2"/>'
        f'<polyline points="{cores}" fill="none" stroke="#c2571a" stroke-width="2"/>'
        f'<text x="{left}" y="300" fill="#0b6e99">blue: onset p95, up to {top_ms:.0f} ms</text>'
        f'<text x="{left + 220}" y="300" fill="#c2571a">orange: cores used by the bot, up to {top_cores:.1f}</text>'
        f'<text x="{width - 90}" y="{bottom + 16}">{most} calls</text></svg>\n'
    )


def rows_of(idle_mb, curve, engine):
    first, last = curve[0], curve[-1]
    knee = first
    for c in curve:
        if not fits(c, first):
            break
        knee = c
    void = any(c["sender_lateness"]["p99_ms"] > 5 for c in curve)
    note = f"{os.cpu_count()} cores, callers on the same machine{'; VOID: the harness sent late' if void else ''}"
    per_core = knee["at_once"] / max(knee["cores"], 1e-9)
    cost = (last["cores"] - first["cores"]) / max(last["at_once"] - first["at_once"], 1)
    memory = (last["memory_mb"] - idle_mb) / last["at_once"]
    limit = ">= 15" if engine == "stub" else ""
    return [
        row(f"knee, {engine} engines", knee["at_once"], "calls", note=note),
        row(
            f"calls per core at the knee, {engine} engines", round(per_core, 1), "", limit=limit,
            ok=engine != "stub" or per_core >= 15, target="7", note="calls divided by cores that the bot used",
        ),
        row(f"cores per further call, {engine} engines", round(cost, 4), "cores"),
        row(f"memory, idle, {engine} engines", round(idle_mb), "MB", note="all processes, shared pages counted once"),
        row(f"memory per call, {engine} engines", round(memory, 1), "MB"),
        row(
            f"{last['at_once']} calls at the same time, failed", sum(last["failures"].values()), "", limit="0",
            ok=not last["failures"], note=f"onset p95 {last['response_onset']['p95_ms']:.0f} ms",
        ),
        at_most(f"RTP gap p99.9 at the knee, {engine} engines", knee["bot_gap"]["p999_ms"], "ms", 30, target="8"),
        at_most(f"RTP gap, longest at the knee, {engine} engines", knee["bot_gap"]["max_ms"], "ms", 30, target="8",
                note=f"of {knee['bot_gap']['count']}; a tick 10 ms late is a gap of 30 ms"),
        at_most(f"ticks late by more than 10 ms at the knee, {engine} engines", knee["ticks_late"], "", 0, target="7",
                note=f"of {knee['ticks']:.0f}, by the edges' own clocks"),
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(ENGINES), default="stub")
    parser.add_argument(
        "--steps",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 4, 8, 12, 16, 24, 32],
    )
    parser.add_argument("--calls-per-step", type=int, default=2, help="times the calls at the same time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        idle_mb, curve = asyncio.run(measure(options, folder))
    plot(curve, ROOT / f"docs/images/capacity-{options.engine}.svg", options.engine)
    rows = [row("machine", machine(), ""), *rows_of(idle_mb, curve, options.engine)]
    write(f"capacity_{options.engine}", rows)
    return 0 if all(r["ok"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
