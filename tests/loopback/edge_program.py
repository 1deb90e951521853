"""Runs the edge as its own process against a worker scripted in the test."""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from tests.ports import free_port, free_port_range
from voicebot.link.messages import Answer, Start, Stop
from voicebot.link.server import LinkServer

ROOT = Path(__file__).resolve().parents[2]


class EdgeProgram:
    """The edge in a child process; settings as nested dictionaries."""

    def __init__(self, *, two_workers=False, **sections):
        self.sip_port = free_port()
        self.worker_port = free_port(socket.SOCK_STREAM)
        self.second_worker_port = free_port(socket.SOCK_STREAM)
        self.server = ("127.0.0.1", self.sip_port)
        base = free_port_range(64)
        settings = {
            "sip": {
                "port": self.sip_port,
                "max_half_open_per_source": 4,
                "invites_per_s": 1000,
                "invite_burst": 1000,
                "shed_when_late_ms": 0,  # the machine that tests is often overloaded
            },
            "rtp": {"port_min": base, "port_max": base + 63},
            "link": {
                "worker_urls": [f"ws://127.0.0.1:{self.worker_port}/"],
                "heartbeat_limit_ms": 2000,
                "record_grace_ms": 0,  # a call that one test left must not find the worker of the next
            },
            "recording": {"enabled": False},
            "metrics": {"port": 0},
        }
        if two_workers:
            settings["link"]["worker_urls"].append(f"ws://127.0.0.1:{self.second_worker_port}/")
        self.metrics_port = sections.get("metrics", {}).get("port", 0)
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values if isinstance(values, dict) else values
        code = (
            "import asyncio,json,sys\n"
            "from voicebot.config.settings import Settings\n"
            "from voicebot.edge.sip_agent import library\n"
            "from voicebot.edge.main import run_edge\n"
            "from voicebot.telemetry.log import configure_logging\n"
            "s=Settings.model_validate(json.loads(sys.argv[1]))\n"
            "configure_logging(s.log,program='edge')\n"
            "library.system_name_servers = lambda: ['127.0.0.1']\n"  # no query leaves the machine
            "asyncio.run(run_edge(s))\n"
        )
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error::ResourceWarning",
                "-X",
                "faulthandler",
                "-c",
                code,
                json.dumps(settings),
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.lines: list[str] = []
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.stop)  # also when a test is stopped by its time limit while waiting here
        if not self._started.wait(50):
            self.stop()
            raise AssertionError("edge did not start:\n" + "\n".join(self.lines))

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip()
            self.lines.append(line)
            if "edge_started" in line:
                self._started.set()

    def events(self, name: str) -> list[dict]:
        found = []
        for line in list(self.lines):
            if f'"{name}"' in line:
                event = json.loads(line)
                if event.get("event") == name:
                    found.append(event)
        return found

    async def wait_event(self, name: str, count: int = 1) -> dict:
        await self.wait_until(lambda: len(self.events(name)) >= count, f"{count} x {name}")
        return self.events(name)[count - 1]

    def wait_calls_over(self, limit_s: float = 10.0):
        """A call left by the last test would look for a worker and find the one of the next test."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if len(self.events("call_ended")) >= len(self.events("call_incoming")):
                return
            time.sleep(0.02)

    async def wait_until(self, condition, what: str, timeout_s: float = 5.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"no {what}:\n" + "\n".join(self.lines[-20:])
            await asyncio.sleep(0.02)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    async def counter(self, sample: str) -> float:
        """A sample of this edge's own scrape; 0 when it is not there. Needs a metrics port."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.metrics_port}/metrics")).text
        lines = (line.rpartition(" ") for line in text.splitlines())
        return next((float(value) for name, _, value in lines if name == sample), 0.0)

    @property
    def memory_kib(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def open_udp_ports(self) -> int:
        """UDP sockets of the process, SIP included."""
        inodes = set()
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                target = str(fd.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        rows = Path(f"/proc/{self.process.pid}/net/udp").read_text().splitlines()[1:]
        return sum(1 for row in rows if row.split()[9] in inodes)

    def stop(self) -> int:
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    self.process.kill()
        atexit.unregister(self.stop)
        self._reader.join(2)
        self.process.stderr.close()
        return self.process.wait()


_SHARED: dict[str, EdgeProgram] = {}


def shared_edge(name: str, **sections) -> EdgeProgram:
    """One program for all tests of that name: starting one costs more than a call."""
    if name not in _SHARED or not _SHARED[name].alive:
        _SHARED[name] = EdgeProgram(**sections)
    _SHARED[name].wait_calls_over()
    return _SHARED[name]


def common_edge() -> EdgeProgram:
    """The edge with default limits that may dial and refer to this machine."""
    return shared_edge("common", sip={"allow_outgoing": True})


def impatient_edge() -> EdgeProgram:
    """The edge that soon gives up calls which are never acknowledged, or whose end is not heard."""
    return shared_edge("impatient", sip={"ack_deadline_ms": 500, "answer_deadline_ms": 1000})


class WorkerCall:
    """One link as the scripted worker sees it."""

    def __init__(self, link, start):
        self.link = link
        self.start: Start = start
        self.messages: list = []
        self.audio: list = []
        self.ended = False

    async def send(self, message):
        await self.link.send(message)

    def of(self, kind) -> list:
        return [m for m in self.messages if isinstance(m, kind)]

    async def wait(self, condition, timeout_s=5.0, what="message"):
        end = time.monotonic() + timeout_s
        while not (result := condition()):
            assert time.monotonic() < end, f"no {what} within {timeout_s} s; got {self.messages[-5:]}"
            await asyncio.sleep(0.005)
        return result

    async def wait_for(self, kind, count=1, timeout_s=5.0):
        found = await self.wait(
            lambda: self.of(kind) if len(self.of(kind)) >= count else None, timeout_s, kind.__name__
        )
        return found[count - 1]


class ScriptedWorker:
    """Listens on the edge's worker port; answers each call unless told otherwise."""

    def __init__(
        self, port: int, *, answer: bool = True, heartbeat_ms: int = 100, dies_on_stop: bool = False
    ):
        self.calls: list[WorkerCall] = []
        self.dies_on_stop = dies_on_stop
        self.answer = answer
        self.greeting = None
        self.server = LinkServer("127.0.0.1", port, self._on_link, heartbeat_ms=heartbeat_ms)

    async def _on_link(self, link):
        from voicebot.link.binary_media import CallerAudio

        start = await link.receive()
        call = WorkerCall(link, start)
        self.calls.append(call)
        if self.answer and not start.answered:
            await link.send(Answer(request="answer", headers={"X-Answered-By": "test"}))
        if self.greeting is not None:
            await link.send(self.greeting)
        while (message := await link.receive()) is not None:
            (call.audio if isinstance(message, CallerAudio) else call.messages).append(message)
            if isinstance(message, Stop):  # a worker closes the link when the record is written
                if self.dies_on_stop:
                    self.server.draining = True
                    await asyncio.gather(*(each.abort() for each in self.server.links))
                break
        call.ended = True

    async def __aenter__(self):
        await self.server.start()
        return self

    async def die(self):
        """As after kill -9: no word of farewell, nobody listens any more."""
        self.server.draining = True
        await asyncio.gather(*(link.abort() for link in self.server.links))
        await self.server.close()

    async def __aexit__(self, *_):
        self.server.draining = True
        await self.server.close()
        await asyncio.sleep(0.02)  # transports that were aborted close in the next turns of the loop

    async def call(self, number: int = 1, timeout_s: float = 5.0) -> WorkerCall:
        end = time.monotonic() + timeout_s
        while len(self.calls) < number:
            assert time.monotonic() < end, f"no call number {number} within {timeout_s} s"
            await asyncio.sleep(0.005)
        return self.calls[number - 1]
