"""A call that a worker asks for: rings, and becomes an ordinary call when it is answered.

Originate ─► refused here: Result 403, 503
         └─► INVITE ─► RINGING ── answered ─► CallLeg (``Start`` with the order in it)
                          └─ busy, declined, no answer, worker gone (CANCEL): Result, link closed
"""

import asyncio
from typing import Any

from voicebot.core.errors import OverloadError
from voicebot.edge.call_leg import CallLeg, LegServices, PlacedCall
from voicebot.edge.outgoing_policy import refusal
from voicebot.edge.peer_text import clean_peer_text
from voicebot.edge.rtp_port import RtpPort
from voicebot.edge.signalling import IncomingCall, LegEnd, NegotiatedMedia, SipLeg
from voicebot.link.client import EdgeLink
from voicebot.link.messages import NO_CALL_SLOT, Originate, Result
from voicebot.telemetry.log import get_logger

LEGS_NEEDED = 2
"""The one who is called, and a colleague."""
END_LIMIT_S = 40.0
"""A CANCEL that is never answered ends with the INVITE transaction (RFC 3261 timer B: 32 s)."""


class OutgoingCall:
    """One order; implements ``LegEvents`` while it rings.

    Args:
        services: What the legs of the process share.
        link: The link of the worker that asks.
        order: What it asks for.
    """

    def __init__(self, services: LegServices, link: EdgeLink, order: Originate) -> None:
        self._services = services
        self._link = link
        self._order = order
        self._media: NegotiatedMedia | None = None
        self._sip: SipLeg | None = None
        self._settled: asyncio.Future[LegEnd | None] = asyncio.get_running_loop().create_future()
        self._log = get_logger().bind(request=order.request)

    async def run(self, *, refuse: str = "") -> CallLeg | None:
        """Ring until it is decided.

        Args:
            refuse: Why this edge takes no calls now; empty when it does.

        Returns:
            The answered call, which the caller of this runs; None when there is none.
        """
        port = await self._dial(refuse)
        if port is None:
            return None
        end = await self._outcome()
        if end is None:
            return self._answered(port)
        await self._refuse(end.code, end.reason)
        return None

    async def _dial(self, refuse: str) -> RtpPort | None:
        services, order = self._services, self._order
        sip = services.settings.sip
        why = refusal(order.uri, allow_outgoing=sip.allow_outgoing, hosts=sip.outgoing_hosts)
        if why:
            self._log.warning("destination_refused", uri=clean_peer_text(order.uri), reason=why)
            await self._refuse(403, why)
            return None
        limit = min(sip.max_calls or services.agent.call_limit, services.agent.call_limit)
        if refuse or services.agent.live_calls + LEGS_NEEDED > limit:
            await self._refuse(503, NO_CALL_SLOT)
            return None
        try:
            port = services.ports.open()
        except OverloadError:
            await self._refuse(503, NO_CALL_SLOT)
            return None
        self._sip = services.agent.dial(order.uri, order.headers, self, port)
        if self._sip is None:
            port.close()
            await self._refuse(503, NO_CALL_SLOT)
            return None
        self._log.info("call_dialled", called=order.caller)
        return port

    async def _outcome(self) -> LegEnd | None:
        """Why it was not answered; None when it was."""
        gone = asyncio.ensure_future(self._link.peek())
        try:
            waits: set[asyncio.Future[Any]] = {gone, self._settled}
            await asyncio.wait(
                waits,
                timeout=self._order.timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not self._settled.done():
                assert self._sip is not None
                # Nobody answered in time, or nobody is left who would talk to whom we call.
                self._sip.hang_up({})
                await asyncio.wait({self._settled}, timeout=END_LIMIT_S)
        finally:
            gone.cancel()
        if not self._settled.done():
            return LegEnd(408, "no answer", by_far_end=False)
        end = self._settled.result()
        if end is None and self._link.closed:
            assert self._sip is not None
            self._sip.hang_up({})
            return LegEnd(503, "worker lost", by_far_end=False)
        return end

    def _answered(self, port: RtpPort) -> CallLeg:
        assert self._sip is not None
        call = IncomingCall(
            sip_call_id=self._sip.sip_call_id,
            caller=self._order.caller,
            caller_name="",
            called=self._order.called,
            source_address=self._media.address if self._media is not None else "",
        )
        leg = CallLeg(self._services, self._sip, call, port, PlacedCall(self._order, self._link))
        if self._media is not None:
            leg.on_media(self._media)
        leg.on_confirmed()
        return leg

    async def _refuse(self, code: int, reason: str) -> None:
        self._log.info("call_not_answered", code=code, reason=clean_peer_text(reason))
        self._link.send(Result(request=self._order.request, ok=False, code=code, reason=reason))
        await self._link.close()

    # ------------------------------------------------------------------ LegEvents

    def on_media(self, media: NegotiatedMedia) -> None:
        """See ``LegEvents``."""
        self._media = media

    def on_progress(self, code: int, reason: str) -> None:
        """It rings."""
        self._log.info("call_ringing", code=code, reason=reason)

    def on_confirmed(self) -> None:
        """See ``LegEvents``."""
        if not self._settled.done():
            self._settled.set_result(None)

    def on_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """Nobody listens yet."""

    def on_transfer_progress(self, code: int, reason: str, *, final: bool) -> None:
        """Nobody was referred yet."""

    def on_ended(self, end: LegEnd) -> None:
        """See ``LegEvents``."""
        if not self._settled.done():
            self._settled.set_result(end)
