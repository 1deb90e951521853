"""Impairing a recorded caller without a network or a clock: the packets as they would arrive.

Whoever runs a bot on virtual time reads the capture that this writes; the same recording, profile
and seed give the same bytes.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sip_test_harness.impairment import ImpairedPacket
from sip_test_harness.outgoing_stream import OutgoingStream, Utterance
from sip_test_harness.pcap_file import write_pcap
from sip_test_harness.telephone_event import KeyShape
from sip_test_harness.udp import Address, CapturedDatagram

if TYPE_CHECKING:
    from sip_test_harness.profile import Profile
    from sip_test_harness.recorded_caller import RecordedCaller
    from sip_test_harness.rtp_packet import RtpPacket

EVENT_TYPE: Final = 101
CALLER: Final[Address] = ("127.0.0.1", 40_000)
BOT: Final[Address] = ("127.0.0.1", 40_002)
EPOCH_NS: Final = 1_577_836_800_000_000_000
"""Unix time of the first packet's second: fixed, so that files compare equal."""

TimedPackets = list[tuple[float, "RtpPacket"]]


def sent_packets(recorded: RecordedCaller, seed: int) -> TimedPackets:
    """Return (ms, packet) of a caller: as captured, or its samples and keys in 20 ms packets."""
    if recorded.packets:
        return list(recorded.packets)
    stream = OutgoingStream(recorded.codec, EVENT_TYPE, 20, random.Random(seed))
    out: TimedPackets = []
    keys = list(recorded.keys)
    ticks = max(
        -(-len(recorded.samples) // stream.samples),
        int(max((at_ms for at_ms, _ in keys), default=0.0) // 20) + 25,
    )
    said = Utterance("recorded")
    for tick in range(ticks):
        at = tick * stream.samples
        pressed = ""
        while keys and keys[0][0] < (tick + 1) * 20:
            pressed += keys.pop(0)[1]
        if pressed:
            stream.press(pressed, KeyShape(), said)
        elif not stream.busy:
            block = recorded.samples[at : at + stream.samples]
            if len(block):
                stream.play(block, said)
        outgoing = stream.next_packet()
        if outgoing is not None:
            out.append((tick * 20.0, outgoing.packet))
    return out


def impaired_packets(recorded: RecordedCaller, profile: Profile, seed: int) -> tuple[int, TimedPackets]:
    """Return how many packets were sent, and (arrival ms, packet) in the order of arrival."""
    sent = sent_packets(recorded, seed)
    event_type = recorded.event_type if recorded.packets else EVENT_TYPE
    way_out, _ = profile.build(seed)
    arrived = [
        (at_ms + delay_ms, packet)
        for at_ms, packet in sent
        for delay_ms in way_out.fate(ImpairedPacket.of(packet, event_type), at_ms)
    ]
    arrived.sort(key=lambda item: item[0])
    return len(sent), arrived


def write_impaired(path: Path, arrived: TimedPackets) -> None:
    """Write arrived packets as a capture from 127.0.0.1:40000 to 127.0.0.1:40002."""
    write_pcap(
        path,
        [
            CapturedDatagram(round(at_ms * 1_000_000), CALLER, BOT, packet.encode())
            for at_ms, packet in arrived
        ],
        unix_ns=lambda time_ns: EPOCH_NS + time_ns,
    )
