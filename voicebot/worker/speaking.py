"""Voices for the calls of a worker: blocking engines on threads, pieces of audio on the event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from voicebot.core.errors import SynthesisError
from voicebot.tts.number_words import Locale

PIECES_AHEAD: Final = 64


class Renderer(Protocol):
    """What gives mu-law audio of a text piece by piece, blocking (``voicebot.tts``)."""

    def render(
        self,
        text: str,
        *,
        voice: str | None = None,
        locale: Locale = ...,
        cancelled: Callable[[], bool] = ...,
    ) -> Iterator[bytes]:
        """Pieces of any length; ends early once ``cancelled`` says so."""
        ...


class SpeakingPool:
    """Runs a renderer on a bounded number of threads.

    Args:
        renderer: Shared by all calls.
        threads: How many utterances are rendered at once; more wait their turn.
    """

    def __init__(self, renderer: Renderer, threads: int) -> None:
        self._renderer = renderer
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="speaking")

    async def speak(
        self, text: str, voice: str | None = None, *, locale: Locale = "en-US"
    ) -> AsyncIterator[bytes]:
        """Audio of one utterance; closing the iterator or cancelling its task stops the voice.

        Raises:
            SynthesisError: No voice could say it.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | SynthesisError | None] = asyncio.Queue()
        room = threading.Semaphore(PIECES_AHEAD)
        stop = threading.Event()

        def hand_over(item: bytes | SynthesisError | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, item)

        def render() -> None:
            try:
                for payload in self._renderer.render(
                    text, voice=voice, locale=locale, cancelled=stop.is_set
                ):
                    while not room.acquire(timeout=0.1):
                        if stop.is_set():
                            return
                    hand_over(payload)
                hand_over(None)
            except SynthesisError as error:
                hand_over(error)
            except Exception as error:  # noqa: BLE001  whatever an engine does, the call hears of it
                hand_over(SynthesisError(f"{type(error).__name__}: {error}"))

        self._executor.submit(render)
        try:
            while (item := await pieces.get()) is not None:
                if isinstance(item, SynthesisError):
                    raise item
                room.release()
                yield item
        finally:
            stop.set()

    def close(self) -> None:
        """Let threads end; utterances that wait are dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
