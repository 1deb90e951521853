"""One child process of the supervisor.

    start() ─► STARTING ──ready byte──► RUNNING ──silent for too long──► killed ─┐
                  │                        │                                     ├─► DEAD
                  └── no ready byte ───────┴── exit ─────────────────────────────┘

The child writes to a pipe: one byte when it can work, then one each half second from its event loop. A
child that hangs (SIGSTOP, an endless loop, a deadlock under the GIL) falls silent there. Its calls have
gone to another worker long before; what is left is to get it out of the way.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from voicebot.config.load import READY_VARIABLE
from voicebot.supervise.ending import end_process
from voicebot.telemetry.log import get_logger

READY_TIMEOUT_S: Final = 60.0
SECOND_LOOK_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (runs in the child, before exec)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """A program of ours (``voicebot worker``, ``voicebot edge``) in a process of its own.

    Attributes:
        name: For logs.
        arguments: Of the ``voicebot`` command.
        environment: Settings of this child on top of our own environment.
        program: What runs them; replaced in tests.
        hang_limit_s: Silence after which a running child is killed.
        slowest_restart_s: Longest pause before it is started again.
        planned: Its next end is intended: a restart without delay, not a failure.
        ready: It has said that it can work.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    hang_limit_s: float = 5.0
    program: tuple[str, ...] = (sys.executable, "-m", "voicebot.cli")
    slowest_restart_s: float = 5.0
    planned: bool = False
    ready: bool = False
    process: asyncio.subprocess.Process | None = None
    started_s: float = 0.0
    _watch: "asyncio.Task[None] | None" = None

    @property
    def kind(self) -> str:
        """Which program it is: edge, worker or console."""
        return self.arguments[0]

    async def start(self) -> bool:
        """Start it and wait until it says that it can work; False when it died or stayed silent."""
        self.planned = self.ready = False
        self.started_s = asyncio.get_running_loop().time()
        read, write = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.program,
                *self.arguments,
                env={**os.environ, **self.environment, READY_VARIABLE: str(write)},
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(write)
        reader, transport = await _open_pipe(read)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                self.ready = bool(await reader.read(1))
        if self.ready:
            self._watch = asyncio.create_task(self._watch_beats(reader, transport))
        else:
            transport.close()
            self.kill()
        return self.ready

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it takes too long."""
        await end_process(self.process, grace_s)

    def kill(self) -> None:
        """SIGKILL, also for a process that is stopped."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    async def _watch_beats(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(self.hang_limit_s):
                        beat = await reader.read(64)
                except TimeoutError:
                    try:
                        # We may have been starved ourselves: what came meanwhile is there at once.
                        async with asyncio.timeout(SECOND_LOOK_S):
                            beat = await reader.read(64)
                    except TimeoutError:
                        get_logger().error("child_hangs", child=self.name, silent_s=self.hang_limit_s)
                        self.kill()
                        return
                if not beat:
                    return
        finally:
            transport.close()


async def _open_pipe(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport
