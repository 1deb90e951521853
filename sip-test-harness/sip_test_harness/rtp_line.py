"""Where the packets of a call go and come from, and the clock that paces them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sip_test_harness.pacer import Due, acquire_pacer, release_pacer
from sip_test_harness.udp import Address, Capture, NetworkGuard, UdpSocket, open_rtp_pair

if TYPE_CHECKING:
    OnDatagram = Callable[[bytes, Address, int], None]


class RtpLine(Protocol):
    """Two ports and a clock; ``UdpLine`` is the real one, ``OfflineLine`` runs on virtual time."""

    @property
    def address(self) -> Address:
        """Where RTP is received."""
        ...

    @property
    def is_realtime(self) -> bool:
        """Whether the clock has real-time priority."""
        ...

    @property
    def error(self) -> BaseException | None:
        """What went wrong in a scheduled function."""
        ...

    def open(self, on_rtp: OnDatagram, on_rtcp: OnDatagram) -> None:
        """Receive from now on."""
        ...

    def call_at(self, due_ns: int, function: Due) -> None:
        """Call ``function(due_ns)`` at that time."""
        ...

    def send(self, data: bytes, remote: Address) -> int:
        """Send RTP and return when it left, in ns."""
        ...

    def send_rtcp(self, data: bytes, remote: Address) -> None:
        """Send RTCP."""
        ...

    def close(self) -> None:
        """Close for good."""
        ...


class UdpLine:
    """A pair of sockets and the process's pacer.

    Args:
        host: local address.
        guard: decides where packets may go.
        capture: records every datagram at the socket.
        realtime: ask for real-time priority of the sending thread.
    """

    def __init__(self, host: str, guard: NetworkGuard, capture: Capture, *, realtime: bool) -> None:
        self._host = host
        self._guard = guard
        self._capture = capture
        self._realtime = realtime
        self._rtp: UdpSocket
        self._rtcp: UdpSocket

    def open(self, on_rtp: OnDatagram, on_rtcp: OnDatagram) -> None:
        """Receive from now on."""
        self._rtp, self._rtcp = open_rtp_pair(self._host, on_rtp, on_rtcp, self._guard, self._capture)
        self._rtp.start()
        self._rtcp.start()
        self._pacer = acquire_pacer(realtime=self._realtime)

    @property
    def address(self) -> Address:
        """Where RTP is received."""
        return self._rtp.address

    @property
    def is_realtime(self) -> bool:
        """Whether the sending thread runs under SCHED_FIFO."""
        return self._pacer.is_realtime

    @property
    def error(self) -> BaseException | None:
        """What went wrong in a scheduled function."""
        return self._pacer.error

    def call_at(self, due_ns: int, function: Due) -> None:
        """Call ``function(due_ns)`` at that time, on the sending thread."""
        self._pacer.call_at(due_ns, function)

    def send(self, data: bytes, remote: Address) -> int:
        """Send RTP and return when it left, in ns."""
        return self._rtp.send(data, remote)

    def send_rtcp(self, data: bytes, remote: Address) -> None:
        """Send RTCP."""
        self._rtcp.send(data, remote)

    def close(self) -> None:
        """Give the pacer back, close the sockets."""
        release_pacer()
        self._rtp.close()
        self._rtcp.close()
