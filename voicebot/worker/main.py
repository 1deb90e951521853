"""The worker program: loads what is needed once, then serves a call per link."""

import asyncio
import contextlib
import functools
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from voicebot.asr.build import build_factory, build_named_factories
from voicebot.asr.pool import RecogniserPool
from voicebot.asr.protocol import RecogniserFactory
from voicebot.config.settings import HandoffSettings, Settings
from voicebot.core.delivery import Delivery
from voicebot.core.errors import ConfigError, SessionStoreError
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.manner import PLAIN
from voicebot.dialogue.program import CompiledDialplan
from voicebot.handoff.hold_music import hold_music, ring_back
from voicebot.handoff.llm_summary import Summariser
from voicebot.link.messages import Originate, Result, Start
from voicebot.link.server import LinkServer, WorkerLink
from voicebot.llm.build import build_chat_model
from voicebot.llm.metered import MeteredModel
from voicebot.llm.protocol import ChatModel
from voicebot.llm.warming import keep_warm
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.journalled_store import JournalledSessionStore
from voicebot.session.open_store import session_store
from voicebot.telemetry import metrics
from voicebot.telemetry.health_server import unless_shared
from voicebot.telemetry.log import get_logger
from voicebot.telemetry.readiness import announce_ready
from voicebot.telemetry.traces import SessionTracing, open_tracing
from voicebot.tts.build import build_renderer
from voicebot.tts.renderer import SpeechRenderer
from voicebot.turn.echo_path import EchoPath
from voicebot.turn.voice_activity import VoiceActivity
from voicebot.worker.call_core import Dialogue
from voicebot.worker.call_session import CallSession, Engines
from voicebot.worker.call_traces import CallTraces
from voicebot.worker.call_watch import LiveCalls
from voicebot.worker.callback_caller import CallbackCaller
from voicebot.worker.effects import CallState
from voicebot.worker.handoff_call import HOLD_MUSIC, HandoffCall
from voicebot.worker.handoff_rules import handoff_rules, queue_rules
from voicebot.worker.hearing import Ears
from voicebot.worker.journal import CallJournal
from voicebot.worker.load_meter import LoadMeter
from voicebot.worker.plan_prompts import PlanPrompts
from voicebot.worker.plan_shelf import PlanInUse, PlanShelf, check_recognisers
from voicebot.worker.speaking import SpeakingPool
from voicebot.worker.worker_gauges import CacheCounts, sample_for_ever

PROMPT_FOLDER: Final = "prompts"
RECORD_GRACE_S: Final = 0.3  # a takeover that came in the last moment is in the store by then
HANDOFF_SAMPLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Worker:
    """What the calls of one worker share."""

    settings: Settings
    plans: PlanShelf
    recognisers: RecogniserPool
    speaking: SpeakingPool
    store: JournalledSessionStore
    records: CallDetailLog
    live: LiveCalls
    renderer: SpeechRenderer
    load: LoadMeter
    tracing: SessionTracing | None = None
    sessions: set[CallSession] = field(default_factory=set)

    async def serve(self, link: WorkerLink) -> None:
        """Serve one call."""
        self.load.call_began()
        async with self.plans.lend() as used:
            await self._serve(link, used)

    async def _serve(self, link: WorkerLink, used: PlanInUse) -> None:
        ears = Ears(self.recognisers)

        def open_dialogue(start: Start) -> Dialogue | None:
            ears.use(*used.recognisers(start))
            return used.open(start)

        def restore(start: Start, state: CallState) -> Dialogue | None:
            ears.use(*used.recognisers(start))
            return used.restore(start, state)

        def offer(start: Start, state: CallState) -> Dialogue | None:
            ears.use(*used.recognisers(start))
            return used.offer(start, state)

        first = await link.peek()
        before = await self.live.before(first) if isinstance(first, Start) else None
        core = HandoffCall(
            self.settings.turn,
            self.settings.budget,
            VoiceActivity(quiet_dbov=self.settings.turn.quiet_dbov),
            open_dialogue,
            handoff_rules(self.settings, used.plan, used.now()),
            before,
        )
        engines = Engines(
            recognise=ears.recognise,
            speak=functools.partial(self._speak, used.plan),
            call_tool=used.services.call_tool,
            ask_router=used.services.ask_router,
            may_repeat=used.services.may_repeat,
        )
        grace_s = self.settings.link.resume_grace_ms / 1000 + RECORD_GRACE_S
        journal = CallJournal(self.store, self.records, used.plan.name, grace_s, used.ring_back_s)
        watch = self.live.watch()
        traces = CallTraces(self.tracing) if self.tracing is not None else None
        session = CallSession(link, core, engines, journal, restore, offer, watch=watch, traces=traces)
        self.sessions.add(session)
        metrics.WORKER_CALLS.set(len(self.sessions))
        try:
            await session.run()
        finally:
            self.sessions.discard(session)
            metrics.WORKER_CALLS.set(len(self.sessions))

    async def call_back(
        self, originate: Callable[[Originate], Awaitable[Start | Result | None]]
    ) -> None:
        """Call back those who asked for it, for ever; nobody without a trunk."""
        settings, plans = self.settings.handoff, self.plans
        if not (settings.callback_trunk and self.settings.sip.allow_outgoing):
            return
        try:
            caller = await asyncio.to_thread(
                CallbackCaller,
                self.settings.data_dir,
                settings,
                lambda: handoff_rules(self.settings, plans.latest.plan, plans.latest.now()),
                lambda: queue_rules(settings, plans.latest.plan.source),
                originate,
            )
        except SessionStoreError as error:
            get_logger().error("callbacks_not_placed", error=str(error))
            return
        await caller.run()

    async def meter(self) -> None:
        """Sample what is going on, for ever."""
        cache = CacheCounts()
        queues: dict[str, Callable[[], int]] = {
            "inbox": lambda: max((s.inbox_depth for s in self.sessions), default=0),
            "recogniser": lambda: self.recognisers.waiting,
            "speaking": lambda: self.renderer.live_renders,
        }

        def sample() -> None:
            for name, depth in queues.items():
                metrics.QUEUE_DEPTH.labels(name).set(depth())
            stats = self.renderer.cache_stats()
            cache.take(stats.hits, stats.misses, stats.size_bytes)
            metrics.STORE_DEGRADED.set(self.store.degraded)

        async with asyncio.TaskGroup() as group:
            group.create_task(sample_for_ever(sample))
            group.create_task(self._meter_handoffs())

    async def _meter_handoffs(self) -> None:
        while True:
            await asyncio.sleep(HANDOFF_SAMPLE_S)
            with contextlib.suppress(SessionStoreError):
                metrics.HANDOFFS_WAITING.set(await self.live.waiting())

    async def _speak(
        self, plan: CompiledDialplan, text: str, delivery: Delivery
    ) -> AsyncIterator[bytes]:
        if delivery.voice == HOLD_MUSIC:
            music = self.settings.handoff.waiting_sound == "music"
            yield hold_music() if music else ring_back()
            return
        if not delivery.locale:  # not the plan's own words: its plain voice says them
            delivery = plan.delivery(PLAIN, plan.locale)
        async for payload in self.speaking.speak(text, delivery, plan.lexicon):
            yield payload


