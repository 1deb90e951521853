"""A cluster on one machine that is taken apart while people are on the telephone: `make cluster-demo`.

    6 callers ─► Kamailio + rtpengine ─► two sets of edge and worker ─► HAProxy ─► the workers ─► Redis

Everything is Debian's package or our own program, on 127.0.0.0/8 and free ports, under a temporary
folder. One part after the other is killed with -9 and started again, as systemd would. After each the
calls must go on: the callers press a key and have to hear the bot. Engines are stubs (keys, a tone): it
is about calls that survive, not about speech. Prints a verdict; exit status 0 when all of it held.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sip-test-harness")]

from sip_test_harness import Caller, CallerOptions, HarnessError  # noqa: E402 - found through the line above

CALLS = 6
SETS = ("a", "b")
PROGRAMS = {
    "kamailio": "kamailio",
    "rtpengine": "rtpengine-daemon",
    "haproxy": "haproxy",
    "redis-server": "redis-server",
}
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PATIENCE_S = 60
START_LIMIT_S = 170  # some five seconds on a machine that has time


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_block(size):
    """First of `size` free UDP ports."""
    for start in range(32000 + os.getpid() % 50 * 100, 60000, size):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(start, start + size):
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(
                    ("127.0.0.1", port)
                )
            return start
    raise RuntimeError("no free UDP ports")


class Part:
    """One process of the cluster."""

    def __init__(self, name, *command, environment=None, folder):
        self.name, self.command, self.folder = name, command, folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("VOICEBOT_")}
        self.environment |= {"PATH": PATH, "PYTHONPATH": os.pathsep.join(sys.path[:2])} | (
            environment or {}
        )
        self.process = None

    async def start(self):
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self):
        """As a crash would: no word of farewell, with all its own children (Kamailio has some)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self):
        if self.process is None or self.process.returncode is not None:
            return
        for number, grace_s in ((signal.SIGTERM, 2), (signal.SIGTERM, 5)):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.process.wait()
                    break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def events(self, name):
        path = self.folder / f"{self.name}.log"
        found = []
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == name:
                    found.append(entry)
        return found


class Cluster:
    """All parts and their ports."""

    def __init__(self, folder):
        self.folder = folder
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self.link_port, redis_port, control = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
        edges = {name: free_port(socket.SOCK_DGRAM) for name in SETS}
        links, health = ({name: free_port() for name in SETS} for _ in range(2))
        rtp = free_block(64)
        media = free_block(200)
        voicebot = (sys.executable, "-m", "voicebot.cli")
        common = {
            "VOICEBOT_ASR__ENGINE": "fake",
            "VOICEBOT_TTS__ENGINE": "tone",
            "VOICEBOT_DIALPLAN": str(ROOT / "dialplans/bank.yaml"),
            "VOICEBOT_DIALPLAN_AT": "2026-11-18T11:00:00+00:00",
            "VOICEBOT_STORE__URL": f"redis://127.0.0.1:{redis_port}/0",
            "VOICEBOT_LINK__WORKER_URLS": f"ws://127.0.0.1:{self.link_port}/",
        }

        def part(name, *command, environment=None):
            return Part(name, *command, environment=environment, folder=folder)

        self.redis = part(
            "redis",
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            str(redis_port),
            "--appendonly",
            "yes",
            "--save",
            "",
        )
        self.haproxy = part(
            "haproxy", "haproxy", "-W", "-db", "-f", str(ROOT / "deploy/haproxy/haproxy.cfg"),
            environment={"LINK_ADDRESS": f"127.0.0.1:{self.link_port}"}
            | {f"WORKER_{n.upper()}": f"127.0.0.1:{links[n]}" for n in SETS}
            | {f"WORKER_{n.upper()}_HEALTH": str(health[n]) for n in SETS},
        )  # fmt: skip
        self.rtpengine = part(
            "rtpengine", "rtpengine", "--foreground", "--log-stderr", "--log-level=4", "--table=-1",
            "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{control}",
            f"--port-min={media}", f"--port-max={media + 199}",
        )  # fmt: skip
        self.front = part(
            "front", *voicebot, "front",
            environment={
                "VOICEBOT_SIP__PORT": str(self.sip_port),
                "VOICEBOT_SCALE__CALLS": "8",
                "VOICEBOT_SCALE__EDGES": ",".join(f"127.0.0.1:{port}" for port in edges.values()),
                "VOICEBOT_SCALE__RTPENGINE": f"udp:127.0.0.1:{control}",
                "VOICEBOT_DATA_DIR": str(folder / "front-data"),
            },
        )  # fmt: skip
        self.workers = {
            name: part(
                f"worker-{name}", *voicebot, "worker",
                environment=common
                | {
                    "VOICEBOT_DATA_DIR": str(folder / name),
                    "VOICEBOT_LINK__PORT": str(links[name]),
                    "VOICEBOT_METRICS__PORT": str(health[name]),
                },
            )
            for name in SETS
        }  # fmt: skip
        self.edges = {
            name: part(
                f"edge-{name}", *voicebot, "edge",
                environment=common
                | {
                    "VOICEBOT_DATA_DIR": str(folder / name),
                    "VOICEBOT_METRICS__PORT": "0",
                    "VOICEBOT_SIP__PORT": str(edges[name]),
                    "VOICEBOT_SIP__FRONTS": "127.0.0.1/32",
                    "VOICEBOT_SIP__MAX_HALF_OPEN_PER_SOURCE": "4",
                    "VOICEBOT_RTP__PORT_MIN": str(rtp + 32 * n),
                    "VOICEBOT_RTP__PORT_MAX": str(rtp + 32 * n + 31),
                },
            )
            for n, name in enumerate(SETS)
        }  # fmt: skip

    @property
    def parts(self):
        return [
            self.redis,
            *self.workers.values(),
            self.haproxy,
            self.rtpengine,
            *self.edges.values(),
            self.front,
        ]

    async def start(self):
        await asyncio.gather(*(p.start() for p in self.parts if p is not self.front))
        for worker in self.workers.values():
            await until(lambda w=worker: w.events("worker_ready"), f"{worker.name} ready", START_LIMIT_S)
        for edge in self.edges.values():
            await until(lambda e=edge: e.events("edge_started"), f"{edge.name} ready")
        await self.front.start()
        await until(lambda: self.front.events("front_started"), "front ready")

    async def stop(self):
        await asyncio.gather(*(p.stop() for p in reversed(self.parts)))

    def records(self):
        lines = [
            line for path in self.folder.glob("*/calls.jsonl") for line in path.read_text().splitlines()
        ]
        return [json.loads(line) for line in lines]


