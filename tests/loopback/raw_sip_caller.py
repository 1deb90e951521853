"""A SIP caller made of two UDP sockets: every byte and every time is the test's choice.

It shares no code with the product. Requests of the far end land in ``requests``, responses in
``responses``, RTP packets in ``rtp``; the ``wait_*`` methods look through them.
"""

import asyncio
import contextlib
import re
import secrets
import socket
import struct
import time
from dataclasses import dataclass, field

TIMEOUT_S = 20.0  # a machine that tests may be slow; what is waited for comes at once on an idle one
SO_TIMESTAMPNS = 35


@dataclass
class SipMessage:
    first_line: str
    headers: list[tuple[str, str]]
    body: str
    at_s: float

    @property
    def code(self) -> int:
        return int(self.first_line.split(" ", 2)[1]) if self.first_line.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return "" if self.code else self.first_line.split(" ", 1)[0]

    def get(self, name: str) -> str:
        return next((v for n, v in self.headers if n.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]


def parse(datagram: bytes) -> SipMessage:
    text = datagram.decode("utf-8", "surrogateescape")
    head, _, body = text.partition("\r\n\r\n")
    lines = head.split("\r\n")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name.strip(), value.strip()))
    return SipMessage(lines[0], headers, body, time.monotonic())


@dataclass
class RtpReceived:
    at_s: float
    source: tuple[str, int]
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, on_datagram):
        self.on_datagram = on_datagram
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.on_datagram(data, addr)


async def open_udp(on_datagram, host="127.0.0.1", port=0):
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(on_datagram), local_addr=(host, port)
    )
    return protocol


