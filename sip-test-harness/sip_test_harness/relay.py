"""A relay that impairs the media of callers we do not control (sipp, baresip, telephones).

    caller ──SIP──▶ [near] relay [far] ──SIP──▶ bot
    caller ──RTP──▶ [near] fate  [far] ──RTP──▶ bot        and back

Callers dial the relay. It passes SIP on with its own Via, and writes its own addresses into
Contact and SDP, so that every later request and all media come through it.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

from sip_test_harness import g711, sdp
from sip_test_harness.clock import NS_PER_MS
from sip_test_harness.errors import HarnessError, SyntaxRefusedError, UsageError
from sip_test_harness.impairment import ImpairedPacket, Impairment
from sip_test_harness.pacer import Pacer, acquire_pacer, release_pacer
from sip_test_harness.rtp_packet import parse_rtp
from sip_test_harness.rtp_statistics import (
    ReceivedPacket,
    Spread,
    measure_stream,
    split_by_ssrc,
)
from sip_test_harness.sip_message import (
    SipMessage,
    SipRequest,
    SipResponse,
    address_uri,
    canonical,
    parse,
    parse_uri,
    response_to,
)
from sip_test_harness.udp import Address, Capture, NetworkGuard, UdpSocket, open_rtp_pair, resolve

if TYPE_CHECKING:
    from types import TracebackType

    from sip_test_harness.profile import Profile

MAX_CALLS: Final = 200
_AFTER_BYE_S: Final = 3.0


@dataclass
class RelayedStream:
    """The packets of one direction: as they came, and as they were sent on."""

    impairment: Impairment
    arrived: list[ReceivedPacket] = field(default_factory=list)
    forwarded: list[ReceivedPacket] = field(default_factory=list)
    lost: int = 0
    lateness_ms: list[float] = field(default_factory=list)


class RelayedCall:
    """One call through the relay: two RTP port pairs and what passed between them."""

    def __init__(self, relay: Relay, call_id: str, near: Address, seed: int) -> None:
        self.call_id = call_id
        self.near_sip = near
        self.far_sip = relay.target
        self.near_contact = ""
        self.far_contact = ""
        self.near_media: Address | None = None
        self.far_media: Address | None = None
        self.event_type: int | None = 101
        self.ended = False
        way_out, way_in = relay.profile.build(seed)
        self.out = RelayedStream(way_out)
        self.back = RelayedStream(way_in)
        self._pacer: Pacer = relay.pacer
        self._closed = False
        host = relay.near.address[0]
        self._near_rtp, self._near_rtcp = open_rtp_pair(
            host, self._from_caller, self._rtcp_from_caller, relay.guard
        )
        self._far_rtp, self._far_rtcp = open_rtp_pair(
            host, self._from_bot, self._rtcp_from_bot, relay.guard
        )
        for socket in (self._near_rtp, self._near_rtcp, self._far_rtp, self._far_rtcp):
            socket.start()

    def media_towards(self, *, bot: bool) -> Address:
        """Return the RTP address that the bot (or the caller) is told to send to."""
        return self._far_rtp.address if bot else self._near_rtp.address

    def close(self) -> None:
        """Close the ports; harmless when repeated."""
        self._closed = True
        for socket in (self._near_rtp, self._near_rtcp, self._far_rtp, self._far_rtcp):
            socket.close()

    def _from_caller(self, data: bytes, _source: Address, arrival_ns: int) -> None:
        self._pass(self.out, data, arrival_ns, bot=True)

    def _from_bot(self, data: bytes, _source: Address, arrival_ns: int) -> None:
        self._pass(self.back, data, arrival_ns, bot=False)

    def _pass(self, stream: RelayedStream, data: bytes, arrival_ns: int, *, bot: bool) -> None:
        try:
            packet = parse_rtp(data)
        except SyntaxRefusedError:
            self._send(data, bot=bot)
            return
        level = (
            g711.level_dbfs(packet.payload, packet.payload_type)
            if packet.payload_type in g711.SILENCE_BYTE
            else None
        )
        item = ReceivedPacket(arrival_ns, packet, level)
        stream.arrived.append(item)
        delays = stream.impairment.fate(
            ImpairedPacket.of(packet, self.event_type), arrival_ns / NS_PER_MS
        )
        stream.lost += not delays
        for delay_ms in delays:
            due_ns = arrival_ns + round(delay_ms * NS_PER_MS)
            send = functools.partial(self._forward, stream, item, data, bot)
            if delay_ms <= 0:
                send(due_ns)
            else:
                self._pacer.call_at(due_ns, send)

    def _forward(
        self, stream: RelayedStream, item: ReceivedPacket, data: bytes, bot: bool, due_ns: int
    ) -> None:
        if self._closed:
            return
        sent_ns = self._send(data, bot=bot)
        if sent_ns:
            stream.lateness_ms.append((sent_ns - due_ns) / NS_PER_MS)
            stream.forwarded.append(ReceivedPacket(sent_ns, item.packet, item.level_dbfs))

    def _send(self, data: bytes, *, bot: bool) -> int:
        socket = self._far_rtp if bot else self._near_rtp
        destination = self.far_media if bot else self.near_media
        return socket.send(data, destination) if destination else 0

    def _rtcp_from_caller(self, data: bytes, _source: Address, _arrival_ns: int) -> None:
        if self.far_media:
            self._far_rtcp.send(data, (self.far_media[0], self.far_media[1] + 1))

    def _rtcp_from_bot(self, data: bytes, _source: Address, _arrival_ns: int) -> None:
        if self.near_media:
            self._near_rtcp.send(data, (self.near_media[0], self.near_media[1] + 1))


class Relay:
    """The relay; calls are kept in ``calls`` for measuring.

    ::

        async with Relay("sip:bank@127.0.0.1:5060", load_profile("mobile"), seed=3) as relay:
            ...  # let sipp call relay.uri

    Args:
        target: the bot.
        profile: what happens to the media; call n uses seed + n.
        seed: start of every random choice.
        host: local address.
        port: SIP port for callers, 0 for any.
        allow_network: permit peers outside 127.0.0.0/8.
        realtime: ask for real-time priority of the sending thread.
    """

    def __init__(
        self,
        target: str,
        profile: Profile,
        *,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_network: bool = False,
        realtime: bool = True,
    ) -> None:
        try:
            uri = parse_uri(target)
        except SyntaxRefusedError as error:
            raise UsageError(str(error)) from error
        self.user = uri.user
        self.target: Address = (resolve(uri.host), uri.port)
        self.profile = profile
        self.seed = seed
        self.guard = NetworkGuard(allow_network)
        self.guard.check(self.target[0])
        self.capture = Capture()
        self.calls: dict[str, RelayedCall] = {}
        self.refused = 0
        self.malformed = 0
        self._host = host
        self._port = port
        self._realtime = realtime
        self._branches: dict[str, Address] = {}

    async def __aenter__(self) -> Self:
        """Open both SIP ports."""
        self.near = UdpSocket(self._host, self._port, self._from_near, self.guard, self.capture)
        self.far = UdpSocket(self._host, 0, self._from_far, self.guard, self.capture)
        self.pacer = acquire_pacer(realtime=self._realtime)
        self.near.start()
        self.far.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        for call in self.calls.values():
            call.close()
        release_pacer()
        self.near.close()
        self.far.close()

    @property
    def uri(self) -> str:
        """What callers dial instead of the bot."""
        user = f"{self.user}@" if self.user else ""
        return f"sip:{user}{self.near.address[0]}:{self.near.address[1]}"

    def lateness(self) -> Spread:
        """How late the relay sent packets, over all calls."""
        return Spread.of(
            [
                late
                for call in self.calls.values()
                for stream in (call.out, call.back)
                for late in stream.lateness_ms
            ]
        )

    def _from_near(self, data: bytes, source: Address, _arrival_ns: int) -> None:
        self._relay(data, source, bot=True)

    def _from_far(self, data: bytes, source: Address, _arrival_ns: int) -> None:
        self._relay(data, source, bot=False)

    def _relay(self, data: bytes, source: Address, *, bot: bool) -> None:
        if not data.strip(b"\r\n\0"):
            return
        try:
            message = parse(data)
        except SyntaxRefusedError:
            self.malformed += 1
            return
        try:
            if isinstance(message, SipRequest):
                self._request(message, source, bot=bot)
            else:
                self._response(message, bot=bot)
        except HarnessError:
            # An address outside loopback, or SDP that cannot be rewritten: not passed on.
            self.refused += 1

    def _request(self, request: SipRequest, source: Address, *, bot: bool) -> None:
        call = self.calls.get(request.call_id)
        if call is None:
            if not bot or request.method not in {"INVITE", "OPTIONS"}:
                return
            if len(self.calls) >= MAX_CALLS:
                self.refused += 1
                busy = response_to(request, 503, "Service Unavailable", to_tag="relay")
                self.near.send(busy.encode(), source)
                return
            if request.method == "INVITE":
                call = RelayedCall(self, request.call_id, source, self.seed + len(self.calls))
                self.calls[request.call_id] = call
        out = self.far if bot else self.near
        if call is None:
            destination, contact = self.target, ""
        elif bot:
            call.near_sip = source
            destination, contact = call.far_sip, call.far_contact
        else:
            destination, contact = call.near_sip, call.near_contact
        if request.to_tag and contact:
            request.uri = contact
            uri = parse_uri(contact)
            destination = (resolve(uri.host), uri.port)
        elif bot:
            request.uri = f"sip:{self.user}@{self.target[0]}:{self.target[1]}"
        if call is not None:
            self._rewrite(call, request, bot=bot)
            if request.method == "BYE" and not call.ended:
                call.ended = True
                asyncio.get_running_loop().call_later(_AFTER_BYE_S, call.close)
        branch = self._branch(request, bot=bot)
        self._branches[branch] = source
        via = f"SIP/2.0/UDP {out.address[0]}:{out.address[1]};rport;branch={branch}"
        request.headers.insert(0, ("Via", via))
        out.send(request.encode(), destination)

    @staticmethod
    def _branch(request: SipRequest, *, bot: bool) -> str:
        # A repetition, a CANCEL and the ACK of a refusal must get the same branch again.
        digest = hashlib.sha256(f"{request.branch}|{request.call_id}|{bot}".encode()).hexdigest()
        return f"z9hG4bK{digest[:24]}"

    def _response(self, response: SipResponse, *, bot: bool) -> None:
        """Pass a response back; ``bot`` says that it came from the caller."""
        destination = self._branches.get(response.branch)
        if destination is None:
            return
        vias = response.listed("via")[1:]
        response.headers = [
            *(("Via", via) for via in vias),
            *(header for header in response.headers if canonical(header[0]) != "via"),
        ]
        call = self.calls.get(response.call_id)
        if call is not None:
            self._rewrite(call, response, bot=bot)
        (self.far if bot else self.near).send(response.encode(), destination)

    def _rewrite(self, call: RelayedCall, message: SipMessage, *, bot: bool) -> None:
        """Put the relay's addresses into Contact and SDP; ``bot``: the message goes to the bot."""
        side = self.far if bot else self.near
        headers = []
        for name, value in message.headers:
            if canonical(name) == "contact" and "sip:" in value:
                contact = address_uri(value)
                if bot:
                    call.near_contact = contact
                else:
                    call.far_contact = contact
                user = re.search(r"sip:([^@]*)@", contact)
                own = f"{user.group(1)}@" if user else ""
                value = f"<sip:{own}{side.address[0]}:{side.address[1]}>"  # noqa: PLW2901 - the header's new value
            headers.append((name, value))
        if message.body and "sdp" in message.get("content-type"):
            described = sdp.parse(message.body)
            if described.host != "0.0.0.0":  # noqa: S104 - the hold address, nothing is bound
                self.guard.check(described.host)
                if bot:
                    call.near_media = (described.host, described.port)
                else:
                    call.far_media = (described.host, described.port)
            call.event_type = described.telephone_event or call.event_type
            message.body = rewrite_sdp(message.body, call.media_towards(bot=bot))
            headers = [header for header in headers if canonical(header[0]) != "content-length"]
        message.headers = headers


