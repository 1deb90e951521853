"""SIP over one UDP socket: client and server transactions with their timers (RFC 3261 17).

request  ──▶ ClientTransaction: resend (T1, doubling) until a response, at most 64·T1
respond  ──▶ ServerTransaction: resend the last response to each repeated request;
             a final response to INVITE is resent until its ACK, at most 64·T1
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from sip_test_harness.errors import SyntaxRefusedError
from sip_test_harness.sip_message import (
    MAGIC_COOKIE,
    SipRequest,
    SipResponse,
    parse,
)
from sip_test_harness.udp import Address, Capture, NetworkGuard, UdpSocket

T1_S = 0.5
T2_S = 4.0

OnRequest = Callable[[SipRequest, Address, int], None]


def new_branch() -> str:
    """Return a fresh Via branch."""
    return MAGIC_COOKIE + secrets.token_hex(8)


@dataclass(frozen=True)
class TimedResponse:
    """A response and its arrival in monotonic ns."""

    response: SipResponse
    arrival_ns: int


@dataclass
class ClientTransaction:
    """One request on its way; read ``responses`` until a final one."""

    request: SipRequest
    destination: Address
    sent_ns: int
    responses: asyncio.Queue[TimedResponse | None] = field(default_factory=asyncio.Queue)
    retransmissions: int = 0
    provisional: bool = False
    done: bool = False
    timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Send no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def final(self, timeout_s: float = 32.0) -> TimedResponse | None:
        """Return the final response, or None when none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    item = await self.responses.get()
                    if item is None or item.response.status >= 200:
                        return item
        except TimeoutError:
            self.stop()
            return None


@dataclass
class _ServerTransaction:
    request: SipRequest
    source: Address
    last: bytes = b""
    status: int = 0
    timer: asyncio.TimerHandle | None = None