@dataclass
class Caller:
    """One dialog; also takes calls (``wait_request("INVITE")`` and ``respond``)."""

    server: tuple[str, int]
    user: str = "bot"
    from_user: str = "alice"
    host: str = "127.0.0.1"
    payload_types: str = "0 8 101"
    event_payload_type: int = 101
    responses: list[SipMessage] = field(default_factory=list)
    requests: list[SipMessage] = field(default_factory=list)
    rtp: list[RtpReceived] = field(default_factory=list)
    rtcp: list[bytes] = field(default_factory=list)
    auto_ok: bool = True

    async def __aenter__(self):
        self._sip = await open_udp(self._on_sip, self.host)
        self.port = self._sip.transport.get_extra_info("sockname")[1]
        while True:
            self._rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._rtp.setblocking(False)
            self._rtp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._rtp.bind((self.host, 0))
            self.rtp_port = self._rtp.getsockname()[1]
            if self.rtp_port % 2 == 0:
                with contextlib.suppress(OSError):
                    self._rtcp = await open_udp(
                        lambda d, _a: self.rtcp.append(d), self.host, self.rtp_port + 1
                    )
                    break
            self._rtp.close()
        asyncio.get_running_loop().add_reader(self._rtp, self._read_rtp)
        # Never from `random`: pytest-randomly seeds that by the test's name, so a test that is tried again has the
        # same branches, and within 32 s its BYE is a repetition of the first one to the edge, which sends the old
        # answer to the old port (RFC 3261 section 17.2.3): "no final response to BYE".
        self.call_id = f"{secrets.randbits(64):x}@test"
        self.tag = f"{secrets.randbits(32):x}"
        self.to_tag = ""
        self.routes = []  # through which proxies the dialog goes
        self.cseq = 0
        self.branch = ""
        self.invite_branch = ""
        self.invite_cseq = 0
        self.target = f"sip:{self.user}@{self.server[0]}:{self.server[1]}"
        self.ssrc = secrets.randbits(32)
        self.seq = secrets.randbits(15)
        self.ts = secrets.randbits(31)
        self.media = None
        self.changed = asyncio.Event()
        self.over = False
        return self

    async def __aexit__(self, *_):
        if self.to_tag and not self.over:
            self.request("BYE")  # a test that failed must not leave a call to the next one
            await asyncio.sleep(0)
        asyncio.get_running_loop().remove_reader(self._rtp)
        self._rtp.close()
        for udp in (self._sip, self._rtcp):
            udp.transport.close()

    # ------------------------------------------------------------------ SIP out

    def sdp(self, *, direction="sendrecv", address=None, port=None, payload_types=None, extra="") -> str:
        event = self.event_payload_type
        return (
            f"v=0\r\no=- {self.port} {self.cseq + 1} IN IP4 {self.host}\r\ns=-\r\n"
            f"c=IN IP4 {address or self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp_port if port is None else port} RTP/AVP {payload_types or self.payload_types}\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
            f"a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-16\r\n"
            f"a=ptime:20\r\na={direction}\r\n{extra}"
        )

    def request(
        self, method, body="", headers=(), *, content_type="application/sdp", cseq=None, branch=None
    ):
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        self.branch = branch or f"z9hG4bK{secrets.randbits(48):x}"
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};rport;branch={self.branch}",
            "Max-Forwards: 70",
            f"From: <sip:{self.from_user}@{self.host}>;tag={self.tag}",
            f"To: <sip:{self.user}@{self.server[0]}>{tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.from_user}@{self.host}:{self.port}>",
            *(f"Route: {route}" for route in self.routes),
            *headers,
        ]
        if body:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"Content-Length: {len(body.encode())}", "", body]
        datagram = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        self.send_raw(datagram)
        return datagram

    def send_raw(self, datagram: bytes):
        self._sip.transport.sendto(datagram, self.server)

    def invite(self, body=None, headers=()):
        self.invite_at_s = time.monotonic()
        self.sent_invite = self.request("INVITE", self.sdp() if body is None else body, headers)
        self.invite_branch, self.invite_cseq = self.branch, self.cseq

    def ack(self, body=""):
        self.request("ACK", body, cseq=self.invite_cseq)

    def cancel(self):
        self.request("CANCEL", cseq=self.invite_cseq, branch=self.invite_branch)

    def respond(self, request: SipMessage, code=200, reason="OK", body="", headers=()):
        to = request.get("To")
        if "tag=" not in to:
            to += f";tag={self.tag}"
        lines = [f"SIP/2.0 {code} {reason}"]
        lines += [f"Via: {v}" for v in request.all("Via")]
        lines += [
            f"From: {request.get('From')}",
            f"To: {to}",
            f"Call-ID: {request.get('Call-ID')}",
            f"CSeq: {request.get('CSeq')}",
            f"Contact: <sip:{self.from_user}@{self.host}:{self.port}>",
            *headers,
        ]
        if body:
            lines.append("Content-Type: application/sdp")
            self._learn_media(request.body)
        lines += [f"Content-Length: {len(body)}", "", body]
        self.send_raw("\r\n".join(lines).encode())

    # ------------------------------------------------------------------ SIP in

    def _on_sip(self, datagram, _address):
        message = parse(datagram)
        if message.code:
            self.responses.append(message)
            if message.code > 100 and message.get("Call-ID") == self.call_id:
                found = re.search(r"tag=([^;]+)", message.get("To"))
                if found and message.code < 300:
                    self.to_tag = found[1]
                contact = re.search(r"<([^>]+)>", message.get("Contact"))
                if contact and message.code < 300:
                    self.target = contact[1]
                if message.code < 300 and message.get("CSeq").endswith("INVITE"):
                    self.routes = message.all("Record-Route")[::-1]
                if message.body:
                    self._learn_media(message.body)
            if message.code >= 300 and message.get("CSeq").endswith("INVITE"):
                self.ack_failure(message)
        else:
            self.requests.append(message)
            self.over = self.over or message.method == "BYE"
            if self.auto_ok and message.method not in ("INVITE", "ACK"):
                self.respond(message)
        self.changed.set()

    def ack_failure(self, response: SipMessage):
        lines = [
            f"ACK {self.target} SIP/2.0",
            f"Via: {response.get('Via')}",
            f"From: {response.get('From')}",
            f"To: {response.get('To')}",
            f"Call-ID: {response.get('Call-ID')}",
            f"CSeq: {response.get('CSeq').split(' ', 1)[0]} ACK",
            "Content-Length: 0",
            "",
            "",
        ]
        self.send_raw("\r\n".join(lines).encode("utf-8", "surrogateescape"))

    def _learn_media(self, sdp: str):
        port = re.search(r"m=audio (\d+)", sdp)
        address = re.search(r"c=IN IP4 (\S+)", sdp)
        if port and address:
            self.media = (address[1], int(port[1]))

    async def wait(self, condition, timeout_s=TIMEOUT_S, what="event"):
        try:
            async with asyncio.timeout(timeout_s):
                while not (result := condition()):
                    self.changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await self.changed.wait()
        except TimeoutError:
            got = [m.first_line for m in self.responses + self.requests]
            raise AssertionError(
                f"no {what} within {timeout_s} s; got {got}, {len(self.rtp)} RTP"
            ) from None
        return result

    async def final(self, method="INVITE", cseq=None, timeout_s=TIMEOUT_S) -> SipMessage:
        number = self.cseq if cseq is None else cseq
        wanted = f"{number} {method}"
        return await self.wait(
            lambda: next((r for r in self.responses if r.code >= 200 and r.get("CSeq") == wanted), None),
            timeout_s,
            f"final response to {wanted}",
        )

    async def wait_request(self, method, timeout_s=TIMEOUT_S, after=0) -> SipMessage:
        return await self.wait(
            lambda: next((r for r in self.requests[after:] if r.method == method), None),
            timeout_s,
            method,
        )

    async def call(self, body=None, headers=(), *, repeats=False) -> SipMessage:
        """INVITE, final response, ACK; with `repeats` the INVITE is sent again until it is answered (timer A)."""
        self.invite(body, headers)
        repetition = asyncio.create_task(self._repeat_invite()) if repeats else None
        try:
            response = await self.final("INVITE", self.invite_cseq)
        finally:
            if repetition:
                repetition.cancel()
        if response.code < 300:
            self.ack()
        return response

    async def _repeat_invite(self):
        heard, delay_s = len(self.responses), 0.5
        while True:
            await asyncio.sleep(delay_s)
            if len(self.responses) > heard:
                return
            self.send_raw(self.sent_invite)
            delay_s *= 2

    async def reinvite(self, body) -> SipMessage:
        return await self.call(body)

    async def hang_up(self) -> SipMessage:
        self.over = True
        self.request("BYE")
        return await self.final("BYE")

    # ------------------------------------------------------------------ RTP

    def _read_rtp(self):
        while True:
            try:
                datagram, ancillary, _, address = self._rtp.recvmsg(2048, 64)
            except OSError:
                return
            # The kernel's time of arrival: the pace of this process is not the far end's.
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            at_s = time.monotonic() - (time.time() - seconds - nanoseconds / 1e9)
            self._on_rtp(datagram, address, at_s)

    def _on_rtp(self, datagram, address, at_s):
        if len(datagram) < 12:
            return
        first, second, seq, ts, ssrc = struct.unpack("!BBHII", datagram[:12])
        assert first == 0x80
        self.rtp.append(
            RtpReceived(at_s, address, second & 127, seq, ts, ssrc, second > 127, datagram[12:])
        )
        self.changed.set()

    def send_rtp(self, payload: bytes, payload_type=0, *, marker=False, advance=True, ts=None):
        head = struct.pack(
            "!BBHII",
            0x80,
            marker << 7 | payload_type,
            self.seq & 0xFFFF,
            (self.ts if ts is None else ts) & 0xFFFFFFFF,
            self.ssrc,
        )
        self._rtp.sendto(head + payload, self.media)
        self.seq += 1
        if advance:
            self.ts += 160

    async def talk(self, frames: int, payload=b"\xaa" * 160, payload_type=0, interval_s=0.02):
        """Send frames in real time."""
        start = time.monotonic()
        for index in range(frames):
            self.send_rtp(payload, payload_type)
            delay = start + (index + 1) * interval_s - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)

    def press(self, digit: str, *, packets=5, end_packets=3):
        """One key by RFC 4733, all packets at once."""
        code = "0123456789*#ABCD".index(digit)
        start = self.ts
        for index in range(packets):
            self.send_rtp(
                struct.pack("!BBH", code, 10, 160 * (index + 1)),
                self.event_payload_type,
                marker=index == 0,
                advance=False,
                ts=start,
            )
        for _ in range(end_packets):
            self.send_rtp(
                struct.pack("!BBH", code, 0x80 | 10, 160 * (packets + 1)),
                self.event_payload_type,
                advance=False,
                ts=start,
            )
        self.ts += 160 * (packets + 4)  # 60 ms pause

    async def hear(self, packets: int, timeout_s=TIMEOUT_S):
        return await self.wait(lambda: len(self.rtp) >= packets, timeout_s, f"{packets} RTP packets")
