"""The whole bot as its users start it: `voicebot serve` in processes of its own, on free ports."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port, free_port_range

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 90
MOST_WORKERS = 16  # they and the standbys listen on ports in a row
OFFICE_HOURS = "2026-11-18T11:00:00+00:00"  # a Wednesday: the samples are open, whenever the tests run


@dataclass
class Bot:
    """A running bot."""

    process: asyncio.subprocess.Process
    sip_port: int
    data_dir: Path
    metrics_port: int = 0
    log: list = field(default_factory=list)

    @property
    def uri(self):
        return f"sip:bank@127.0.0.1:{self.sip_port}"

    def events(self, name):
        """Log lines of one event, parsed."""
        found = []
        for line in self.log:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == name:
                    found.append(entry)
        return found

    def records(self):
        """Call detail records written so far."""
        path = self.data_dir / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def record_of(self, sip_call_id, limit_s=5.0):
        """The record of a call that has just ended."""
        async with asyncio.timeout(limit_s):
            while True:
                for record in self.records():
                    if record["sip_call_id"] == sip_call_id:
                        return record
                await asyncio.sleep(0.05)

    async def wait_event(self, name, count, limit_s=60.0):
        """Until an event has been logged so often (`worker_ready` twice: the standby is warm too)."""
        async with asyncio.timeout(limit_s):
            while len(self.events(name)) < count:
                await asyncio.sleep(0.05)

    async def wait_records(self, count, limit_s=5.0):
        """Until so many calls have been recorded."""
        async with asyncio.timeout(limit_s):
            while len(self.records()) < count:
                await asyncio.sleep(0.05)

    def children(self):
        """Process ids of worker and edge."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@contextlib.asynccontextmanager
async def running_bot(data_dir, **settings):
    """Start the bot; keyword arguments are settings, `sip__port=5070` style."""
    rtp = free_port_range(32)
    chosen = {
        "sip__port": free_port(),
        "link__port": free_port_range(MOST_WORKERS, socket.SOCK_STREAM),
        "rtp__port_min": rtp,
        "rtp__port_max": rtp + 31,
        "sip__shed_when_late_ms": 0,  # the machine that tests is often overloaded
        "sip__invites_per_s": 1000,
        "metrics__port": free_port(socket.SOCK_STREAM),
        "data_dir": data_dir,
        "console__enabled": "false",
        "dialplan_at": OFFICE_HOURS,
        **settings,
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VOICEBOT_")}
    environment |= {f"VOICEBOT_{k.upper()}": str(v) for k, v in chosen.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voicebot.cli",
        "serve",
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    bot = Bot(process, int(chosen["sip__port"]), Path(data_dir), int(chosen["metrics__port"]))

    async def collect():
        async for line in process.stderr:
            bot.log.append(line.decode(errors="replace").rstrip())

    collector = asyncio.create_task(collect())
    try:
        async with asyncio.timeout(START_LIMIT_S):
            line = await process.stdout.readline()
        if not line.startswith(b"ready"):
            await process.wait()
            await collector
            raise RuntimeError("the bot did not start:\n" + "\n".join(bot.log[-20:]))
        yield bot
    finally:
        for number, grace_s in ((signal.SIGTERM, 2), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            if process.returncode is not None:
                break
            process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await process.wait()
        await collector
        process._transport.close()