class SipEndpoint:
    """A SIP port.

    Args:
        host: local address to bind.
        port: local port, 0 for any.
        guard: decides where packets may go.
        capture: records every datagram.
        on_request: called for each new request (not for repetitions); also for ACK.
        t1_s: the round-trip estimate that scales the timers.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        guard: NetworkGuard,
        capture: Capture,
        on_request: OnRequest,
        t1_s: float = T1_S,
    ) -> None:
        self._socket = UdpSocket(host, port, self._on_datagram, guard, capture)
        self._socket.start()
        self.address: Address = self._socket.address
        self.on_request = on_request
        self.on_repeated_2xx: Callable[[SipResponse], None] | None = None
        self.malformed = 0
        self.strays = 0
        self._t1_s = t1_s
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, str], _ServerTransaction] = {}

    @property
    def via(self) -> str:
        """A Via value with a fresh branch."""
        host, port = self.address
        return f"SIP/2.0/UDP {host}:{port};rport;branch={new_branch()}"

    def send_raw(self, data: bytes, destination: Address) -> int:
        """Send bytes as they are; returns the monotonic ns of sending."""
        return self._socket.send(data, destination)

    def request(self, request: SipRequest, destination: Address) -> ClientTransaction:
        """Send a request other than ACK and resend it until it is answered."""
        sent_ns = self._socket.send(request.encode(), destination)
        transaction = ClientTransaction(request, destination, sent_ns)
        self._clients[request.branch, request.method] = transaction
        self._arm(transaction, self._t1_s, self._t1_s)
        return transaction

    def _arm(self, transaction: ClientTransaction, interval_s: float, elapsed_s: float) -> None:
        transaction.timer = asyncio.get_running_loop().call_later(
            interval_s, self._resend, transaction, interval_s, elapsed_s
        )

    def _resend(self, transaction: ClientTransaction, interval_s: float, elapsed_s: float) -> None:
        if transaction.done:
            return
        if elapsed_s >= 64 * self._t1_s:
            transaction.done = True
            transaction.responses.put_nowait(None)
            return
        is_invite = transaction.request.method == "INVITE"
        if is_invite and transaction.provisional:
            return
        self._socket.send(transaction.request.encode(), transaction.destination)
        transaction.retransmissions += 1
        following_s = interval_s * 2 if is_invite else min(interval_s * 2, T2_S)
        self._arm(transaction, following_s, elapsed_s + following_s)

    def respond(self, request: SipRequest, source: Address, response: SipResponse) -> None:
        """Send a response, and again whenever the request is repeated."""
        transaction = self._servers.setdefault(
            (request.branch, request.method), _ServerTransaction(request, source)
        )
        transaction.last = response.encode()
        transaction.status = response.status
        self._socket.send(transaction.last, source)
        if request.method == "INVITE" and response.status >= 200:
            self._arm_final(transaction, self._t1_s, self._t1_s)

    def _arm_final(self, transaction: _ServerTransaction, interval_s: float, elapsed_s: float) -> None:
        if transaction.timer is not None:
            transaction.timer.cancel()
        transaction.timer = asyncio.get_running_loop().call_later(
            interval_s, self._resend_final, transaction, interval_s, elapsed_s
        )

    def _resend_final(
        self, transaction: _ServerTransaction, interval_s: float, elapsed_s: float
    ) -> None:
        transaction.timer = None
        if elapsed_s < 64 * self._t1_s:
            self._socket.send(transaction.last, transaction.source)
            following_s = min(interval_s * 2, T2_S)
            self._arm_final(transaction, following_s, elapsed_s + following_s)

    def close(self) -> None:
        """Stop every timer and close the socket; harmless when repeated."""
        for client in self._clients.values():
            client.stop()
            client.done = True
        for server in self._servers.values():
            if server.timer is not None:
                server.timer.cancel()
        self._socket.close()

    def _on_datagram(self, data: bytes, source: Address, arrival_ns: int) -> None:
        if not data.strip(b"\r\n\0"):
            return  # keep-alive
        try:
            message = parse(data)
        except SyntaxRefusedError:
            self.malformed += 1
            return
        if isinstance(message, SipResponse):
            self._on_response(message, arrival_ns)
        else:
            self._on_request(message, source, arrival_ns)

    def _on_response(self, response: SipResponse, arrival_ns: int) -> None:
        transaction = self._clients.get((response.branch, response.cseq[1]))
        if transaction is None:
            self.strays += 1
            return
        is_invite = transaction.request.method == "INVITE"
        if transaction.done:
            if is_invite and 200 <= response.status < 300 and self.on_repeated_2xx:
                self.on_repeated_2xx(response)
            elif is_invite and response.status >= 300:
                self._ack_refusal(transaction, response)
            return
        if response.status >= 200:
            transaction.done = True
            transaction.stop()
            if is_invite and response.status >= 300:
                self._ack_refusal(transaction, response)
        else:
            transaction.provisional = True
        transaction.responses.put_nowait(TimedResponse(response, arrival_ns))

    def _ack_refusal(self, transaction: ClientTransaction, response: SipResponse) -> None:
        """Acknowledge a final refusal within the transaction (RFC 3261 17.1.1.3)."""
        request = transaction.request
        ack = SipRequest(
            method="ACK",
            uri=request.uri,
            headers=[
                ("Via", request.listed("via")[0]),
                ("Max-Forwards", "70"),
                ("From", request.get("from")),
                ("To", response.get("to")),
                ("Call-ID", request.call_id),
                ("CSeq", f"{request.cseq[0]} ACK"),
                *[("Route", route) for route in request.all("route")],
            ],
        )
        self._socket.send(ack.encode(), transaction.destination)

    def _on_request(self, request: SipRequest, source: Address, arrival_ns: int) -> None:
        if request.method == "ACK":
            for server in self._servers.values():
                same = server.request.call_id == request.call_id
                if same and server.request.cseq[0] == request.cseq[0] and server.timer:
                    server.timer.cancel()
                    server.timer = None
        else:
            known = self._servers.get((request.branch, request.method))
            if known is not None:
                if known.last:
                    self._socket.send(known.last, source)
                return
            self._servers[request.branch, request.method] = _ServerTransaction(request, source)
        self.on_request(request, source, arrival_ns)
