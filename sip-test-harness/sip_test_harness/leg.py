"""One dialog and its media: what a calling and a called party share (RFC 3261 section 12).

idle ──INVITE──▶ calling ──1xx──▶ early ──2xx/ACK──▶ confirmed ──BYE──▶ ended
                    └────────── refusal, CANCEL, no answer ───────────▶ ended
"""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import TYPE_CHECKING

from sip_test_harness import sdp
from sip_test_harness.errors import (
    CallFailedError,
    NetworkRefusedError,
    SyntaxRefusedError,
)
from sip_test_harness.g711 import PCMA, PCMU
from sip_test_harness.leg_options import ALLOW, LegOptions, Refer
from sip_test_harness.media import MediaSession
from sip_test_harness.sip_message import (
    Header,
    SipMessage,
    SipRequest,
    SipResponse,
    address_uri,
    parse_uri,
    response_to,
)
from sip_test_harness.talking import Talking
from sip_test_harness.telephone_event import digit_of_info
from sip_test_harness.udp import Address, Capture, NetworkGuard, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_test_harness.sip_endpoint import ClientTransaction, SipEndpoint


class Leg(Talking):
    """A party of one call; use ``Caller`` or ``ScriptedAgent``.

    Args:
        endpoint: the SIP port it speaks through.
        options: behaviour and media.
        guard: decides where packets may go.
        capture: records every datagram.
        seed: start of every random choice of the media.
        user: user part of its own address.
    """

    def __init__(
        self,
        endpoint: SipEndpoint,
        options: LegOptions,
        *,
        guard: NetworkGuard,
        capture: Capture,
        seed: int,
        user: str,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.options = options
        self.guard = guard
        self.capture = capture
        self.user = user
        self.answered_ns: int | None = None
        self.call_id = ""
        self.local_tag = secrets.token_hex(6)
        self.local_address = ""
        self.remote_address = ""
        self.remote_target = ""
        self.route_set: list[str] = []
        self.cseq = random.Random(seed).randrange(1, 10_000)
        self.refers: list[Refer] = []
        self.info_digits: list[str] = []
        self.requests: list[SipRequest] = []
        self.bye: SipMessage | None = None
        self.remote_sdp: sdp.AudioDescription | None = None
        self._direction = "sendrecv"
        self._sdp_version = 0
        self._session_id = random.Random(seed).randrange(1, 1 << 31)
        self._tasks: set[asyncio.Task[None]] = set()
        self.media = MediaSession(
            endpoint.address[0],
            options.media,
            guard=guard,
            capture=capture,
            seed=seed,
            on_change=self._changed.set,
        )

    async def hang_up(self, headers: Sequence[Header] = ()) -> SipResponse | None:
        """Send BYE and return its final response, None when there was none."""
        if self.state != "confirmed":
            return None
        self._ended("harness", "BYE sent")
        response = await self._request("BYE", list(headers)).final(timeout_s=4.0)
        return response.response if response else None

    async def hold(self, direction: str = "sendonly", *, zero_address: bool = False) -> int:
        """Re-INVITE with another direction; returns the final status.

        Args:
            direction: ``sendonly`` (music on hold), ``inactive``, ``recvonly`` or ``sendrecv``.
            zero_address: the old way of RFC 2543, ``c=0.0.0.0``.
        """
        self._direction = direction
        host = "0.0.0.0" if zero_address else None  # noqa: S104 - an SDP value, nothing is bound
        body = self._local_sdp(host=host)
        response = await self._reinvite(body)
        self.media.paused = direction in {"inactive", "recvonly"} or zero_address
        return response

    async def resume(self) -> int:
        """Re-INVITE back to sending and receiving; returns the final status."""
        self._direction = "sendrecv"
        response = await self._reinvite(self._local_sdp())
        self.media.paused = False
        return response

    async def send_request(
        self,
        method: str,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        *,
        timeout_s: float = 8.0,
    ) -> SipResponse | None:
        """Send any request in the dialog and return its final response, None without one."""
        answer = await self._request(method, list(headers), body).final(timeout_s)
        return answer.response if answer else None

    async def close(self) -> None:
        """Hang up when still connected, stop everything of this call."""
        if self.state == "confirmed":
            await self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.media.close()
        self._ended("harness", "closed")

    # --- SIP ----------------------------------------------------------------------------------

    def _next_hop(self) -> Address:
        uri = parse_uri(address_uri(self.route_set[0]) if self.route_set else self.remote_target)
        return (resolve(uri.host), uri.port)

    @property
    def contact(self) -> str:
        """The own Contact value."""
        host, port = self.endpoint.address
        return f"<sip:{self.user}@{host}:{port}>"

    def _build(self, method: str, headers: Sequence[Header], body: bytes, *, cseq: int) -> SipRequest:
        request = SipRequest(
            method=method,
            uri=self.remote_target,
            body=body,
            headers=[
                ("Via", self.endpoint.via),
                ("Max-Forwards", "70"),
                ("From", f"{self.local_address};tag={self.local_tag}"),
                ("To", self.remote_address),
                ("Call-ID", self.call_id),
                ("CSeq", f"{cseq} {method}"),
                ("Contact", self.contact),
                *[("Route", route) for route in self.route_set],
                ("User-Agent", self.options.user_agent),
                *headers,
            ],
        )
        if method == "INVITE":
            request.headers.append(("Allow", ALLOW))
        if body and not request.get("content-type"):
            request.headers.append(("Content-Type", "application/sdp"))
        return request

    def _request(
        self, method: str, headers: Sequence[Header] = (), body: bytes = b""
    ) -> ClientTransaction:
        self.cseq += 1
        request = self._build(method, headers, body, cseq=self.cseq)
        return self.endpoint.request(request, self._next_hop())

    def _send_ack(self, cseq: int, body: bytes = b"") -> bytes:
        ack = self._build("ACK", (), body, cseq=cseq).encode()
        self.endpoint.send_raw(ack, self._next_hop())
        return ack

    async def _reinvite(self, body: bytes) -> int:
        answer = await self._request("INVITE", (), body).final(timeout_s=10.0)
        if answer is None:
            raise CallFailedError(0, "re-INVITE was not answered")
        response = answer.response
        if response.status < 300:
            self._send_ack(response.cseq[0])
            if response.body:
                self._apply(response.body)
        self.note("re-INVITE", f"{response.status} {response.reason}")
        return response.status

    def _local_sdp(self, *, host: str | None = None, direction: str | None = None) -> bytes:
        self._sdp_version += 1
        first = self.options.media.codec
        agreed = self.media.stream.payload_type if self.media.stream else None
        types = (agreed,) if agreed is not None else (first, PCMA if first == PCMU else PCMU)
        description = sdp.AudioDescription(
            host=host or self.media.address[0],
            port=self.media.address[1],
            payload_types=types,
            telephone_event=self.media.event_type,
            direction=direction or self._direction,
            ptime_ms=self.options.media.ptime_ms,
        )
        return description.build(self._session_id, self._sdp_version)

    def _apply(self, body: bytes) -> sdp.AudioDescription:
        """Take the far end's SDP: send there from now on.

        Raises:
            SyntaxRefusedError: not SDP, or no codec in common.
            NetworkRefusedError: it asks for RTP outside 127.0.0.0/8.
        """
        description = sdp.parse(body)
        self.remote_sdp = description
        usable = [pt for pt in description.payload_types if pt in {PCMU, PCMA}]
        if not usable or description.port == 0:
            raise SyntaxRefusedError("no codec in common (PCMU, PCMA)")
        self.media.event_type = description.telephone_event
        if not description.on_hold and description.direction != "recvonly":
            self.media.paused = False
        if description.host != "0.0.0.0":  # noqa: S104 - the hold address, nothing is bound
            self.guard.check(description.host)
            self.media.connect(
                (description.host, description.port), usable[0], description.telephone_event
            )
        return description

    def handle_request(self, request: SipRequest, source: Address, arrival_ns: int) -> None:
        """Answer a request of the far end within this dialog."""
        self.requests.append(request)
        method = request.method
        if method == "ACK":
            if request.body:
                try:
                    self._apply(request.body)
                except (SyntaxRefusedError, NetworkRefusedError) as error:
                    self.note("answer refused", str(error))
            self._changed.set()
            return
        status, reason, headers, body = 200, "OK", [("Contact", self.contact)], b""
        if self.state == "ended" and method != "BYE":
            status, reason = 481, "Call/Transaction Does Not Exist"
        elif method == "BYE":
            self.bye = request
        elif method in {"INVITE", "UPDATE"}:
            status, reason, body = self._answer_offer(request)
            if body:
                headers.append(("Content-Type", "application/sdp"))
        elif method == "INFO":
            digit = digit_of_info(request.get("content-type"), request.body)
            if digit is not None:
                self.info_digits.append(digit)
        elif method == "REFER":
            status, reason = (202, "Accepted") if self.options.refer_status else (603, "Decline")
            self.refers.append(Refer(request.get("refer-to"), arrival_ns, tuple(request.headers)))
        elif method == "OPTIONS":
            headers.append(("Allow", ALLOW))
        elif method not in {"NOTIFY", "MESSAGE"}:
            status, reason = 405, "Method Not Allowed"
            headers.append(("Allow", ALLOW))
        self.endpoint.respond(
            request,
            source,
            response_to(request, status, reason, to_tag=self.local_tag, headers=headers, body=body),
        )
        self.note(method, self._describe(request))
        if method == "BYE":
            self._ended("bot", request.get("reason") or "BYE received")
        elif method == "REFER" and status == 202:
            self._spawn_notify()
        self._changed.set()

    def _describe(self, request: SipRequest) -> str:
        if request.method == "REFER":
            return request.get("refer-to")
        if request.method == "INFO" and self.info_digits:
            return self.info_digits[-1]
        return ""

    def _answer_offer(self, request: SipRequest) -> tuple[int, str, bytes]:
        if self.options.refuse_hold and request.method == "INVITE":
            return 488, "Not Acceptable Here", b""
        if not request.body:
            return 200, "OK", self._local_sdp() if request.method == "INVITE" else b""
        try:
            offered = self._apply(request.body)
        except (SyntaxRefusedError, NetworkRefusedError) as error:
            self.note("offer refused", str(error))
            return 488, "Not Acceptable Here", b""
        direction = sdp.ANSWER_DIRECTION[offered.direction]
        self.media.paused = direction in {"recvonly", "inactive"}
        return 200, "OK", self._local_sdp(direction=direction)

    def _spawn_notify(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        """Tell how the referred call went (RFC 3515 section 2.4.5)."""
        reasons = {200: "OK", 486: "Busy Here", 480: "Temporarily Unavailable"}
        final = self.options.refer_status
        for status, reason, state in (
            (100, "Trying", "active;expires=60"),
            (final, reasons.get(final, "Result"), "terminated;reason=noresource"),
        ):
            if self.state != "confirmed":
                return
            await self.send_request(
                "NOTIFY",
                [
                    ("Event", "refer"),
                    ("Subscription-State", state),
                    ("Content-Type", "message/sipfrag;version=2.0"),
                ],
                f"SIP/2.0 {status} {reason}\r\n".encode(),
                timeout_s=2.0,
            )
            await asyncio.sleep(0.05)
