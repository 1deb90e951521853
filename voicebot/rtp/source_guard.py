"""Whose packets count: the strict source lock of one call leg.

The address comes from the SDP, never from a packet. Only the port may be learnt (symmetric RTP,
RFC 4961), because address translation changes ports:

    WAITING ──first valid packet of the address──► LOCKED(port)
    LOCKED ──N consecutive packets of one other port of the address, same SSRC,
             while the locked port has been silent──► LOCKED(new port)
    any ──valid packet from the very port that the SDP names──► LOCKED(SDP port)
"""

import ipaddress
from collections.abc import Iterable, Sequence
from enum import Enum

from voicebot.rtp.packet import RtpPacket
from voicebot.rtp.sequence import signed_difference

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_SEQUENCE_STEP = 3000
"""RFC 3550 A.1 MAX_DROPOUT: about one minute of a caller who moved to another port."""


class SourceVerdict(Enum):
    """What became of one packet."""

    ACCEPTED = "accepted"
    STRANGER = "stranger"
    """Another address."""
    UNCONFIRMED = "unconfirmed"
    """The right address, another port, and not (yet) followed."""
    INVALID = "invalid"
    """A payload type that was not agreed, or the port is below 1024."""


def media_address_allowed(address: str, port: int, networks: Iterable[IpNetwork]) -> bool:
    """Whether RTP may be sent there: an IP address inside one of the networks, port 1024-65535.

    Names, unspecified and multicast addresses are refused; no networks means nowhere.
    """
    if not 1024 <= port <= 65535:
        return False
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.is_unspecified or ip.is_multicast:
        return False
    return any(ip in network for network in networks if network.version == ip.version)


class SourceGuard:
    """Accepts only the negotiated peer's packets and says where to send.

    A stranger gets nothing and is not heard at any rate, however silent the caller is. A process on
    the caller's own address is held off too unless it continues the caller's SSRC and sequence.

    Args:
        address: Remote media address of the SDP.
        port: Remote media port of the SDP; it always wins over a learnt one.
        payload_types: Payload types that were agreed; None accepts all.
        follow_after_packets: Consecutive packets of a new port before it is followed.
        silence_us: How long the locked port must have been silent by then.
        follow_new_ssrc: Also follow a port change together with an SSRC change (some media
            servers do so; it opens the door to any process on the caller's address).
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        payload_types: Sequence[int] | None = None,
        follow_after_packets: int = 10,
        silence_us: int = 1_000_000,
        follow_new_ssrc: bool = False,
    ) -> None:
        self._payload_types = None if payload_types is None else frozenset(payload_types)
        self._follow_after_packets = follow_after_packets
        self._silence_us = silence_us
        self._follow_new_ssrc = follow_new_ssrc
        self.held = False
        """While True (the call is on hold) no port change is followed."""
        self.dropped: dict[SourceVerdict, int] = dict.fromkeys(SourceVerdict, 0)
        """Packets per verdict; the entry of ACCEPTED counts the accepted ones."""
        self.switches = 0
        """How often the port changed after the first lock."""
        self.expect(address, port)

    def expect(self, address: str, port: int) -> None:
        """Start again with the address and port of a new SDP; the same ones change nothing."""
        if getattr(self, "_signalled", None) == (address, port):
            return
        self._signalled = (address, port)
        self._address = address
        self._locked_port: int | None = None
        self._last_heard_us = 0
        self._last_ssrc = 0
        self._last_sequence = 0
        self._candidate_port: int | None = None
        self._candidate_packets = 0
        self._candidate_sequence = 0

    @property
    def remote(self) -> tuple[str, int]:
        """Where to send RTP: the locked port, before that the one of the SDP.

        Check it with :func:`media_address_allowed` when the SDP arrives.
        """
        return self._address, self._locked_port or self._signalled[1]

    @property
    def locked(self) -> bool:
        """Whether a packet of the peer has been accepted yet."""
        return self._locked_port is not None

    def check(self, address: str, port: int, packet: RtpPacket, now_us: int) -> SourceVerdict:
        """Judge one well-formed packet and count it.

        Args:
            address: Source address of the datagram, as text.
            port: Source port of the datagram.
            packet: The parsed packet.
            now_us: Monotonic time of its arrival.
        """
        verdict = self._judge(address, port, packet, now_us)
        self.dropped[verdict] += 1
        return verdict

    def check_rtcp(self, address: str) -> bool:
        """Whether an RTCP datagram may be looked at: from the peer's address, after the lock.

        Its SSRC must still be compared with the stream's before a BYE is believed.
        """
        accepted = address == self._address and self._locked_port is not None
        if not accepted:
            self.dropped[SourceVerdict.STRANGER] += 1
        return accepted

    def _judge(self, address: str, port: int, packet: RtpPacket, now_us: int) -> SourceVerdict:
        if address != self._address:
            return SourceVerdict.STRANGER
        if self._payload_types is not None and packet.payload_type not in self._payload_types:
            return SourceVerdict.INVALID
        if port != self._locked_port and not self._may_lock(port, packet, now_us):
            return SourceVerdict.INVALID if port < 1024 else SourceVerdict.UNCONFIRMED
        self._last_heard_us = now_us
        self._last_ssrc = packet.ssrc
        self._last_sequence = packet.sequence_number
        self._candidate_port = None
        return SourceVerdict.ACCEPTED

    def _may_lock(self, port: int, packet: RtpPacket, now_us: int) -> bool:
        if port < 1024:
            return False
        if self._locked_port is None:
            self._locked_port = port
            return True
        if port == self._signalled[1]:
            self._locked_port = port
            self.switches += 1
            return True
        if self.held or not self._continues_stream(packet):
            self._candidate_port = None
            return False
        step = signed_difference(packet.sequence_number, self._candidate_sequence, 16)
        if port == self._candidate_port and 0 < step <= _MAX_SEQUENCE_STEP:
            self._candidate_packets += 1
        elif port != self._candidate_port:
            self._candidate_packets = 1
        self._candidate_port = port
        self._candidate_sequence = packet.sequence_number
        silent = now_us - self._last_heard_us >= self._silence_us
        if not silent or self._candidate_packets < self._follow_after_packets:
            return False
        self._locked_port = port
        self.switches += 1
        return True

    def _continues_stream(self, packet: RtpPacket) -> bool:
        if self._follow_new_ssrc:
            return True
        step = signed_difference(packet.sequence_number, self._last_sequence, 16)
        return packet.ssrc == self._last_ssrc and abs(step) <= _MAX_SEQUENCE_STEP
