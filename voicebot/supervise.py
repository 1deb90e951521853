"""``voicebot serve``: worker, edge and console as child processes, restarted on death.

serve ─ starts ─► worker (loads models, opens the link port, says ready)
      ─ starts ─► edge   (opens SIP and RTP, says ready)
      ─ starts ─► console, and the workers that stand by, once calls can come in
      ─ SIGTERM ─► edge drains its calls ─► worker ends
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from voicebot.config.load import READY_VARIABLE
from voicebot.config.settings import LinkSettings, MetricsSettings
from voicebot.telemetry import metrics, metrics_folder
from voicebot.telemetry.health_server import serving_health
from voicebot.telemetry.log import get_logger

READY_TIMEOUT_S: Final = 60.0
RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
STABLE_AFTER_S: Final = 30.0
PORT_VARIABLE: Final = "VOICEBOT_LINK__PORT"
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class _Child:
    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    slowest_restart_s: float = RESTART_DELAYS_S[-1]
    process: asyncio.subprocess.Process | None = None
    started_s: float = field(default=0.0)
    ready: bool = False

    @property
    def program(self) -> str:
        """Which program it is: edge, worker or console."""
        return self.arguments[0]

    async def start(self) -> bool:
        """Start it and wait until it says that it can work; False when it died or stayed silent."""
        self.started_s = asyncio.get_running_loop().time()
        read, write = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "voicebot.cli",
                *self.arguments,
                env={**os.environ, **self.environment, READY_VARIABLE: str(write)},
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
                preexec_fn=_die_with_parent,
            )
        finally:
            os.close(write)
        self.ready = await _ready(read)
        return self.ready

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it takes too long."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _ready(descriptor: int) -> bool:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return await reader.read(1) == b"1"
    except TimeoutError:
        return False
    finally:
        transport.close()


@dataclass(frozen=True, slots=True)
class _Health:
    """What probes of the whole bot get to hear."""

    children: tuple[_Child, ...]
    stopping: asyncio.Event

    def not_ready(self) -> str:
        """Why no new call can be taken; empty when one can."""
        if self.stopping.is_set():
            return "draining"
        missing = {"edge", "worker"} - {child.program for child in self.children if child.ready}
        return f"no {' and no '.join(sorted(missing))}" if missing else ""

    def processes(self) -> dict[str, int]:
        """Process ids by name, our own as well."""
        running = {c.name: c.process.pid for c in self.children if c.process is not None and c.ready}
        return {"supervisor": os.getpid(), **running}

    def render(self) -> bytes:
        """The metrics of all processes."""
        return metrics_folder.render(self.processes)


async def serve(
    config: Path | None,
    link: LinkSettings,
    *,
    ready_text: str,
    console: bool = False,
    drain_s: float = 3600.0,
    health: MetricsSettings | None = None,
) -> int:
    """Run the bot until SIGTERM or SIGINT.

    Args:
        config: Settings file handed to the children.
        link: Where the workers listen, and how many stand by.
        ready_text: What to print once calls can come in.
        console: Whether the web console runs too; without it, calls go on.
        drain_s: How long calls under way may take after the first signal; a second one ends them.
        health: Where probes and scrapes are answered; nowhere when None.

    Returns:
        Exit status: 0 after a signal, 1 when a child could not be started.
    """
    log = get_logger()
    option = ("--config", str(config)) if config else ()
    workers = [
        _Child(f"worker {i}", ("worker", *option), {PORT_VARIABLE: str(link.port + i)})
        for i in range(1 + link.standby_workers)
    ]
    worker = workers[0]
    edge = _Child("edge", ("edge", *option))
    pages = [_Child("console", ("console", *option), slowest_restart_s=60.0)] if console else []
    stopping = asyncio.Event()
    state = _Health((edge, *workers, *pages), stopping)
    hurry = asyncio.Event()

    def on_signal() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    started = await asyncio.gather(worker.start(), edge.start())
    if not all(started):
        log.error("child_not_ready", children=[worker.name, edge.name], ready=started)
        await edge.stop(1)
        await worker.stop(1)
        return 1
    print(ready_text, flush=True)  # noqa: T201  the one line that a person waits for
    answering = serving_health(health or MetricsSettings(port=0), state.not_ready, state.render)
    async with answering, asyncio.TaskGroup() as tasks:
        keepers = [tasks.create_task(_keep(child, stopping)) for child in (edge, *workers, *pages)]
        await stopping.wait()
        log.info("draining", limit_s=drain_s)
        metrics.DRAINING.set(1)
        draining = tasks.create_task(edge.stop(drain_s))
        hurrying = tasks.create_task(hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            await edge.stop(2)
            await draining
        hurrying.cancel()
        await asyncio.gather(*(child.stop(5) for child in (*workers, *pages)))
        for keeper in keepers:
            keeper.cancel()
    return 0


async def _keep(child: _Child, stopping: asyncio.Event) -> None:
    """Start a child again whenever it dies, more slowly when it keeps dying."""
    log = get_logger()
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        if child.process is None:  # a standby begins when calls can already be answered
            await child.start()
        assert child.process is not None
        status = await child.process.wait()
        child.ready = False
        metrics_folder.process_gone(child.process.pid)
        if stopping.is_set():
            return
        failures = 0 if loop.time() - child.started_s > STABLE_AFTER_S else failures + 1
        delays_s = (*RESTART_DELAYS_S, child.slowest_restart_s)
        delay_s = delays_s[min(failures, len(delays_s) - 1)]
        metrics.CHILD_RESTARTS.labels(child.program).inc()
        log.error("child_died", child=child.name, status=status, restart_in_s=delay_s)
        await asyncio.sleep(delay_s)
        if stopping.is_set():
            return
        await child.start()
