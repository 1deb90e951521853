"""Ours beside another bot: response onset and barge-in stop through the same WebSocket, in turns A B A B.

    python -m tests.bench.peer --peer SCRIPT [--peer-python PYTHON] [--peer-args "--tts tone --tts-ms 0"]

SCRIPT is started as `PYTHON SCRIPT --serve --port PORT ...` and serves the media-streams dialect on
ws://127.0.0.1:PORT/ws. Ours is `voicebot serve` with a recogniser that knows the answer once the caller has said it
and flite for a voice, its sentences made before; its worker serves the dialect itself, and a third leg calls it
over SIP and RTP, jitter buffer and packet clock included.

A call is: a sentence when the bot is silent (onset), one second into the answer another one over it (barge-in
stop), and the answer to that (onset too). Callers are human, 8 kHz. A block starts a bot and makes a few calls with
one pair of sentences; blocks of the bots take turns. `--keep FILE` adds to what earlier runs measured.
"""

import argparse
import asyncio
import contextlib
import json
import shlex
import socket
import sys
import tempfile
import time
from pathlib import Path

from sip_test_harness import Caller, CallerOptions
from sip_test_harness.measures import SENDER_LATE_P99_MS, barge_in_stop, response_onset
from tests.bench.rows import machine, percentile, row, write
from tests.bench.stream_phone import StreamPhone
from tests.bench.wire import SPEECH, STUB, clip, heard_after_ms, settled
from tests.loopback.bot_program import MOST_WORKERS, running_bot
from tests.ports import free_port, free_port_range
from voicebot.config.settings import TurnSettings

INTERRUPT_AFTER_S = 1.0
ANSWER_LIMIT_S = 6.0
INTERRUPTED_BY_MS = (
    180  # a turn over the bot begins that late at the most: its audio is shorter by so much
)
SPOKE_ON_NS = 300_000_000
START_LIMIT_S = 90
PEER, OURS, WIRE = "peer, WebSocket", "ours, WebSocket", "ours, RTP"
PLAN = """
version: 1
name: peer
locale: en-GB
timezone: Europe/London
routes: [ { match: { to: "*" }, flow: main } ]
flows:
  main:
    - menu:
        ask: "Hello, what can I do for you?"
        choices:
          - { intent: opening_hours, examples: ["opening hours"], goto: hours }
  hours:
    - say: "Sure, I can help you with that. Let me look up the details on your account. Your request has been noted,
        and I will read the result back to you in just a moment."
    - goto: main
"""


async def stream_call(url, first, second):
    """One call through the WebSocket."""
    async with StreamPhone(url) as phone:
        await phone.wait_silent(0.8, 12)
        start_ns, end_ns = await phone.say(first)
        answered_ns = await phone.wait_audible(start_ns, ANSWER_LIMIT_S)
        seen = {"onset_ms": None, "stop_ms": None, "spoke_on": False, "second_onset_ms": None}
        if answered_ns is not None:
            onset_ms, _ = response_onset(phone.playback.audible_ns(), end_ns, speech_start_ns=start_ns)
            seen["onset_ms"] = onset_ms
            await asyncio.sleep(max(0.0, answered_ns / 1e9 + INTERRUPT_AFTER_S - time.monotonic()))
            seen |= await interruption(phone, second)
        return seen | {"late_ms": percentile(phone.late_ms, 0.99)}


async def interruption(phone, samples):
    """A sentence over the bot, and its answer."""
    start_ns, end_ns = await phone.say(samples)
    over = time.monotonic() + ANSWER_LIMIT_S
    onset_ms = None
    while onset_ms is None and time.monotonic() < over:
        await asyncio.sleep(0.05)
        heard = phone.playback.audible_ns(time.monotonic_ns())
        onset_ms, _ = response_onset(heard, end_ns)
    stop_ms = barge_in_stop(heard, start_ns)
    again_ns = start_ns + round((stop_ms or 0) * 1e6) + SPOKE_ON_NS
    return {
        "stop_ms": stop_ms,
        "spoke_on": any(again_ns < at < end_ns for at in heard),
        "second_onset_ms": onset_ms,
    }


async def wire_call(uri, first, second):
    """The same call over SIP and RTP."""
    async with Caller(uri, CallerOptions(limit_s=60)) as call:
        await call.invite()
        await call.wait_bot_silent(800)
        await call.say(first)
        await call.wait_bot_audible(ANSWER_LIMIT_S)
        await asyncio.sleep(INTERRUPT_AFTER_S)
        await call.say(second)
        await call.wait_bot_silent(300)
        await call.wait_bot_audible(ANSWER_LIMIT_S)
        await call.wait_bot_silent(100)
        measures = call.measures()
    one, two = measures.turns
    return {
        "onset_ms": one.response_onset_ms,
        "stop_ms": two.barge_in_stop_ms,
        "spoke_on": False,
        "second_onset_ms": two.response_onset_ms,
        "late_ms": SENDER_LATE_P99_MS + 1 if measures.void else 0.0,
    }