@contextlib.asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """Load models, voices, dialplan and store.

    Raises:
        ConfigError: The dialplan or a model directory cannot be used.
        SynthesisError: No voice can speak.
        SessionStoreError: The store cannot be opened.
    """
    log = get_logger()
    tracing = open_tracing(settings.traces)
    library = await asyncio.to_thread(PlanLibrary, settings.dialplan)
    model = build_chat_model(settings.llm)
    plans = PlanShelf(
        library,
        MeteredModel(model) if model is not None else None,
        settings.tools.allowed_hosts,
        settings.dialplan_at,
    )
    plan = library.plan
    prompts_dir = settings.data_dir / PROMPT_FOLDER
    renderer = await asyncio.to_thread(build_renderer, settings.tts, cache_dir=prompts_dir)
    factory = await asyncio.to_thread(build_factory, settings.asr)
    named = await asyncio.to_thread(build_named_factories, settings.asr)
    check_recognisers(plan, named)
    recognisers = RecogniserPool(
        factory,
        threads=settings.asr.threads,
        engine_limit_s=settings.asr.engine_limit_s,
        named=named,
    )
    speaking = SpeakingPool(renderer, settings.tts.threads)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = session_store(settings.store.url, settings.data_dir, replicas=settings.store.replicas)
    await store.start()
    await asyncio.to_thread(_warm_up, factory)
    log.info("worker_loaded", dialplan=plan.name, recogniser=recognisers.description)
    prompts = PlanPrompts(renderer)
    prompts.prepare(plan)
    live = LiveCalls(
        settings.data_dir,
        settings.handoff,
        lambda: queue_rules(settings.handoff, plans.latest.plan.source),
        _summariser(settings.handoff, model),
    )
    live.open()
    background = [asyncio.create_task(plans.watch(prompts.prepare))]
    try:
        records = CallDetailLog(settings.data_dir)
        load = LoadMeter()
        worker = Worker(
            settings, plans, recognisers, speaking, store, records, live, renderer, load, tracing
        )
        background += [asyncio.create_task(worker.meter()), asyncio.create_task(load.run())]
        if model is not None:
            background.append(asyncio.create_task(keep_warm(model, lambda: bool(worker.sessions))))
        yield worker
    finally:
        for task in background:
            task.cancel()
        live.close()
        prompts.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        speaking.close()
        recognisers.close()
        await plans.close()
        await store.close()


def _summariser(settings: HandoffSettings, model: ChatModel | None) -> Summariser | None:
    deadline_ms = settings.summary_deadline_ms
    return Summariser(model, deadline_ms) if model is not None and deadline_ms else None


def _warm_up(factory: RecogniserFactory) -> None:
    """Go once through what a first call would be the first to load: native libraries, models, tables."""
    heard = np.random.default_rng(0).normal(0, 1000, 160).astype(np.int16)
    echo = EchoPath()
    detector = VoiceActivity()
    for _ in range(10):
        echo.process(heard, heard, reference_active=True)
        detector.feed(heard)
    recogniser = factory.start(["one"])
    recogniser.accept(heard)
    recogniser.finish()
    recogniser.close()


async def run_worker(settings: Settings) -> None:
    """Serve calls until SIGTERM or SIGINT.

    Raises:
        VoicebotError: Something that every call needs cannot be loaded.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    link = settings.link
    async with open_worker(settings) as worker:
        server = LinkServer(
            link.host,
            link.port,
            worker.serve,
            heartbeat_ms=link.heartbeat_ms,
            load=lambda: worker.load.load,
        )
        health = unless_shared(settings.metrics, lambda: "stopping" if stop.is_set() else "")
        try:
            await server.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on tcp {link.host}:{link.port} ({error.strerror}); is another program "
                "using the port? Workers and standbys take ports in a row.",
                key="link.port",
            ) from error
        async with server, health:
            gc.collect()
            gc.freeze()  # what is loaded by now stays: no collection during a call need look at it
            metrics.WORKERS_READY.set(1)
            get_logger().info("worker_ready", host=link.host, port=link.port)
            announce_ready()
            calling = asyncio.create_task(worker.call_back(server.originate))
            await stop.wait()
            calling.cancel()
