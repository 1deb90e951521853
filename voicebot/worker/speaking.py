"""Voices for the calls of a worker: blocking engines on threads, pieces of audio on the event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypedDict

from voicebot.core.delivery import PLAIN_DELIVERY, Delivery
from voicebot.core.errors import SynthesisError
from voicebot.tts.lexicon import NO_LEXICON, Lexicon
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import Prosody
from voicebot.tts.warming import FixedPrompt

PIECES_AHEAD: Final = 64


class Renderer(Protocol):
    """What gives mu-law audio of a text piece by piece, blocking (``voicebot.tts``)."""

    def render(
        self,
        text: str,
        *,
        voice: str | None = None,
        locale: Locale = ...,
        lexicon: Lexicon = ...,
        prosody: Prosody = ...,
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
        self, text: str, delivery: Delivery = PLAIN_DELIVERY, lexicon: Lexicon = NO_LEXICON
    ) -> AsyncIterator[bytes]:
        """Audio of one utterance; closing the iterator or cancelling its task stops the voice.

        Args:
            text: What is said.
            delivery: Voice, language and manner.
            lexicon: The dialplan's respellings.

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
                    text, **_how(delivery), lexicon=lexicon, cancelled=stop.is_set
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


class _How(TypedDict):
    voice: str | None
    locale: Locale
    prosody: Prosody


def _how(delivery: Delivery) -> _How:
    return _How(
        voice=delivery.voice or None,
        locale="en-GB" if delivery.locale == "en-GB" else "en-US",
        prosody=Prosody(delivery.rate, delivery.pitch),
    )


def spoken(renderer: Renderer, text: str, delivery: Delivery, lexicon: Lexicon) -> bytes:
    """All audio of one utterance at once, on the calling thread: for calls on virtual time.

    Raises:
        SynthesisError: No voice could say it.
    """
    return b"".join(renderer.render(text, **_how(delivery), lexicon=lexicon))


def fixed_prompt(text: str, delivery: Delivery, lexicon: Lexicon) -> FixedPrompt:
    """What the warmer renders, so that ``speak`` finds it in the cache."""
    return FixedPrompt(text, **_how(delivery), lexicon=lexicon)
