"""``voicebot serve``: starts what the calls need, in order, and keeps it running.

    serve ─ starts ─► workers (load models, open their link ports, say ready)
          ─ starts ─► edges   (open SIP and RTP, say ready)
          ─ starts ─► Kamailio, when there is more than one edge; then standby workers and console
          ─ SIGTERM ─► edges drain their calls ─► Kamailio, workers, console end
          ─ SIGHUP  ─► each worker in turn: its calls go on at another one, it starts anew

Whatever dies is started again, more slowly when it keeps dying. What hangs is killed (``child``). The
calls of an edge that died are closed (``records``).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError
from voicebot.handoff.callback_store import CallbackStore
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.open_store import session_store
from voicebot.supervise.child import Child
from voicebot.supervise.fleet import plan_fleet
from voicebot.supervise.front import Front
from voicebot.supervise.records import DeadEdgeRecords
from voicebot.telemetry import metrics, metrics_folder
from voicebot.telemetry.health_server import serving_health
from voicebot.telemetry.log import get_logger

RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
STABLE_AFTER_S: Final = 30.0
CONSOLE_RESTART_S: Final = 60.0
CONSOLE_HANG_S: Final = 30.0
PID_FILE: Final = "serve.pid"
WORKER_GRACE_S: Final = 10.0
SETTLE_S: Final = 1.0
"""After a worker is ready again: the edges reopen their warm connections to it."""


async def serve(
    settings: Settings, config: Path | None, *, ready_text: str, drain_s: float = 3600.0
) -> int:
    """Run the bot until SIGTERM or SIGINT.

    Args:
        settings: The whole tree.
        config: Settings file handed to the children.
        ready_text: What to print once calls can come in.
        drain_s: How long calls under way may take after the first signal; a second one ends them.

    Returns:
        Exit status: 0 after a signal, 1 when a child could not be started.

    Raises:
        ConfigError: The ports do not suffice, or Kamailio is needed and missing.
    """
    supervisor = Supervisor(settings, config)
    with _pid_file(settings.data_dir):
        if not await supervisor.start():
            return 1
        print(ready_text, flush=True)  # noqa: T201  the one line that a person waits for
        async with serving_health(settings.metrics, supervisor.not_ready, supervisor.render_metrics):
            await supervisor.run(drain_s)
    return 0


class Supervisor:
    """All processes of one machine.

    Args:
        settings: The whole tree.
        config: Settings file handed to the children.

    Raises:
        ConfigError: The ports do not suffice, or Kamailio is needed and missing.
    """

    def __init__(self, settings: Settings, config: Path | None) -> None:
        option = ("--config", str(config)) if config else ()
        fleet = plan_fleet(settings)
        hang_limit_s = settings.scale.hang_limit_s
        self._workers = [
            Child(f"worker {plan.port}", ("worker", *option), plan.environment, hang_limit_s)
            for plan in fleet.workers
        ]
        self._first_workers = [
            worker for worker, plan in zip(self._workers, fleet.workers, strict=True) if not plan.standby
        ]
        self._edges = {
            plan.name: Child(f"edge {plan.sip_port}", ("edge", *option), plan.environment, hang_limit_s)
            for plan in fleet.edges
        }
        slow_s = CONSOLE_RESTART_S
        self._pages = (
            [
                Child(
                    "console",
                    ("console", *option),
                    hang_limit_s=CONSOLE_HANG_S,
                    slowest_restart_s=slow_s,
                )
            ]
            if settings.console.enabled
            else []
        )
        edges = [f"{settings.sip.host}:{plan.sip_port}" for plan in fleet.edges]
        self._front = Front(settings, edges) if fleet.needs_front else None
        self._records = DeadEdgeRecords(
            lambda: session_store(settings.store.url, settings.data_dir),
            CallDetailLog(settings.data_dir),
            lambda call_id: CallbackStore(settings.data_dir).broke_off(call_id),
        )
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._restart = asyncio.Event()
        self._log = get_logger()

    async def start(self) -> bool:
        """Start what the first call needs; False when something does not start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._restart.set)
        first = [*self._first_workers, *self._edges.values()]
        # A machine that lost power left calls open: none of these edges runs now.
        ready, _ = await asyncio.gather(
            asyncio.gather(*(child.start() for child in first)),
            self._records.close(tuple(self._edges), seen=False),
        )
        good = all(ready) and (self._front is None or await self._front.start())
        if not good:
            failed = [child.name for child, ok in zip(first, ready, strict=True) if not ok]
            self._log.error("child_not_ready", children=failed or ["front"])
            await self._stop_all()
        return good

    async def run(self, drain_s: float) -> None:
        """Keep everything running until a signal, then drain."""
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep(child)) for child in (*self._workers, *self._pages)]
            keepers += [tasks.create_task(self._keep(edge, name)) for name, edge in self._edges.items()]
            keepers.append(tasks.create_task(self._restart_on_request()))
            if self._front is not None:
                keepers.append(tasks.create_task(self._keep_front(self._front)))
            await self._stopping.wait()
            await self._drain(drain_s)
            for keeper in keepers:
                keeper.cancel()

    # ------------------------------------------------------------------ what probes get to hear

    def not_ready(self) -> str:
        """Why no new call can be taken; empty when one can."""
        if self._stopping.is_set():
            return "draining"
        missing = {"edge", "worker"} - {child.kind for child in self._children if child.ready}
        return f"no {' and no '.join(sorted(missing))}" if missing else ""

    def processes(self) -> dict[str, int]:
        """Process ids by name, our own as well."""
        running = {c.name: c.process.pid for c in self._children if c.process is not None and c.ready}
        if self._front is not None and self._front.process is not None:
            running["front"] = self._front.process.pid
        return {"supervisor": os.getpid(), **running}

    def render_metrics(self) -> bytes:
        """The metrics of all processes."""
        return metrics_folder.render(self.processes)

    @property
    def _children(self) -> list[Child]:
        return [*self._edges.values(), *self._workers, *self._pages]

    # ------------------------------------------------------------------ in between

    def _on_signal(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def _drain(self, drain_s: float) -> None:
        """Edges refuse new calls and end with their last one; then the others are of no use."""
        self._log.info("draining", limit_s=drain_s)
        metrics.DRAINING.set(1)
        draining = asyncio.gather(*(edge.stop(drain_s) for edge in self._edges.values()))
        hurrying = asyncio.ensure_future(self._hurry.wait())
        waited: set[asyncio.Future[Any]] = {draining, hurrying}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            await asyncio.gather(*(edge.stop(2) for edge in self._edges.values()))
            await draining
        hurrying.cancel()
        await self._stop_all()

    async def _stop_all(self) -> None:
        if self._front is not None:
            await self._front.stop()
        await asyncio.gather(*(child.stop(5) for child in self._children))

    async def _keep(self, child: Child, edge: str = "") -> None:
        """Start a child again whenever it dies, more slowly when it keeps dying."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            if child.process is None:  # a standby begins when calls can already be answered
                await child.start()
            assert child.process is not None
            status = await child.process.wait()
            child.ready = False
            metrics_folder.process_gone(child.process.pid)
            if self._stopping.is_set():
                return
            if child.planned:
                failures = 0
                await child.start()
                continue
            failures = 0 if loop.time() - child.started_s > STABLE_AFTER_S else failures + 1
            delays_s = (*RESTART_DELAYS_S, child.slowest_restart_s)
            delay_s = delays_s[min(failures, len(delays_s) - 1)]
            metrics.CHILD_RESTARTS.labels(child.kind).inc()
            self._log.error("child_died", child=child.name, status=status, restart_in_s=delay_s)
            if edge:
                await self._records.close((edge,))
            await asyncio.sleep(delay_s)
            if self._stopping.is_set():
                return
            await child.start()

    async def _keep_front(self, front: Front) -> None:
        while True:
            assert front.process is not None
            status = await front.process.wait()
            if self._stopping.is_set():
                return
            self._log.error("child_died", child="front", status=status, restart_in_s=1.0)
            await asyncio.sleep(1.0)
            await front.start()

    async def _restart_on_request(self) -> None:
        while True:
            await self._restart.wait()
            self._restart.clear()
            await self._restart_workers()

    async def _restart_workers(self) -> None:
        """One worker after the other; its calls go on at the others, so there must be another one."""
        if len(self._workers) < 2:
            self._log.error("workers_not_restarted", reason="link.standby_workers is 0")
            return
        began_s = time.monotonic()
        for worker in self._workers:
            before = worker.started_s
            worker.planned = True
            await worker.stop(WORKER_GRACE_S)
            while worker.started_s == before or not worker.ready:
                await asyncio.sleep(0.05)
                if self._stopping.is_set():
                    return
            await asyncio.sleep(SETTLE_S)
        self._log.info("workers_restarted", took_s=round(time.monotonic() - began_s, 1))


async def serve_front(settings: Settings) -> int:
    """Run Kamailio alone, in front of ``scale.edges``, until SIGTERM or SIGINT; returns the exit status.

    Raises:
        ConfigError: No edge is named, or Kamailio is missing.
    """
    if not settings.scale.edges:
        raise ConfigError("name the edges that are to get the calls", key="scale.edges")
    front = Front(settings, settings.scale.edges)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if not await front.start():
        await front.stop()
        return 1
    get_logger().info("front_started", sip=f"{settings.sip.host}:{settings.sip.port}")
    assert front.process is not None
    ended = asyncio.ensure_future(front.process.wait())
    stopped = asyncio.ensure_future(stopping.wait())
    waited: set[asyncio.Future[Any]] = {ended, stopped}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    await front.stop()
    stopped.cancel()
    return 0 if stopping.is_set() else 1


@contextlib.contextmanager
def _pid_file(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / PID_FILE
    path.write_text(f"{os.getpid()}\n", encoding="ascii")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_supervisor(folder: Path) -> int:
    """Process id of the ``voicebot serve`` that uses this data directory.

    Raises:
        ConfigError: There is none.
    """
    path = folder / PID_FILE
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_text(encoding="ascii"))
        if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    raise ConfigError(f"no 'voicebot serve' is running on {folder}", key="data_dir")
