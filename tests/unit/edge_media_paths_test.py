"""Receive path and send path without sockets and clocks."""

import random
import struct

import numpy as np
import pytest

from voicebot.audio import g711
from voicebot.edge.receive_path import HeardFrame, ReceivePath
from voicebot.edge.send_path import SendPath
from voicebot.edge.signalling import NegotiatedMedia
from voicebot.link.binary_media import BotAudio
from voicebot.rtp.packet import parse_rtp
from voicebot.rtp.packetizer import Packetizer
from voicebot.rtp.telephone_event import DtmfPressed

MEDIA = NegotiatedMedia("127.0.0.1", 40000, event_receive_payload_type=101, event_send_payload_type=96)
TICK_US = 20_000


def rtp(seq, payload, payload_type=0, ts=None, marker=False):
    head = struct.pack(
        "!BBHII", 0x80, marker << 7 | payload_type, seq, seq * 160 if ts is None else ts, 7
    )
    return head + payload


class Receiver:
    def __init__(self, media=MEDIA):
        self.frames = []
        self.keys = []
        self.path = ReceivePath(self.frames.append, self.keys.append)
        self.path.expect(media)

    def give(self, seq, payload=None, at_us=None, source=("127.0.0.1", 40000), **more):
        payload = bytes([seq % 100]) * 160 if payload is None else payload
        self.path.datagram(rtp(seq, payload, **more), *source, seq * TICK_US if at_us is None else at_us)


def test_frames_pass_at_once_and_unchanged():
    """In order and without loss a frame is heard in the very call that delivered its packet."""
    receiver = Receiver()
    for seq in range(1, 20):
        receiver.give(seq)
        assert len(receiver.frames) == seq
        assert receiver.frames[-1].ulaw == bytes([seq % 100]) * 160
        assert receiver.frames[-1].source_payload == receiver.frames[-1].ulaw


def test_lost_packet_is_concealed_and_counted():
    """The gap is filled once it is certain, later audio keeps its place."""
    receiver = Receiver()
    for seq in (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20):
        receiver.give(seq)
        receiver.path.tick(seq * TICK_US + 10_000)
    concealed = [i for i, f in enumerate(receiver.frames) if f.concealed]
    assert concealed == [3]
    assert receiver.frames[4].timestamp - receiver.frames[2].timestamp == 320
    assert receiver.path.concealed_frames == 1
    assert receiver.path.statistics.snapshot().lost == 1


def test_reordered_packets_come_out_in_order():
    """The second of two swapped packets waits for the first."""
    receiver = Receiver()
    for seq in (1, 2, 4, 3, 5):
        receiver.give(seq, at_us=seq * 1000)
    assert [f.ulaw[0] for f in receiver.frames] == [1, 2, 3, 4, 5]
    assert not any(f.concealed for f in receiver.frames)


LINES = {
    "1 % at random": lambda chance, _: chance.random() < 0.01,
    "5 % at random": lambda chance, _: chance.random() < 0.05,
    "20 % at random": lambda chance, _: chance.random() < 0.20,
    "5 % in bursts of five": lambda _, seq: seq % 100 in range(40, 45),
    "20 % in bursts of ten": lambda _, seq: seq % 50 in range(20, 30),
}


