"""The edge program: ``run_edge`` serves calls until told to stop.

The first SIGTERM drains: new INVITEs get 503 with Retry-After, live calls go on to their end. The second
one ends them.
"""

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

from voicebot.config.settings import Settings
from voicebot.core.endings import INTERNAL_ERROR, NO_WORKER
from voicebot.edge.call_leg import CallLeg, LegServices
from voicebot.edge.frame_clock import FrameClock
from voicebot.edge.load_guard import LoadGuard
from voicebot.edge.outgoing_call import OutgoingCall
from voicebot.edge.receive_path import warm_up
from voicebot.edge.rtp_port import RtpPort, RtpPortPool
from voicebot.edge.signalling import IncomingCall, SipLeg
from voicebot.edge.sip_agent import PjSipAgent
from voicebot.link.client import EdgeLink, LinkClient
from voicebot.link.messages import Originate
from voicebot.telemetry import metrics
from voicebot.telemetry.health_server import unless_shared
from voicebot.telemetry.log import get_logger
from voicebot.telemetry.readiness import announce_ready

_SPARE_CHECK_S: Final = 0.25
_COLLECT_S: Final = 1.0
_COLLECT_OLDER: Final = 10  # of those turns
_COLLECT_ALL: Final = 60
_WORKER_MEMORY_S: Final = 1.5
"""The warm link is missing for a moment whenever a call takes it; for longer, the workers are gone."""
_log = get_logger()


