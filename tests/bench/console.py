"""The console under load: a hundred waiting callers, words as they are heard, an agent who types.

    python -m tests.bench.console [--seconds 20]

The console runs as a program of its own; its processor time is read from /proc. A worker is pretended at
its end of the live feed. Chromium types into the page by its DevTools: the delay is from the key's event
to the next frame that the page has drawn.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.rows import at_most, percentile, write
from tests.browser.chromium import chromium
from tests.ports import free_port
from tests.unit.console_kit import TOKEN, context
from voicebot.handoff.queue_store import HandoffStore
from voicebot.telemetry.live_feed import LivePort

CALLERS = 100
QUEUE_EVENTS_PER_S = 2
_WATCH_KEYS = """(() => { window.delays = [];
  document.getElementById('sip').addEventListener('keydown', (event) => {
    const at = event.timeStamp;
    requestAnimationFrame(() => requestAnimationFrame(() => window.delays.push(performance.now() - at)));
  }); document.getElementById('sip').focus(); })()"""


def processor_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def console(folder):
    """Yields its address and process id."""
    port = free_port(socket.SOCK_STREAM)
    environment = os.environ | {
        "VOICEBOT_DATA_DIR": str(folder),
        "VOICEBOT_CONSOLE__PORT": str(port),
        "VOICEBOT_CONSOLE_TOKEN": TOKEN,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voicebot.cli",
        "console",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await client.get(f"{base}/health")
                    break
                await asyncio.sleep(0.1)
        yield base, process.pid
    finally:
        process.terminate()
        await process.wait()


async def measure(folder, seconds):
    """The rows."""
    store = HandoffStore(folder)
    for number in range(CALLERS):
        store.join(context(f"h{number}", f"c{number}"), priority="normal")
    worker = LivePort(folder, "worker-1.sock", lambda event: None)
    worker.open()
    worker_name = {"worker": "worker-1.sock", "called": "bank"}
    async with console(folder) as (base, pid), chromium(folder / "profile") as page:
        await page.send("Page.navigate", url=f"{base}/login#token={TOKEN}")  # it goes on by itself
        await page.until("location.pathname === '/' && document.readyState === 'complete'", 60)
        await page.until("document.getElementById('calls') !== null", 60)
        shown = "document.querySelectorAll('#calls article').length === 1"
        async with asyncio.timeout(60):
            while not await page.run(shown):  # until the page has its event stream
                worker.publish({"event": "call_started", "call": "c0", "caller": "+44", **worker_name})
                await asyncio.sleep(0.5)
        words_ms = []
        for number in range(50):
            began = time.perf_counter()
            worker.publish({"event": "partial", "call": "c0", "text": f"word {number}"})
            await page.until(f"document.querySelector('.partial').textContent === 'word {number}'", 5)
            words_ms.append((time.perf_counter() - began) * 1000)
        await page.go(f"{base}/waiting")
        await page.until(f"document.querySelectorAll('#waiting article').length === {CALLERS}", 60)
        await page.run(_WATCH_KEYS)
        used_s, began = processor_s(pid), time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            # The first in the queue goes and comes back: the places of all others change, all are drawn anew.
            if not store.put_back("h0"):
                store.claim("h0", "ann")
            worker.publish({"event": "queue"})
            for letter in "abcd":
                for kind in ("keyDown", "keyUp"):
                    await page.send("Input.dispatchKeyEvent", type=kind, key=letter, text=letter)
                await asyncio.sleep(1 / QUEUE_EVENTS_PER_S / 4)
        share = (processor_s(pid) - used_s) / passed
        delays_ms = await page.run("window.delays")
    worker.close()
    return [
        at_most("words in the page after the event, p50", percentile(words_ms, 0.5), "ms", 500),
        at_most("words in the page after the event, longest", max(words_ms), "ms", 500),
        at_most(f"{CALLERS} waiting: a key until drawn, p50", percentile(delays_ms, 0.5), "ms", 100),
        at_most(f"{CALLERS} waiting: a key until drawn, p95", percentile(delays_ms, 0.95), "ms", 100),
        at_most(f"{CALLERS} waiting: share of a core, console", share * 100, "%", 10),
    ]


def main():
    """Measure, print, write var/bench/console.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write("console", asyncio.run(measure(Path(folder), arguments.seconds)))


if __name__ == "__main__":
    main()