@pytest.mark.parametrize("jitter_ms", [0, 30, 60])
@pytest.mark.parametrize("lossy", LINES)
def test_a_bad_line_is_heard_in_order_and_in_full_length(lossy, jitter_ms):
    """Loss, jitter that reorders, duplicates: a frame per 20 ms, what came in time is in its place, once."""
    chance = random.Random(18)
    receiver, sent, lost = Receiver(), 1500, set()
    arrivals = []
    for seq in range(sent):
        if seq and LINES[lossy](chance, seq):
            lost.add(seq)
            continue
        for _ in range(2 if chance.random() < 0.05 else 1):
            delay_us = round(chance.uniform(0, jitter_ms) * 1000)
            arrivals.append((seq * TICK_US + delay_us, 1, seq))
    ticks = [(tick * TICK_US + 10_000, 0, tick) for tick in range(sent + 20)]
    for at_us, is_packet, number in sorted(arrivals + ticks):
        if is_packet:
            receiver.give(number, struct.pack("!H", number) * 80, at_us)
        else:
            receiver.path.tick(at_us)
    frames = [f for f in receiver.frames if f.timestamp < sent * 160]
    stamps = [f.timestamp for f in frames]
    assert stamps == list(range(stamps[0], sent * 160, 160))
    assert stamps[0] <= 3 * 160  # the very first may be overtaken
    for frame in frames:
        if frame.source_payload is not None:
            assert frame.source_payload == struct.pack("!H", frame.timestamp // 160) * 80
    guessed = sum(f.concealed for f in frames)
    late = guessed - len(lost)
    assert 0 <= late <= 0.02 * sent, late
    assert receiver.path.statistics.snapshot().lost == pytest.approx(len(lost), abs=1)


def test_alaw_reaches_the_worker_as_ulaw():
    """The link carries mu-law; the A-law bytes are kept for a bridge."""
    receiver = Receiver(NegotiatedMedia("127.0.0.1", 40000, codec="PCMA"))
    receiver.give(1, b"\x0b" * 160, payload_type=8)
    (frame,) = receiver.frames
    assert frame.ulaw == g711.alaw_to_ulaw(b"\x0b" * 160)
    assert (frame.source_payload, frame.source_payload_type) == (b"\x0b" * 160, 8)


def test_strangers_and_garbage_are_counted_only():
    """Other addresses, other ports after the lock, malformed and unusable packets leave no frame."""
    receiver = Receiver()
    receiver.give(1)
    receiver.give(2, source=("127.0.0.9", 40000))
    receiver.give(2, source=("127.0.0.1", 40002))
    receiver.path.datagram(b"\x80", "127.0.0.1", 40000, 0)
    receiver.give(2, payload_type=18)
    assert len(receiver.frames) == 1
    assert receiver.path.counters == {"foreign": 2, "malformed": 1, "unusable": 1}


def test_nothing_is_heard_before_the_media_is_agreed():
    """Packets that are faster than the answer are dropped."""
    frames = []
    path = ReceivePath(frames.append, frames.append)
    path.datagram(rtp(1, b"\x01" * 160), "127.0.0.1", 40000, 0)
    assert not frames
    assert path.remote is None


def test_hold_keeps_strangers_of_the_same_address_out():
    """While on hold no other port can take the silent caller's place."""
    receiver = Receiver()
    receiver.give(1)
    receiver.path.expect(NegotiatedMedia("", 0, send=False, receive=False))
    for seq in range(2, 40):
        receiver.give(seq, source=("127.0.0.1", 40002), at_us=10_000_000 + seq * TICK_US)
    assert len(receiver.frames) == 1
    assert receiver.path.remote == ("127.0.0.1", 40000)


def test_a_key_is_pressed_once_whatever_is_lost():
    """Any non-empty subset of the packets of a press, in any order, is one press."""
    chance = random.Random(4733)
    for _ in range(50):
        receiver = Receiver()
        receiver.give(1)
        packets = [
            (2 + i, struct.pack("!BBH", 5, 10 | (0x80 if i > 4 else 0), 160 * min(i + 1, 6)))
            for i in range(8)
        ]
        kept = chance.sample(packets, chance.randint(1, 8))
        for seq, payload in kept:
            receiver.give(seq, payload, payload_type=101, ts=320, at_us=seq * TICK_US)
        receiver.path.tick(2_000_000)
        assert [k.digit for k in receiver.keys if isinstance(k, DtmfPressed)] == ["5"]


class Sender:
    def __init__(self, media=MEDIA):
        self.datagrams = []
        self.sent = []
        packetizer = Packetizer(7, first_sequence_number=65530, first_timestamp=2**32 - 320)
        self.path = SendPath(packetizer, self.datagrams.append, self.sent.append)
        self.path.expect(media)

    @property
    def packets(self):
        return [parse_rtp(d) for d in self.datagrams]

    def tick(self, count):
        for _ in range(count):
            self.path.tick()


def heard(code, **more):
    return HeardFrame(bytes([code]) * 160, 0, **more)


def assert_contiguous(packets):
    seqs = [p.sequence_number for p in packets]
    assert seqs == [(seqs[0] + i) & 0xFFFF for i in range(len(seqs))]


def test_a_packet_leaves_in_every_tick():
    """Speech, then silence, without a gap in sequence or timestamps over both wraps."""
    sender = Sender()
    sender.tick(3)
    sender.path.enqueue(BotAudio(generation=0, utterance="u", payload=b"\x11" * 800))
    sender.tick(10)
    packets = sender.packets
    assert [p.payload == b"\x11" * 160 for p in packets] == [False] * 3 + [True] * 5 + [False] * 5
    assert_contiguous(packets)
    assert [p.timestamp for p in packets] == [(2**32 - 320 + 160 * i) & 0xFFFFFFFF for i in range(13)]
    assert sender.path.position_samples == 13 * 160
    assert len(sender.sent) == 13


def test_on_hold_nothing_leaves_and_the_queue_waits():
    """The clock runs on: timestamps jump by the time on hold, the sequence does not."""
    sender = Sender()
    sender.path.enqueue(BotAudio(generation=0, utterance="u", payload=b"\x11" * 480))
    sender.tick(1)
    sender.path.expect(NegotiatedMedia("127.0.0.1", 40000, send=False))
    sender.tick(5)
    assert len(sender.datagrams) == 1
    sender.path.expect(MEDIA)
    sender.tick(2)
    packets = sender.packets
    assert_contiguous(packets)
    assert all(p.payload == b"\x11" * 160 for p in packets)
    assert (packets[1].timestamp - packets[0].timestamp) & 0xFFFFFFFF == 6 * 160
    assert sender.path.position_samples == 8 * 160
    assert len(sender.sent) == 8


@pytest.mark.parametrize(
    ("codec", "frame", "expected"),
    [
        ("PCMU", heard(0x2A, source_payload=b"\x2a" * 160), b"\x2a" * 160),
        ("PCMA", heard(0x2A, source_payload=b"\x2a" * 160), g711.ulaw_to_alaw(b"\x2a" * 160)),
        ("PCMA", heard(0x2A, source_payload=b"\x0c" * 160, source_payload_type=8), b"\x0c" * 160),
    ],
    ids=["same", "transcoded", "alaw-untouched"],
)
def test_forwarded_frames_leave_at_once(codec, frame, expected):
    """A bridge transcodes only where the codecs differ."""
    sender = Sender(NegotiatedMedia("127.0.0.1", 40000, codec=codec))
    sender.path.start_forwarding()
    sender.path.forward(frame)
    assert [p.payload for p in sender.packets] == [expected]
    assert sender.packets[0].payload_type == (8 if codec == "PCMA" else 0)


def test_what_the_bot_says_in_a_bridge_is_mixed_in():
    """Three in one conversation: both signals in each packet, then the other leg alone again."""
    sender = Sender()
    sender.path.start_forwarding()
    one, other = (g711.encode_ulaw(np.full(160, level, np.int16)) for level in (1000, 2000))
    sender.path.enqueue(BotAudio(generation=0, utterance="u", payload=other * 2))
    for _ in range(3):
        sender.path.forward(HeardFrame(one, 0))
        sender.path.tick()
    levels = [int(g711.decode_ulaw(p.payload)[80]) for p in sender.packets]
    assert [round(level, -3) for level in levels] == [3000, 3000, 1000]
    assert_contiguous(sender.packets)


def test_forwarding_survives_a_stall_of_the_other_leg():
    """Silence fills a stall of more than 200 ms; the burst afterwards cannot run ahead without bound."""
    sender = Sender()
    sender.path.start_forwarding()
    for _ in range(50):
        sender.path.forward(heard(0x2A))
        sender.path.tick()
    sender.tick(40)
    assert len(sender.datagrams) == 50 + 30
    for _ in range(60):
        sender.path.forward(heard(0x2B))
    assert len(sender.datagrams) == 50 + 40 + 5
    assert sender.path.dropped_forward_frames == 45
    assert_contiguous(sender.packets)


def test_keys_take_the_place_of_audio_in_a_bridge():
    """While a key goes out the other leg's frames wait for nothing: they are dropped, the clock sends."""
    sender = Sender()
    sender.path.start_forwarding()
    sender.path.send_digits("7")
    sender.tick(3)
    sender.path.forward(heard(0x2A))
    assert {p.payload_type for p in sender.packets} == {96}
    assert {p.payload[0] for p in sender.packets} == {7}