class Edge:
    """All calls of this process; implements ``CallAcceptor``.

    Args:
        settings: The whole tree; the edge reads sip, rtp, link, recording and data_dir.
    """

    def __init__(self, settings: Settings) -> None:
        sip = settings.sip
        self._settings = settings
        self._agent = PjSipAgent(sip, settings.rtp, self)
        self._ports = RtpPortPool(
            sip.host, sip.advertised_host or sip.host, settings.rtp.port_min, settings.rtp.port_max
        )
        self._links = LinkClient(
            settings.link.urls,
            settings.link.dialect,
            connect_timeout_ms=settings.link.connect_timeout_ms,
            heartbeat_ms=settings.link.heartbeat_ms,
            on_order=self._on_order,
        )
        self._load = LoadGuard(sip.shed_when_late_ms)
        self._services = LegServices(
            settings=settings,
            agent=self._agent,
            clock=FrameClock(self._load),
            ports=self._ports,
            links=self._links,
        )
        self._calls: asyncio.TaskGroup | None = None
        self._live = 0
        self._worker_seen_s = float("-inf")
        self._spare_taken = asyncio.Event()
        self._drained = asyncio.Event()
        self._end_now = asyncio.Event()

    # ------------------------------------------------------------------ CallAcceptor

    @property
    def ready(self) -> bool:
        """See ``CallAcceptor``."""
        return self._links.spare_ready or time.monotonic() - self._worker_seen_s < _WORKER_MEMORY_S

    @property
    def overloaded(self) -> bool:
        """See ``CallAcceptor``."""
        return self._load.overloaded

    def reserve_media(self) -> RtpPort:
        """See ``CallAcceptor``."""
        return self._ports.open()

    def on_incoming(self, leg: SipLeg, call: IncomingCall) -> None:
        """See ``CallAcceptor``."""
        assert self._calls is not None
        assert isinstance(leg.media, RtpPort)
        call_leg = CallLeg(self._services, leg, call, leg.media)
        self._live += 1
        metrics.CALLS_LIVE.set(self._live)
        self._calls.create_task(self._serve(call_leg), name=f"call {call_leg.call_id}")
        self._spare_taken.set()

    def _on_order(self, link: EdgeLink, order: Originate) -> None:
        """A worker wants somebody called."""
        if self._calls is None:
            return
        self._live += 1
        metrics.CALLS_LIVE.set(self._live)
        self._calls.create_task(self._place(link, order), name=f"call {order.request}")
        self._spare_taken.set()

    async def _serve(self, call_leg: CallLeg) -> None:
        try:
            await self._run(call_leg)
        finally:
            self._one_less()

    async def _place(self, link: EdgeLink, order: Originate) -> None:
        try:
            refuse = "draining" if self._agent.draining else "overload" if self.overloaded else ""
            call_leg = await OutgoingCall(self._services, link, order).run(refuse=refuse)
            if call_leg is not None:
                await self._run(call_leg)
        except Exception:  # noqa: BLE001 - it would cancel the neighbours in the task group
            _log.exception("call_failed", request=order.request)
            await link.close(1011, "internal error")
        finally:
            self._one_less()

    @staticmethod
    async def _run(call_leg: CallLeg) -> None:
        try:
            await call_leg.run()
        except Exception:  # noqa: BLE001 - it would cancel the neighbours in the task group
            _log.exception("call_failed", call_id=call_leg.call_id)
            call_leg.hang_up_now({}, by="edge", reason=INTERNAL_ERROR)

    def _one_less(self) -> None:
        self._live -= 1
        metrics.CALLS_LIVE.set(self._live)
        if self._agent.draining and not self._live:
            self._drained.set()

    # ------------------------------------------------------------------ life

    def not_ready(self) -> str:
        """Why no new call can be taken; empty when one can."""
        if self._agent.draining:
            return "draining"
        if not self.ready:
            return NO_WORKER
        return ""

    def stop(self) -> None:
        """Drain; called again, end at once."""
        if self._agent.draining:
            self._end_now.set()
            return
        self._agent.draining = True
        _log.info("edge_draining", calls=self._live)
        if not self._live:
            self._drained.set()

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            ConfigError: The SIP address cannot be used.
        """
        warm_up()
        self._agent.start()
        _log.info(
            "edge_started",
            sip=f"{self._settings.sip.host}:{self._settings.sip.port}",
            calls=self._agent.call_limit,
            workers=list(self._links.urls),
        )
        announce_ready()
        metrics.CALL_SLOTS.set(self._agent.call_limit)
        try:
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self._agent.run(), name="sip"),
                    group.create_task(self._keep_spare(), name="spare link"),
                    group.create_task(self._collect_garbage(), name="garbage"),
                ]
                self._calls = group
                await self._until_stopped()
                for task in background[1:]:
                    task.cancel()
                background[0].cancel()
                await self._agent.end_calls()
        finally:
            await self._links.close()
            _log.info(
                "edge_stopped",
                counters=dict(self._agent.counters),
                ports_taken=self._ports.taken,
                library_ports=self._agent.library_ports,
            )
            await self._agent.stop()

    async def _until_stopped(self) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (self._drained, self._end_now)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _keep_spare(self) -> None:
        """Have a link ready for the next call, or for the next takeover."""
        while True:
            self._spare_taken.clear()
            await self._links.prepare()
            if self._links.spare_ready:
                self._worker_seen_s = time.monotonic()
            metrics.EDGES_READY.set(not self.not_ready())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SPARE_CHECK_S):
                    await self._spare_taken.wait()
                    # Let the call that is being set up go first.
                    await asyncio.sleep(0)

    async def _collect_garbage(self) -> None:
        """Collect little and often: a collection in the middle of a frame delays all calls.

        All is collected when nobody calls, and each minute in any case: an edge that is never without a
        call would keep what its ended calls left. What was there at the start is not looked at, so this
        takes 1.5 ms.
        """
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            turn = 0
            while True:
                await asyncio.sleep(_COLLECT_S)
                turn += 1
                if turn % _COLLECT_ALL == 0 or (turn % _COLLECT_OLDER == 0 and not self._live):
                    gc.collect()
                else:
                    gc.collect(0 if turn % _COLLECT_OLDER else 1)
        finally:
            gc.enable()
            gc.unfreeze()


def use_realtime_priority() -> bool:
    """Run this process before ordinary ones where the system allows it; returns whether it does.

    The edge uses a few percent of a core; a recogniser on the same machine uses all it gets. Who started
    us at a real-time priority did the same with the workers: we stay one step before them.
    """
    try:
        inherited = os.sched_getparam(0).sched_priority  # 0: an ordinary process
        # Threads that are started later (recording) fall back to the ordinary policy.
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        most = os.sched_get_priority_max(os.SCHED_RR)
        os.sched_setscheduler(0, policy, os.sched_param(min(inherited + 1, most)))
    except (OSError, AttributeError):
        return False
    return True


async def run_edge(settings: Settings, *, signals: bool = True) -> None:
    """Serve calls until SIGTERM or SIGINT.

    Args:
        settings: The whole tree.
        signals: Install the signal handlers; off where somebody else owns them (cancel instead).

    Raises:
        ConfigError: The SIP address cannot be used.
    """
    edge = Edge(settings)
    _log.info("edge_scheduling", realtime=settings.rtp.realtime and use_realtime_priority())
    with _signal_handlers(edge.stop) if signals else contextlib.nullcontext():
        async with unless_shared(settings.metrics, edge.not_ready):
            await edge.run()


@contextlib.contextmanager
def _signal_handlers(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
