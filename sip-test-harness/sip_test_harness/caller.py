"""The calling party: one scripted call by real SIP and RTP."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sip_test_harness.clock import now_ns
from sip_test_harness.errors import CallFailedError, HarnessError, SyntaxRefusedError, UsageError
from sip_test_harness.leg import Leg
from sip_test_harness.leg_options import LegOptions
from sip_test_harness.measures import CallMeasures, measure_call
from sip_test_harness.sip_digest import Credentials, answer_challenge
from sip_test_harness.sip_endpoint import SipEndpoint
from sip_test_harness.sip_message import (
    Header,
    SipRequest,
    SipResponse,
    parse_uri,
    response_to,
)
from sip_test_harness.udp import Address, Capture, NetworkGuard, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sip_test_harness.sip_endpoint import ClientTransaction


@dataclass
class CallerOptions(LegOptions):
    """How the caller behaves.

    Args:
        host: local address of SIP and RTP.
        port: local SIP port, 0 for any.
        user: user part of From.
        display_name: display name of From.
        headers: further headers of the INVITE.
        credentials: answers digest challenges.
        allow_network: permit destinations outside 127.0.0.0/8.
        limit_s: the call is hung up after this time, whatever happens.
        seed: start of every random choice; stated in the report.
        profile: name of the impairment, for the report.
    """

    host: str = "127.0.0.1"
    port: int = 0
    user: str = "caller"
    display_name: str = ""
    headers: Sequence[Header] = ()
    credentials: Credentials | None = None
    allow_network: bool = False
    limit_s: float = 120.0
    seed: int = 1
    profile: str = "none"


@dataclass
class InviteTimes:
    """When the answer to the INVITE came, monotonic ns."""

    sent_ns: int = 0
    trying_ns: int | None = None
    ringing_ns: int | None = None
    final_ns: int | None = None
    provisional: list[int] = field(default_factory=list)


class Caller(Leg):
    """A scripted caller.

    ::

        async with Caller("sip:bank@127.0.0.1:5060") as call:
            await call.invite()
            await call.wait_bot_silent()
            await call.say(read_wav(path))
            await call.hang_up()
        print(call.measures().greeting_ms)

    Args:
        target: the bot's SIP address.
        options: behaviour, media and limits.
    """

    def __init__(self, target: str, options: CallerOptions | None = None) -> None:
        self.caller_options = options or CallerOptions()
        try:
            self.target = parse_uri(target)
        except SyntaxRefusedError as error:
            raise UsageError(str(error)) from error
        self.times = InviteTimes()
        self.final_response: SipResponse | None = None
        self._ack = b""
        self._invite: ClientTransaction | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._limit_ns = 0
        self._open = False

    async def __aenter__(self) -> Self:
        """Open the ports; nothing is sent yet."""
        options = self.caller_options
        guard = NetworkGuard(options.allow_network)
        capture = Capture()
        self._destination: Address = (resolve(self.target.host), self.target.port)
        guard.check(self._destination[0])
        endpoint = SipEndpoint(
            options.host,
            options.port,
            guard=guard,
            capture=capture,
            on_request=self._on_request,
        )
        endpoint.on_repeated_2xx = self._on_repeated_2xx
        try:
            super().__init__(
                endpoint,
                options,
                guard=guard,
                capture=capture,
                seed=options.seed,
                user=options.user,
            )
        except BaseException:
            endpoint.close()
            raise
        self._open = True
        host, port = endpoint.address
        display = f'"{options.display_name}" ' if options.display_name else ""
        self.call_id = f"{secrets.token_hex(8)}@{host}"
        self.local_address = f"{display}<sip:{options.user}@{host}:{port}>"
        self.remote_address = f"<{self.target}>"
        self.remote_target = str(self.target)
        self._limit_ns = now_ns() + round(options.limit_s * 1e9)
        self._limit = asyncio.get_running_loop().call_later(options.limit_s, self._on_limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up when needed and close the ports."""
        if not self._open:
            return
        self._open = False
        if self._limit is not None:
            self._limit.cancel()
        if self.state in {"calling", "early"}:
            await self._abandon("closed before the answer")
        await self.close()
        self.endpoint.close()

    async def invite(
        self,
        *,
        late_offer: bool = False,
        headers: Sequence[Header] = (),
        body: bytes | None = None,
        timeout_s: float = 32.0,
    ) -> SipResponse:
        """Call and return the 2xx, acknowledged.

        Args:
            late_offer: send no SDP and answer the bot's offer in the ACK.
            headers: headers of this INVITE beside those of the options.
            body: an SDP body of the test's own instead of the caller's.
            timeout_s: limit until the final response; then CANCEL.

        Raises:
            CallFailedError: refused, or not answered in time.
        """
        if self.state != "idle":
            raise UsageError("this caller has called already; one Caller makes one call")
        offer = b"" if late_offer else body if body is not None else self._local_sdp()
        extra = [*self.caller_options.headers, *headers]
        self.state = "calling"
        response = await self._invite_once(extra, offer, timeout_s)
        credentials = self.caller_options.credentials
        if response.status in {401, 407} and credentials is not None:
            extra.append(self._authorization(response, credentials))
            self.remote_address = f"<{self.target}>"
            response = await self._invite_once(extra, offer, timeout_s)
        self.final_response = response
        if response.status >= 300:
            self._ended("bot", f"{response.status} {response.reason}")
            raise CallFailedError(response.status, response.reason)
        self._confirm(response, late_offer=late_offer)
        return response

    async def cancel(self) -> SipResponse | None:
        """Send CANCEL for the running INVITE and return its response.

        The INVITE itself then ends with 487 (``invite`` raises CallFailedError).
        """
        invite = self._invite
        if invite is None or self.state not in {"calling", "early"}:
            return None
        original = invite.request
        request = SipRequest(
            method="CANCEL",
            uri=original.uri,
            headers=[
                ("Via", original.get("via")),
                ("Max-Forwards", "70"),
                ("From", original.get("from")),
                ("To", original.get("to")),
                ("Call-ID", original.call_id),
                ("CSeq", f"{original.cseq[0]} CANCEL"),
            ],
        )
        self.note("CANCEL")
        answer = await self.endpoint.request(request, invite.destination).final(timeout_s=4.0)
        return answer.response if answer else None

    def measures(self) -> CallMeasures:
        """Measure the call so far; complete after the call has ended."""
        return measure_call(self)

    # --- inside -------------------------------------------------------------------------------

    async def _invite_once(
        self, headers: Sequence[Header], offer: bytes, timeout_s: float
    ) -> SipResponse:
        self.cseq += 1
        request = self._build("INVITE", headers, offer, cseq=self.cseq)
        self._invite = transaction = self.endpoint.request(request, self._destination)
        if not self.times.sent_ns:
            self.times.sent_ns = transaction.sent_ns
        self.note("INVITE", str(self.target))
        end_ns = min(now_ns() + round(timeout_s * 1e9), self._limit_ns)
        while True:
            try:
                async with asyncio.timeout(max(0.0, (end_ns - now_ns()) / 1e9)):
                    item = await transaction.responses.get()
            except TimeoutError:
                await self._abandon("not answered in time")
                raise CallFailedError(0, self.end_reason) from None
            if item is None:
                self._ended("bot", "no response to INVITE")
                raise CallFailedError(0, self.end_reason)
            response = item.response
            if response.status >= 200:
                self.times.final_ns = item.arrival_ns
                self.note("response", f"{response.status} {response.reason}")
                return response
            self.state = "early"
            self._on_provisional(response, item.arrival_ns)

    async def _abandon(self, reason: str) -> None:
        """CANCEL the INVITE; a 200 that crossed the CANCEL is acknowledged and hung up."""
        invite = self._invite
        await self.cancel()
        item = await invite.final(timeout_s=1.0) if invite is not None else None
        if item is not None and item.response.status < 300:
            response = item.response
            self.remote_address = response.get("to")
            self.route_set = list(reversed(response.listed("record-route")))
            self.remote_target = response.contact_uri or self.remote_target
            self._ack = self._send_ack(response.cseq[0])
            await self._request("BYE").final(timeout_s=2.0)
        self._ended("harness", reason)

    def _on_provisional(self, response: SipResponse, arrival_ns: int) -> None:
        self.times.provisional.append(response.status)
        if response.status == 100:
            self.times.trying_ns = self.times.trying_ns or arrival_ns
            return
        self.times.ringing_ns = self.times.ringing_ns or arrival_ns
        self.note("response", f"{response.status} {response.reason}")
        if response.body:
            self._apply(response.body)

    def _confirm(self, response: SipResponse, *, late_offer: bool) -> None:
        self.remote_address = response.get("to")
        self.route_set = list(reversed(response.listed("record-route")))
        self.remote_target = response.contact_uri or self.remote_target
        answer = b""
        try:
            if response.body:
                offered = self._apply(response.body)
                if late_offer:
                    answer = self._local_sdp(
                        direction="sendrecv" if offered.direction == "sendrecv" else "recvonly"
                    )
        except HarnessError as error:
            self._ack = self._send_ack(response.cseq[0])
            self.state = "confirmed"
            self.note("answer refused", str(error))
            raise
        self._ack = self._send_ack(response.cseq[0], answer)
        self.state = "confirmed"
        self.answered_ns = self.times.final_ns

    def _authorization(self, response: SipResponse, credentials: Credentials) -> Header:
        proxy = response.status == 407
        challenge = response.get("proxy-authenticate" if proxy else "www-authenticate")
        value = answer_challenge(challenge, credentials, "INVITE", self.remote_target)
        return ("Proxy-Authorization" if proxy else "Authorization", value)

    def _on_request(self, request: SipRequest, source: Address, arrival_ns: int) -> None:
        if request.call_id != self.call_id and request.method != "OPTIONS":
            refusal = response_to(request, 481, "Call/Transaction Does Not Exist")
            if request.method != "ACK":
                self.endpoint.respond(request, source, refusal)
            return
        self.handle_request(request, source, arrival_ns)

    def _on_repeated_2xx(self, _response: SipResponse) -> None:
        if self._ack:
            self.endpoint.send_raw(self._ack, self._next_hop())

    def _on_limit(self) -> None:
        if self.state in {"calling", "early"}:
            return  # the INVITE has the same limit and is cancelled by it
        if self.state == "confirmed":
            self._request("BYE")
        self._ended("harness", f"limit of {self.caller_options.limit_s:g} s reached")
