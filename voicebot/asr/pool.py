"""Bounded threads between the event loop and a blocking recogniser.

    feed() ─► job queue of one turn ─► one of n engine threads ─► on_partial(), finish()
              (in order, bounded)      (never two in one turn)     (back in the event loop)

The engine releases Python's lock while it decodes, so a few threads serve many calls. Audio that
piled up while a thread was busy is given to the engine in one piece. A call to the engine that takes
longer than the limit fails that turn with `RecognitionError` and gives its thread up for lost: a new
one takes its place, up to `MAX_LOST_THREADS`, after which the pool refuses work and the worker
process should be replaced.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from voicebot.asr.protocol import (
    SAMPLE_RATE_HZ,
    Hypothesis,
    Pcm,
    Recogniser,
    RecogniserFactory,
)
from voicebot.core.errors import OverloadError, RecognitionError

MAX_LOST_THREADS: Final = 4
MAX_QUEUED_MS: Final = 30_000
"""Audio that one turn may have waiting; the engine is then hopelessly late."""

_SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1000


class RecogniserPool:
    """Runs recognisers of one factory on a bounded number of threads.

    Args:
        factory: The engine.
        threads: How many calls to the engine may run at once; about the number of cores.
        engine_limit_s: Time limit for one call to the engine, and for what it still has to do when
            asked to finish.
        named: Further engines by language ("en-GB", "en") or by name, on the same threads.
    """

    def __init__(
        self,
        factory: RecogniserFactory,
        *,
        threads: int = 2,
        engine_limit_s: float = 2.0,
        named: Mapping[str, RecogniserFactory] | None = None,
    ) -> None:
        self.factory = factory
        self.named = dict(named or {})
        self.engine_limit_s = engine_limit_s
        self.lost_threads = 0
        self._threads = threads
        self._ready: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._closed = False
        for _ in range(threads):
            self._add_thread()

    @property
    def description(self) -> str:
        """The engines' descriptions and the number of threads."""
        named = "".join(f"; {name}: {engine.description}" for name, engine in self.named.items())
        return f"{self.factory.description}{named}; {self._threads} threads"

    def engine_for(self, *names: str) -> RecogniserFactory:
        """The first engine that goes by one of the names, most wanted first, else the default one.

        "en-GB" also finds "en".
        """
        for name in names:
            for key in (name, name.partition("-")[0]):
                if key in self.named:
                    return self.named[key]
        return self.factory

    @property
    def waiting(self) -> int:
        """Turns with audio for which no thread is free at the moment."""
        return self._ready.qsize()

    def start(
        self,
        grammar: Sequence[str] | None,
        on_partial: Callable[[Hypothesis], None] | None = None,
        *,
        kind: str = "",
        factory: RecogniserFactory | None = None,
    ) -> "Turn":
        """Begin a turn; must be called in the event loop, returns at once.

        Args:
            grammar: As `RecogniserFactory.start`; a bad one fails the turn, not this call.
            on_partial: Called in the event loop with each partial hypothesis that changed.
            kind: As `RecogniserFactory.start`.
            factory: Another engine for this turn (`engine_for`); None: the default one.

        Raises:
            OverloadError: Too many threads are lost, or the pool is closed.
        """
        if self._closed or self.lost_threads > MAX_LOST_THREADS:
            raise OverloadError("the recogniser pool takes no more turns")
        return Turn(self, factory or self.factory, grammar, kind, on_partial)

    def close(self) -> None:
        """Let the threads end once their present work is done; does not wait for them."""
        if not self._closed:
            self._closed = True
            for _ in range(self._threads):
                self._ready.put(None)

    def _give_up_thread(self) -> None:
        """A thread did not come back from the engine: put another in its place."""
        self.lost_threads += 1
        if self.lost_threads <= MAX_LOST_THREADS:
            self._add_thread()

    def _add_thread(self) -> None:
        # Daemon: a thread stuck in C++ must not keep the process from ending.
        threading.Thread(target=self._serve, name="recogniser", daemon=True).start()

    def _serve(self) -> None:
        while (turn := self._ready.get()) is not None:
            if not turn._run():  # noqa: SLF001 - the two halves of one mechanism
                return


