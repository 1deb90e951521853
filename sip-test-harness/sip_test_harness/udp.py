"""UDP sockets whose datagrams carry the kernel's arrival time.

The time of arrival is taken by the kernel (SO_TIMESTAMPNS), so that a busy interpreter delays
only the processing of a packet, never its measurement.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sip_test_harness.clock import monotonic_of_wall_ns, now_ns
from sip_test_harness.errors import HarnessError, NetworkRefusedError, UsageError

Address = tuple[str, int]
OnDatagram = Callable[[bytes, Address, int], None]

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC: Final = struct.Struct("@qq")
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
_MAX_DATAGRAMS_PER_WAKE: Final = 256


@dataclass(frozen=True)
class CapturedDatagram:
    """One datagram as it passed a socket of the harness; time in monotonic ns."""

    time_ns: int
    source: Address
    destination: Address
    payload: bytes


@dataclass
class Capture:
    """Every datagram sent and received, in the order of handling."""

    datagrams: list[CapturedDatagram] = field(default_factory=list)

    def add(self, time_ns: int, source: Address, destination: Address, payload: bytes) -> None:
        """Append one datagram."""
        self.datagrams.append(CapturedDatagram(time_ns, source, destination, payload))


@dataclass(frozen=True)
class NetworkGuard:
    """Refuses destinations outside 127.0.0.0/8 unless the network is allowed."""

    allow_network: bool = False

    def check(self, host: str) -> None:
        """Raise NetworkRefusedError unless a packet may go to this IPv4 address."""
        try:
            inside = ipaddress.IPv4Address(host) in _LOOPBACK
        except ValueError as error:
            raise NetworkRefusedError(f"not an IPv4 address: {host!r}") from error
        if not inside and not self.allow_network:
            raise NetworkRefusedError(
                f"{host} is outside 127.0.0.0/8: nothing was sent (--allow-network permits it)"
            )


def resolve(host: str) -> str:
    """Return the IPv4 address of a host name or address."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise UsageError(f"cannot resolve host {host!r}: {error}") from error
    return str(found[0][4][0])


class UdpSocket:
    """A bound UDP socket on the running event loop.

    ``send`` may be called from any thread; ``on_datagram(data, source, arrival_ns)`` is called on
    the event loop's thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        on_datagram: OnDatagram,
        guard: NetworkGuard,
        capture: Capture | None = None,
    ) -> None:
        self._on_datagram = on_datagram
        self._guard = guard
        self._capture = capture
        self._checked: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        bound = self._socket.getsockname()
        self.address: Address = (str(bound[0]), int(bound[1]))
        self.send_errors = 0

    def start(self) -> None:
        """Begin to receive on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._drain)

    def send(self, data: bytes, destination: Address) -> int:
        """Send one datagram and return the monotonic ns just before it left.

        Raises:
            NetworkRefusedError: the destination is outside 127.0.0.0/8.
        """
        if destination[0] not in self._checked:
            self._guard.check(destination[0])
            self._checked.add(destination[0])
        sent_ns = now_ns()
        try:
            self._socket.sendto(data, destination)
        except OSError:
            # A closed far port answers ICMP and a full buffer refuses: both are a lost packet.
            self.send_errors += 1
        if self._capture is not None:
            self._capture.add(sent_ns, self.address, destination, data)
        return sent_ns

    def close(self) -> None:
        """Stop receiving and close; harmless when repeated."""
        if self._loop is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _drain(self) -> None:
        for _ in range(_MAX_DATAGRAMS_PER_WAKE):
            try:
                data, ancillary, _flags, source = self._socket.recvmsg(65535, 128)
            except BlockingIOError:
                return
            except OSError:
                # ICMP "port unreachable" for an earlier datagram is reported here.
                continue
            arrival_ns = now_ns()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
                    arrival_ns = monotonic_of_wall_ns(seconds * 1_000_000_000 + nanoseconds)
            sender = (str(source[0]), int(source[1]))
            if self._capture is not None:
                self._capture.add(arrival_ns, sender, self.address, data)
            self._on_datagram(data, sender, arrival_ns)
            if self._socket.fileno() < 0:
                return


def open_rtp_pair(
    host: str,
    on_rtp: OnDatagram,
    on_rtcp: OnDatagram,
    guard: NetworkGuard,
    capture: Capture | None = None,
    *,
    port: int = 0,
) -> tuple[UdpSocket, UdpSocket]:
    """Open an even RTP port and the next odd one for RTCP (RFC 3550 section 11).

    Args:
        host: local address to bind.
        on_rtp: called for each datagram on the RTP port.
        on_rtcp: called for each datagram on the RTCP port.
        guard: decides where packets may go.
        capture: where datagrams are recorded, or None.
        port: a fixed even port, or 0 for any free pair.
    """
    if port:
        return (
            UdpSocket(host, port, on_rtp, guard, capture),
            UdpSocket(host, port + 1, on_rtcp, guard, capture),
        )
    for _ in range(200):
        rtp = UdpSocket(host, 0, on_rtp, guard, capture)
        if rtp.address[1] % 2 == 0:
            try:
                return rtp, UdpSocket(host, rtp.address[1] + 1, on_rtcp, guard, capture)
            except OSError:
                pass
        rtp.close()
    raise HarnessError(f"no free pair of RTP ports on {host}")