@contextlib.asynccontextmanager
async def running_peer(script, python, arguments):
    """The other bot's URL."""
    port = free_port(socket.SOCK_STREAM)
    process = await asyncio.create_subprocess_exec(
        python, script, "--serve", "--port", str(port), *arguments
    )
    try:
        end = time.monotonic() + START_LIMIT_S
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            if process.returncode is not None or time.monotonic() > end:
                raise SystemExit(f"{script} does not listen on port {port}")
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(8):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def running_ours(first, second):
    """Our bot, which understands these two sentences."""
    known_ms = heard_after_ms(first), len(second) // 8 + TurnSettings().preroll_ms - INTERRUPTED_BY_MS
    heard = ",".join(f"opening hours@{ms}" for ms in known_ms)
    settings = {**STUB, "tts__engine": "flite"}  # a pure tone is taken for an echo of any voiced sound
    port = free_port_range(MOST_WORKERS, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.yaml"
        plan.write_text(PLAN)
        async with running_bot(
            folder, **settings, asr__fake_script=heard, dialplan=plan, link__port=port
        ) as bot:
            await settled(bot)
            yield f"ws://127.0.0.1:{port}/media-streams", bot.uri


async def block(options, number, add):
    """One block of the peer, one of ours."""
    first, second = (clip(SPEECH[(2 * number + k) % len(SPEECH)]) for k in (0, 1))
    if options.peer:
        async with running_peer(
            options.peer, options.peer_python, shlex.split(options.peer_args)
        ) as url:
            for _ in range(options.calls):
                add(PEER, await stream_call(url, first, second))
    async with running_ours(first, second) as (url, uri):
        for _ in range(options.calls):
            add(OURS, await stream_call(url, first, second))
        for _ in range(options.calls if options.wire else 0):
            add(WIRE, await wire_call(uri, first, second))


def rows(samples):
    """Figures of each bot, and their ratio."""
    table, middle = [], {}
    for who in dict.fromkeys(s["who"] for s in samples):
        mine = [s for s in samples if s["who"] == who]
        late = sum(s["late_ms"] > SENDER_LATE_P99_MS for s in mine)
        void = f"; {late} calls VOID: our phone sent late" if late else ""
        good = [s for s in mine if s["late_ms"] <= SENDER_LATE_P99_MS]
        table.append(row(f"{who}: calls", len(mine), "", note=f"{len(good)} counted{void}"))
        for name, key in (
            ("response onset", "onset_ms"),
            ("barge-in stop", "stop_ms"),
            ("onset after it", "second_onset_ms"),
        ):
            took = [s[key] for s in good if s[key] is not None]
            early = sum(t < 0 for t in took)
            took = [t for t in took if t >= 0]
            if not took:
                continue
            missing = len(good) - len(took) - early
            note = f"n={len(took)}, {early} before the end, {missing} without"
            if key == "stop_ms":
                note = f"n={len(took)}, {sum(s['spoke_on'] for s in good)} spoke on, {missing} without"
            for share, label in ((0.5, "p50"), (0.95, "p95")):
                value = round(percentile(took, share), 1)
                middle[who, name, label] = value
                table.append(row(f"{who}: {name} {label}", value, "ms", note=note))
    for (who, name, label), value in middle.items():
        other = middle.get((PEER, name, label))
        if who == OURS and other:
            table.append(row(f"ours / peer, {name} {label}", round(value / other, 2), ""))
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="script of the other bot; without it ours alone")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="of the venv that has its packages"
    )
    parser.add_argument("--peer-args", default="--tts tone --tts-ms 0 --llm-ttft-ms 0")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first block: other sentences"
    )
    parser.add_argument("--calls", type=int, default=4, help="of each leg in a block: two turns each")
    parser.add_argument("--no-wire", dest="wire", action="store_false", help="without SIP and RTP")
    parser.add_argument("--keep", type=Path, help="JSON of the samples; grows from run to run")
    options = parser.parse_args()
    samples = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else []

    def add(who, seen):
        samples.append({"who": who, **seen})
        print(f"   {who}: {seen}", flush=True)
        if options.keep:
            options.keep.write_text(json.dumps(samples, indent=1))

    async def all_blocks():
        for number in range(options.first, options.first + options.blocks):
            await block(options, number, add)

    asyncio.run(all_blocks())
    name = Path(options.peer).name if options.peer else "no peer"
    write("peer", [row("machine", f"{machine()}; {name}", ""), *rows(samples)])


if __name__ == "__main__":
    main()
