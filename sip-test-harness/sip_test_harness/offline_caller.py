"""The scripted caller on virtual time: the caller of real calls, a pipe in place of SIP and sockets."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from typing import TYPE_CHECKING, Any, Final, Self

from sip_test_harness import g711
from sip_test_harness.caller import CallerOptions, InviteTimes
from sip_test_harness.clock import NS_PER_MS, now_ns
from sip_test_harness.errors import CallFailedError, SyntaxRefusedError, UsageError
from sip_test_harness.leg_options import Refer
from sip_test_harness.measures import CallMeasures, measure_call
from sip_test_harness.media import MediaSession
from sip_test_harness.offline_bot import OfflineBot, OfflineBotError, OfflineEnd
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.sip_message import SipResponse, parse_uri
from sip_test_harness.talking import Talking
from sip_test_harness.udp import Address, Capture, NetworkGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sip_test_harness.pacer import Due
    from sip_test_harness.sip_message import Header

CALLER: Final[Address] = ("127.0.0.1", 40_000)
BOT: Final[Address] = ("127.0.0.1", 40_002)
EVENT_TYPE: Final = 101
FRAME_NS: Final = 20 * NS_PER_MS


class OfflineLine:
    """Packets for the bot, kept until its next 20 ms; the event loop's virtual clock paces them."""

    address = CALLER
    is_realtime = False
    error: BaseException | None = None

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, bytes]] = []
        self._order = itertools.count()

    def open(
        self,
        on_rtp: Callable[[bytes, Address, int], None],
        on_rtcp: Callable[[bytes, Address, int], None],
    ) -> None:
        """Packets come from the caller's own exchange with the bot."""

    def call_at(self, due_ns: int, function: Due) -> None:
        """Call ``function(due_ns)`` at that virtual time."""
        self._loop.call_at(due_ns / 1e9, self._due, function, due_ns)

    def _due(self, function: Due, due_ns: int) -> None:
        try:
            function(due_ns)
        except Exception as error:  # noqa: BLE001 - reported by the stream's owner, as the pacer's are
            self.error = self.error or error

    def send(self, data: bytes, remote: Address) -> int:  # noqa: ARG002 - there is one far end
        """Keep RTP for the bot."""
        at_ns = now_ns()
        heapq.heappush(self._waiting, (at_ns, next(self._order), data))
        return at_ns

    def send_rtcp(self, data: bytes, remote: Address) -> None:
        """Nobody measures a pipe."""

    def take(self, until_ns: int) -> list[tuple[int, bytes]]:
        """Return (µs into the 20 ms before ``until_ns``, packet) of what was sent in them."""
        out: list[tuple[int, bytes]] = []
        while self._waiting and self._waiting[0][0] <= until_ns:
            at_ns, _, data = heapq.heappop(self._waiting)
            out.append((max(0, at_ns - until_ns + FRAME_NS) // 1000, data))
        return out

    def close(self) -> None:
        """Nothing to close."""


class OfflineCaller(Talking):
    """A caller of an ``OfflineBot``; waits, speaks and measures as ``Caller`` does.

    Args:
        bot: the bot's process.
        target: a SIP address, of which the user part is dialled.
        options: as of a real call; ports, credentials and network do not matter.
        call_id: names the call; the same name gives the same call.
        at: time of day of the call, ISO 8601.
    """

    def __init__(
        self, bot: OfflineBot, target: str, options: CallerOptions, *, call_id: str, at: str = ""
    ) -> None:
        super().__init__()
        self.caller_options = options
        try:
            self.target = parse_uri(target)
        except SyntaxRefusedError as error:
            raise UsageError(str(error)) from error
        self.times = InviteTimes()
        self.final_response: SipResponse | None = None
        self.capture = Capture()
        self.call_id = call_id
        self.refers: list[Refer] = []
        self.info_digits: list[str] = []
        self.end: OfflineEnd | None = None
        self._at = at
        self._bot = bot
        self._limit: asyncio.TimerHandle | None = None
        self._next: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Make the media; nothing is sent yet."""
        self._line = OfflineLine()
        self.media = MediaSession(
            CALLER[0],
            self.caller_options.media,
            guard=NetworkGuard(allow_network=False),
            capture=self.capture,
            seed=self.caller_options.seed,
            on_change=self._changed.set,
            line=self._line,
        )
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(self.caller_options.limit_s, self._on_limit)
        # The bot's own packets: numbers that depend on the seed only.
        chance = random.Random(f"{self.caller_options.seed}:bot")
        self._packet_number = chance.getrandbits(15)
        self._timestamp = chance.getrandbits(31)
        self._ssrc = chance.getrandbits(32)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up when needed."""
        if self._limit is not None:
            self._limit.cancel()
        if error is None or isinstance(error, Exception):
            await self.hang_up()
        if self._next is not None:
            self._next.cancel()
        self.media.close()
        self._ended("harness", "closed")

    async def invite(
        self,
        *,
        late_offer: bool = False,  # noqa: ARG002 - there is no SDP
        headers: Sequence[Header] = (),
        body: bytes | None = None,  # noqa: ARG002 - there is no SDP
        timeout_s: float = 32.0,  # noqa: ARG002 - the bot's process has its own limit
    ) -> None:
        """Call.

        Raises:
            CallFailedError: refused.
        """
        options = self.caller_options
        self.state = "calling"
        self.times.sent_ns = now_ns()
        start: dict[str, Any] = {
            "sip_call_id": self.call_id,
            "caller": options.user,
            "called": self.target.user,
            "headers": {name.lower(): value for name, value in (*options.headers, *headers)},
            "codec": "PCMA" if options.media.codec == g711.PCMA else "PCMU",
            "event_type": EVENT_TYPE,
        }
        if self._at:
            start["at"] = self._at
        status = self._bot.begin(start)
        self.times.final_ns = now_ns()
        reason = "OK" if status == 200 else "refused"
        self.final_response = SipResponse(status=status, reason=reason)
        self.note("response", f"{status} {reason}")
        if status != 200:
            self._ended("bot", f"{status} {reason}")
            raise CallFailedError(status, reason)
        self.state = "confirmed"
        self.media.connect(BOT, options.media.codec, EVENT_TYPE)
        self._schedule(now_ns() + FRAME_NS)

    async def hang_up(self, headers: Sequence[Header] = ()) -> None:  # noqa: ARG002 - no BYE to put them in
        """Hang up."""
        if self.state == "confirmed":
            self._finish(self._bot.hang_up(), "harness", "BYE sent")

    def measures(self) -> CallMeasures:
        """Measure the call so far; complete after the call has ended."""
        return measure_call(self)

    def _schedule(self, due_ns: int) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.call_at(due_ns / 1e9, self._exchange, due_ns)

    def _exchange(self, due_ns: int) -> None:
        if self.state != "confirmed":
            return
        try:
            answer = self._bot.tick(self._line.take(due_ns))
        except OfflineBotError as error:
            self.media.error = error
            self._ended("bot", str(error))
            return
        if isinstance(answer, OfflineEnd):
            self._finish(answer, "bot", str(answer.record.get("reason") or "BYE received"))
            return
        packet = RtpPacket(
            g711.PCMU, self._packet_number, self._timestamp, self._ssrc, answer, marker=False
        )
        self._packet_number = (self._packet_number + 1) & 0xFFFF
        self._timestamp = (self._timestamp + 160) & 0xFFFFFFFF
        self.media._on_rtp(packet.encode(), BOT, due_ns)  # noqa: SLF001 - this is the media's line
        self._schedule(due_ns + FRAME_NS)

    def _finish(self, end: OfflineEnd, by: str, reason: str) -> None:
        self.end = end
        if end.transferred_to:
            self.refers.append(Refer(end.transferred_to, now_ns(), ()))
        self._ended(by, reason)

    def _on_limit(self) -> None:
        if self.state == "confirmed":
            self._finish(
                self._bot.hang_up(), "harness", f"limit of {self.caller_options.limit_s:g} s reached"
            )
