"""Speaking, keying and waiting in a call: what a script does, without any SIP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sip_test_harness.clock import now_ns
from sip_test_harness.errors import CallEndedError, UsageError, WaitTimeoutError
from sip_test_harness.leg_options import LegEvent
from sip_test_harness.media import MediaSession
from sip_test_harness.telephone_event import KeyShape, info_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sip_test_harness.outgoing_stream import Utterance
    from sip_test_harness.sip_message import Header, SipResponse


class Talking:
    """A party that speaks, keys and waits; ``Leg`` adds the signalling.

    ``state`` is idle, calling, early, confirmed or ended.
    """

    media: MediaSession

    def __init__(self) -> None:
        self.state = "idle"
        self.ended_by = ""
        self.end_reason = ""
        self.ended_ns: int | None = None
        self.log: list[LegEvent] = []
        self.on_event: Callable[[LegEvent], None] | None = None
        self._changed = asyncio.Event()

    async def send_request(
        self,
        method: str,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        *,
        timeout_s: float = 8.0,
    ) -> SipResponse | None:
        """Send any request in the dialog and return its final response, None without one."""
        raise NotImplementedError

    async def say(self, samples: NDArray[np.int16], label: str = "", *, meant: bool = True) -> Utterance:
        """Speak 8 kHz samples of shape (n,) and return when the last packet was sent.

        ``meant`` is False for what the bot has to speak on over: a cough, "mm-hmm".

        Raises:
            CallEndedError: the call ended before that.
        """
        await self.wait_media()
        utterance = self.media.say(samples, label)
        utterance.meant = meant
        return await self._spoken(utterance)

    async def press(
        self, digits: str, *, mode: str = "rfc4733", shape: KeyShape | None = None
    ) -> Utterance:
        """Press keys and return when the last packet was sent.

        Args:
            digits: 0-9, *, #, A-D.
            mode: ``rfc4733``, ``inband`` (tones in the audio) or ``info`` (SIP INFO).
            shape: durations and defects of the presses.

        Raises:
            CallEndedError: the call ended before that.
        """
        shape = shape or KeyShape()
        await self.wait_media()
        if mode == "rfc4733":
            return await self._spoken(self.media.press(digits, shape))
        if mode == "inband":
            return await self._spoken(self.media.press_in_band(digits, shape))
        if mode != "info":
            raise UsageError(f"unknown way to press keys: {mode!r} (rfc4733, inband, info)")
        utterance = self.media._utterance(f"info {digits}")  # noqa: SLF001 - the leg owns its media
        utterance.words = False
        for digit in digits:
            kind, body = info_body(digit, shape.duration_ms)
            utterance.started_ns = utterance.started_ns or now_ns()
            await self.send_request("INFO", [("Content-Type", kind)], body)
            utterance.first_speech_ns = utterance.first_speech_ns or utterance.started_ns
            utterance.last_speech_ns = now_ns()
        utterance.finished = True
        return utterance

    async def wait_media(self, timeout_s: float = 5.0) -> None:
        """Wait until the far end's address and codec are known.

        Raises:
            WaitTimeoutError: offer and answer were not exchanged in time.
            CallEndedError: the call ended.
        """

        def check() -> float | None:
            return None if self.media.stream is None else 0.0

        await self._until(check, timeout_s, "no media was negotiated")

    async def wait_bot_audible(self, timeout_s: float = 10.0, *, since_ns: int | None = None) -> int:
        """Wait for an audible packet later than ``since_ns`` (default: end of our last words).

        Returns:
            Its arrival in monotonic ns.

        Raises:
            WaitTimeoutError: nothing audible came in time.
            CallEndedError: the call ended.
        """
        since = self.last_said_ns if since_ns is None else since_ns

        def check() -> float | None:
            last = self.media.last_audible_ns
            return 0.0 if last is not None and last > since else None

        await self._until(check, timeout_s, "the bot did not say anything")
        return self.media.first_audible_after(since)

    async def wait_bot_silent(
        self,
        silence_ms: float = 700,
        timeout_s: float = 30.0,
        *,
        since_ns: int | None = None,
        after_audio: bool = True,
    ) -> None:
        """Wait until the bot has spoken since our last words and then been silent for a while.

        Args:
            silence_ms: how long no audible packet may have arrived.
            timeout_s: limit of the whole wait.
            since_ns: what counts as "since our last words"; default is exactly that.
            after_audio: False does not ask that the bot has spoken.

        Raises:
            WaitTimeoutError: it did not happen in time.
            CallEndedError: the call ended.
        """
        since = self.last_said_ns if since_ns is None else since_ns

        def check() -> float | None:
            last = self.media.last_audible_ns
            if last is None or last <= since:
                if after_audio:
                    return None
                last = since
            return max(0.0, last / 1e9 + silence_ms / 1000 - now_ns() / 1e9)

        await self._until(check, timeout_s, f"the bot was not silent for {silence_ms:g} ms")

    async def wait_ended(self, timeout_s: float = 30.0) -> None:
        """Wait until the call is over.

        Raises:
            WaitTimeoutError: it went on.
        """
        try:
            await self._until(lambda: None, timeout_s, "the call did not end")
        except CallEndedError:
            return

    async def sleep(self, duration_s: float) -> None:
        """Let time pass; CallEndedError when the call ends meanwhile."""
        until_ns = now_ns() + round(duration_s * 1e9)
        await self._until(
            lambda: max(0.0, (until_ns - now_ns()) / 1e9), duration_s + 1, "time did not pass"
        )

    @property
    def last_said_ns(self) -> int:
        """When this party last stopped speaking or keying; 0 before its first words."""
        ends = [said.last_speech_ns or 0 for said in self.media.utterances]
        return max(ends, default=0)

    def note(self, kind: str, text: str = "") -> None:
        """Log an event and pass it to ``on_event``."""
        event = LegEvent(now_ns(), kind, text)
        self.log.append(event)
        if self.on_event is not None:
            self.on_event(event)

    async def finish(self, utterance: Utterance) -> Utterance:
        """Return when the last packet of a queued utterance was sent.

        Raises:
            CallEndedError: the call ended before that.
        """
        return await self._spoken(utterance)

    # --- waiting ------------------------------------------------------------------------------

    async def _spoken(self, utterance: Utterance) -> Utterance:
        def check() -> float | None:
            return 0.0 if utterance.finished else None

        await self._until(check, 600.0, "the words were not sent")
        return utterance

    async def _until(self, check: Callable[[], float | None], timeout_s: float, what: str) -> None:
        """Wait until ``check`` is 0; it returns seconds to look again after, None for a change."""
        end_ns = now_ns() + round(timeout_s * 1e9)
        while True:
            self._changed.clear()
            again_s = check()
            if again_s == 0.0:
                return
            if self.state == "ended":
                raise CallEndedError(f"the call ended ({self.ended_by}: {self.end_reason})")
            left_s = (end_ns - now_ns()) / 1e9
            if left_s <= 0:
                raise WaitTimeoutError(f"{what} within {timeout_s:g} s")
            wait_s = left_s if again_s is None else min(left_s, again_s)
            try:
                async with asyncio.timeout(wait_s + 0.0005):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _ended(self, by: str, reason: str) -> None:
        if self.state == "ended":
            return
        self.state = "ended"
        self.ended_by = by
        self.end_reason = reason
        self.ended_ns = now_ns()
        self.media.paused = True
        self.media.stop_talking()
        self.note("ended", f"{by}: {reason}")
        self._changed.set()