async def until(condition, what, limit_s=PATIENCE_S):
    """Wait for something; says what never came."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {limit_s} s")
        await asyncio.sleep(0.1)


async def call(cluster):
    caller = Caller(f"sip:bank@127.0.0.1:{cluster.sip_port}", CallerOptions(limit_s=900))
    await caller.__aenter__()
    await caller.invite()
    await caller.wait_bot_audible(PATIENCE_S)
    return caller


async def goes_on(caller):
    """Whether the caller still talks to the bot: a key, and then the bot is heard (opening hours)."""
    if caller.state != "confirmed":
        return False
    try:
        await caller.press("2")
        await caller.wait_bot_audible(20, since_ns=time.monotonic_ns())
    except Exception:  # whatever it is, this caller heard nothing
        return False
    return caller.state == "confirmed"


async def check(step, callers, expected, verdicts):
    alive = [
        c for c, on in zip(callers, await asyncio.gather(*map(goes_on, callers)), strict=True) if on
    ]
    good = len(alive) >= expected
    verdicts.append(good)
    print(
        f"  {'ok  ' if good else 'FAIL'}  {step}: {len(alive)} of {len(callers)} calls go on", flush=True
    )
    return alive


async def take_apart(cluster):
    verdicts = []
    callers = list(await asyncio.gather(*(call(cluster) for _ in range(CALLS))))
    try:
        counts = [len(edge.events("call_incoming")) for edge in cluster.edges.values()]
        print(
            f"  {CALLS} calls, {' and '.join(map(str, counts))} per edge, through Kamailio and rtpengine"
        )
        await check("all parts run", callers, CALLS, verdicts)
        for step, part, ready in (
            ("worker a killed", cluster.workers["a"], "worker_ready"),
            ("Redis killed", cluster.redis, ""),
            ("worker b killed", cluster.workers["b"], "worker_ready"),
            ("HAProxy killed", cluster.haproxy, ""),
            ("Kamailio killed", cluster.front, "front_started"),
        ):
            before = len(part.events(ready))
            await part.kill()
            if part is cluster.redis:  # a moment without the store: the workers' journals take over
                await check("Redis is away", callers, len(callers), verdicts)
            await part.start()
            await check(f"{step} and started again", callers, len(callers), verdicts)
            if ready:
                await until(
                    lambda p=part, r=ready, b=before: len(p.events(r)) > b,
                    f"{part.name} ready",
                    START_LIMIT_S,
                )
        victim = cluster.edges["b"]
        ids = {e["sip_call_id"] for e in victim.events("call_incoming")}
        lost = [c for c in callers if c.call_id in ids]
        callers = [c for c in callers if c.call_id not in ids]
        killed_s = time.monotonic()
        await victim.kill()
        await check(f"edge b killed ({len(lost)} calls lost with it)", callers, len(callers), verdicts)
        await until(
            lambda: ids <= {r["sip_call_id"] for r in cluster.records()}, "records of the lost calls"
        )
        print(f"  ok    their records were closed within {time.monotonic() - killed_s:.1f} s")
        for caller in lost:
            await caller.__aexit__(None, None, None)
        new = list(await asyncio.gather(*(call(cluster) for _ in range(4 - len(callers)))))
        callers += new
        await check("new calls go to the edge that is left", callers, len(callers), verdicts)
        whole = all(s.lost == 0 for c in callers for s in c.measures().bot_streams[-1:])
        verdicts.append(whole)
        print(f"  {'ok  ' if whole else 'FAIL'}  RTP to the callers that stayed: no packet missing")
    finally:
        for caller in callers:
            with contextlib.suppress(Exception):
                await caller.__aexit__(None, None, None)
    return all(verdicts)


async def main():
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]
    if missing:
        print(f"cluster-demo: install the Debian packages first: apt-get install {' '.join(missing)}")
        return 2
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="voicebot-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        good = False
        try:
            print("starting Redis, HAProxy, rtpengine, Kamailio, two edges and two workers", flush=True)
            await cluster.start()
            print(f"ready after {time.monotonic() - began_s:.0f} s", flush=True)
            good = await take_apart(cluster)
        except (RuntimeError, HarnessError) as error:
            print(f"  FAIL  {error}")
        finally:
            await cluster.stop()
            if not good and os.environ.get("KEEP_LOGS"):
                shutil.copytree(folder, os.environ["KEEP_LOGS"], dirs_exist_ok=True)
    verdict = "the cluster held" if good else "it did NOT hold"
    print(f"VERDICT: {verdict} ({time.monotonic() - began_s:.0f} s)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