class Turn:
    """One turn of one call, seen from the event loop; made by `RecogniserPool.start`.

    `feed` any number of times, then `finish` or `abandon` once.
    """

    def __init__(
        self,
        pool: RecogniserPool,
        factory: RecogniserFactory,
        grammar: Sequence[str] | None,
        kind: str,
        on_partial: Callable[[Hypothesis], None] | None,
    ) -> None:
        self.partial: Hypothesis | None = None
        """The latest partial hypothesis, None before the first word."""
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._grammar = grammar
        self._kind = kind
        self._on_partial = on_partial
        self._audio: deque[bytes] = deque()
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._scheduled = False
        self._running = False
        self._entered_s = 0.0
        self._finishing = False
        self._given_up = False
        self._recogniser: Recogniser | None = None
        self._result: asyncio.Future[Hypothesis] = self._loop.create_future()
        # A turn that is abandoned after a failure has nobody to fetch the exception.
        self._result.add_done_callback(lambda f: f.cancelled() or f.exception())

    def feed(self, pcm: Pcm) -> None:
        """Queue audio for the engine, in order; returns at once.

        Raises:
            RecognitionError: The turn has failed or was finished, a call to the engine takes longer
                than the limit, or the engine is 30 s behind.
        """
        self._check_open()
        self._check_time()
        data = pcm if isinstance(pcm, bytes) else np.ascontiguousarray(pcm, np.int16).tobytes()
        with self._lock:
            if self._queued_bytes + len(data) > MAX_QUEUED_MS * _SAMPLES_PER_MS * 2:
                raise RecognitionError("the recogniser is 30 s behind the caller")
            self._audio.append(data)
            self._queued_bytes += len(data)
        self._schedule()

    async def finish(self) -> Hypothesis:
        """Decide now: the final hypothesis of all audio fed.

        Raises:
            RecognitionError: The engine failed, was misused or took longer than the limit.
        """
        self._check_open()
        self._finishing = True
        self._schedule()
        try:
            async with asyncio.timeout(self._pool.engine_limit_s):
                return await asyncio.shield(self._result)
        except TimeoutError as error:
            self._give_up()
            raise self._too_slow() from error
        except asyncio.CancelledError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """The turn is of no interest any more; may be called at any time, more than once."""
        with self._lock:
            self._audio.clear()
            self._queued_bytes = 0
        self._result.cancel()
        self._schedule()

    def _check_open(self) -> None:
        if self._result.done():
            error = None if self._result.cancelled() else self._result.exception()
            if isinstance(error, RecognitionError):
                raise error
            raise RecognitionError("a turn that is over takes no more audio") from error
        if self._finishing:
            raise RecognitionError("a turn that is being finished takes no more audio")

    def _check_time(self) -> None:
        with self._lock:
            inside_s = self._loop.time() - self._entered_s if self._running else 0.0
        if inside_s > self._pool.engine_limit_s:
            self._give_up()
            raise self._too_slow()

    def _too_slow(self) -> RecognitionError:
        return RecognitionError(f"the recogniser did not answer within {self._pool.engine_limit_s} s")

    def _schedule(self) -> None:
        """Queue this turn for a thread unless it is queued or running already."""
        with self._lock:
            if self._scheduled or self._given_up:
                return
            self._scheduled = True
        self._pool._ready.put(self)  # noqa: SLF001 - the two halves of one mechanism

    def _give_up(self) -> None:
        """Stop waiting; a thread that is inside the engine for this turn is lost."""
        with self._lock:
            self._given_up = True
            stuck = self._running
        self._result.cancel()
        if stuck:
            self._pool._give_up_thread()  # noqa: SLF001 - the two halves of one mechanism

    # What follows runs in an engine thread.

    def _run(self) -> bool:
        """Work off what is queued; False when this thread was given up meanwhile."""
        while True:
            with self._lock:
                over = self._result.done()
                data = b"".join(self._audio)
                self._audio.clear()
                self._queued_bytes = 0
                if self._given_up or (not data and not self._finishing and not over):
                    self._scheduled = False
                    return True
                self._running, self._entered_s = True, self._loop.time()
            goes_on = self._step(data, over=over)
            with self._lock:
                self._running = False
                if self._given_up:
                    return False
                if not goes_on:
                    return True  # stays "scheduled": nothing of this turn will run again

    def _step(self, data: bytes, *, over: bool) -> bool:
        """One call to the engine or two; whether the turn goes on."""
        try:
            if over:
                self._free()
                return False
            if self._recogniser is None:
                self._recogniser = self._factory.start(self._grammar, self._kind)
            if data:
                partial = self._recogniser.accept(data)
                if partial is not None:
                    self._post(self._deliver_partial, partial)
                return True
            hypothesis = self._recogniser.finish()
            self._free()
            self._post(self._deliver, hypothesis)
        except RecognitionError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises fails its turn only
            failure = RecognitionError(f"the recogniser failed: {error}")
            failure.__cause__ = error
            self._fail(failure)
        return False

    def _free(self) -> None:
        if self._recogniser is not None:
            self._recogniser.close()
            self._recogniser = None

    def _fail(self, error: RecognitionError) -> None:
        self._recogniser = None
        self._post(self._deliver, error)

    def _post(self, deliver: Callable[..., None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is waiting
            self._loop.call_soon_threadsafe(deliver, value)

    def _deliver_partial(self, hypothesis: Hypothesis) -> None:
        if not self._result.done():
            self.partial = hypothesis
            if self._on_partial is not None:
                self._on_partial(hypothesis)

    def _deliver(self, outcome: Hypothesis | RecognitionError) -> None:
        if self._result.done():
            return
        if isinstance(outcome, Hypothesis):
            self._result.set_result(outcome)
        else:
            self._result.set_exception(outcome)
