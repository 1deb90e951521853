"""Pairs of UDP sockets for RTP (even port) and RTCP (the odd one above), out of the configured range."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Final

from voicebot.core.errors import ConfigError, OverloadError

Receiver = Callable[[bytes, str, int, int], None]
"""Takes datagram, source address, source port and arrival in monotonic microseconds."""

_MAX_DATAGRAMS_PER_WAKE: Final = 64
_BURST_US: Final = 3_000  # two wake-ups so close together are no packets of 10 ms or more
_RECEIVE_BYTES: Final = 2048


class RtpPort:
    """One pair of sockets; ``close`` gives the ports back, twice is harmless.

    Attributes:
        advertised_address: Address for SDP bodies.
        port: RTP port; RTCP is one above.
        send_errors: Datagrams that the system did not take.
    """

    def __init__(
        self,
        rtp: socket.socket,
        rtcp: socket.socket,
        advertised_address: str,
        release: Callable[[int], None],
    ) -> None:
        self._rtp = rtp
        self._rtcp = rtcp
        self._release = release
        self._open = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self.advertised_address = advertised_address
        self.port: int = rtp.getsockname()[1]
        self.send_errors = 0

    def listen(self, on_rtp: Receiver, on_rtcp: Receiver) -> None:
        """Deliver datagrams from now on; what came before is delivered first.

        Nothing happens on a closed port: a CANCEL may close it before the media are told of.
        """
        if not self._open:
            return
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._rtp, _Reader(self._rtp, on_rtp))
        self._loop.add_reader(self._rtcp, _Reader(self._rtcp, on_rtcp))

    def send(self, datagram: bytes, target: tuple[str, int]) -> None:
        """Send one RTP datagram; never waits."""
        self._send(self._rtp, datagram, target)

    def send_rtcp(self, datagram: bytes, target: tuple[str, int]) -> None:
        """Send one RTCP datagram; never waits."""
        self._send(self._rtcp, datagram, target)

    def close(self) -> None:
        """Stop listening and give the ports back."""
        if not self._open:
            return
        self._open = False
        if self._loop is not None:
            self._loop.remove_reader(self._rtp)
            self._loop.remove_reader(self._rtcp)
        self._rtp.close()
        self._rtcp.close()
        self._release(self.port)

    def _send(self, through: socket.socket, datagram: bytes, target: tuple[str, int]) -> None:
        if not self._open:
            return
        try:
            through.sendto(datagram, target)
        except (OSError, OverflowError):  # RTCP to a far end on port 65535 has no port above it
            self.send_errors += 1


class RtpPortPool:
    """The port range of this process.

    Ports are handed out in turn, so that a late packet of an ended call meets a closed port rather than
    the next call. A pair that somebody else holds is passed over.

    Args:
        host: Address to bind.
        advertised_address: Address for SDP bodies.
        port_min: First port of the range.
        port_max: Last port of the range.
    """

    def __init__(self, host: str, advertised_address: str, port_min: int, port_max: int) -> None:
        self._host = host
        self._advertised_address = advertised_address
        self._ports = range(port_min + port_min % 2, port_max, 2)
        if not self._ports:
            raise ConfigError("the range holds no pair of ports", key="rtp.port_max")
        self._next = 0
        self._taken: set[int] = set()

    @property
    def taken(self) -> int:
        """Pairs handed out at present."""
        return len(self._taken)

    def open(self) -> RtpPort:
        """Open the next free pair.

        Raises:
            OverloadError: None is free.
        """
        for _ in self._ports:
            port = self._ports[self._next]
            self._next = (self._next + 1) % len(self._ports)
            if port in self._taken:
                continue
            pair = self._bind(port)
            if pair is not None:
                self._taken.add(port)
                return RtpPort(*pair, self._advertised_address, self._taken.discard)
        raise OverloadError(f"no RTP port is free in {self._ports.start}-{self._ports.stop}")

    def _bind(self, port: int) -> tuple[socket.socket, socket.socket] | None:
        opened: list[socket.socket] = []
        try:
            for number in (port, port + 1):
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                opened.append(udp)
                udp.setblocking(False)
                udp.bind((self._host, number))
        except OSError:
            for udp in opened:
                udp.close()
            return None
        return opened[0], opened[1]


class _Reader:
    """Hands on what a socket has: one datagram at the pace of a call, all of them when there are more.

    Asking a socket until it is empty costs a call of the system and an exception for each packet of a
    call; a socket that is not empty is told of again at once.
    """

    def __init__(self, udp: socket.socket, receiver: Receiver) -> None:
        self._udp = udp
        self._receiver = receiver
        self._woken_us = 0

    def __call__(self) -> None:
        now_us = time.monotonic_ns() // 1000
        more = now_us - self._woken_us < _BURST_US
        self._woken_us = now_us
        # Bounded: a flood on one port must not starve the clock of the other calls.
        for _ in range(_MAX_DATAGRAMS_PER_WAKE if more else 1):
            try:
                datagram, source = self._udp.recvfrom(_RECEIVE_BYTES)
            except OSError:  # nothing more, or an ICMP error of something we sent
                return
            self._receiver(datagram, source[0], source[1], time.monotonic_ns() // 1000)
            if self._udp.fileno() < 0:
                return