def rewrite_sdp(body: bytes, media: Address) -> bytes:
    """Return an SDP body whose audio comes to ``media``; a hold address is kept."""
    text = body.decode("utf-8", "surrogateescape")
    text = re.sub(r"(?m)^(m=audio )[1-9]\d*", rf"\g<1>{media[1]}", text, count=1)
    text = re.sub(r"(?m)^(c=IN IP4 )(?!0\.0\.0\.0)\S+", rf"\g<1>{media[0]}", text)
    text = re.sub(r"(?m)^a=rtcp:[^\r\n]*\r?\n", "", text)
    return text.encode("utf-8", "surrogateescape")


def relay_report(relay: Relay) -> dict[str, object]:
    """Return what passed through the relay, for a JSON file."""

    def direction(stream: RelayedStream) -> dict[str, object]:
        ordered = sorted(stream.forwarded, key=lambda item: item.arrival_ns)
        return {
            "arrived": len(stream.arrived),
            "lost_by_profile": stream.lost,
            "streams": [asdict(measure_stream(items)) for items in split_by_ssrc(ordered).values()],
        }

    return {
        "profile": relay.profile.name,
        "seed": relay.seed,
        "refused": relay.refused,
        "malformed": relay.malformed,
        "lateness": asdict(relay.lateness()),
        "calls": [
            {
                "call_id": call.call_id,
                "ended": call.ended,
                "out": direction(call.out),
                "in": direction(call.back),
            }
            for call in relay.calls.values()
        ],
    }
