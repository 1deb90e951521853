"""Reading captures and replaying recorded callers."""

import asyncio
import contextlib
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import AgentOptions, Caller, CallerOptions, ScriptedAgent, UsageError, write_wav
from sip_test_harness.errors import SyntaxRefusedError
from sip_test_harness.pcap_file import ip_packet, write_pcap
from sip_test_harness.pcap_reader import calls_of, parse_capture, read_capture
from sip_test_harness.recorded_caller import RecordedCaller, read_recordings, speech_spans, turns_of
from sip_test_harness.replay import run_replay
from sip_test_harness.rtp_statistics import ReceivedPacket, measure_stream
from sip_test_harness.udp import CapturedDatagram

A, B = ("127.0.0.1", 5000), ("127.0.0.2", 6000)


def speech(duration_ms=300):
    return (6000 * np.sin(np.arange(duration_ms * 8) * 0.3)).astype(np.int16)


def silence(duration_ms):
    return np.zeros(duration_ms * 8, np.int16)


def pcapng(frames, resolution=9, order="<"):
    """Build a pcapng file of raw IP frames; the reader must not trust its writer's sister."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        length = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + length + body + length

    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(order + "HHB3x", 9, 1, resolution) + bytes(4)
    out += block(1, struct.pack(order + "HHI", 101, 0, 65535) + options)
    for time_ns, frame in frames:
        ticks = time_ns * 10**resolution // 10**9
        out += block(
            6,
            struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
            + frame,
        )
    return out


def test_pcap_is_read_back(tmp_path):
    """What the writer wrote comes back with its addresses, bytes and distances in time."""
    sent = [CapturedDatagram(n * 20_000_001, A, B, bytes([n] * n)) for n in range(5)]
    write_pcap(tmp_path / "x.pcap", sent)
    read = read_capture(tmp_path / "x.pcap")
    assert [(d.source, d.destination, d.payload) for d in read] == [
        (A, B, bytes([n] * n)) for n in range(5)
    ]
    assert [d.time_ns - read[0].time_ns for d in read] == [n * 20_000_001 for n in range(5)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [6, 9])
def test_pcapng_is_read(order, resolution):
    """Both byte orders and time resolutions."""
    frames = [
        (1_700_000_000_000_000_000 + n * 20_000_000, ip_packet(CapturedDatagram(0, A, B, b"hi"), n))
        for n in range(3)
    ]
    read = parse_capture(pcapng(frames, resolution, order))
    assert [d.time_ns for d in read] == [time_ns for time_ns, _ in frames]
    assert {(d.source, d.destination, d.payload) for d in read} == {(A, B, b"hi")}


def test_other_link_types_and_byte_orders():
    """Ethernet with a VLAN tag, Linux cooked, loopback; big-endian microsecond pcap; IPv6."""
    packet = ip_packet(CapturedDatagram(0, A, B, b"hi"), 1)
    v6 = (
        bytes([0x60, 0, 0, 0])
        + struct.pack("!HBB", 10, 17, 64)
        + bytes(15)
        + b"\1"
        + bytes(15)
        + b"\2"
        + struct.pack("!HHHH", 1, 2, 10, 0)
        + b"hi"
    )
    cases = {
        1: bytes(12) + b"\x81\x00\0\5\x08\x00" + packet,
        113: bytes(14) + b"\x08\x00" + packet,
        276: bytes(20) + packet,
        0: b"\2\0\0\0" + packet,
        101: v6,
    }
    for link_type, frame in cases.items():
        header = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
        (read,) = parse_capture(
            header + struct.pack(">IIII", 1, 500_000, len(frame), len(frame)) + frame
        )
        assert read.payload == b"hi" and read.time_ns == 1_500_000_000


def test_broken_captures_do_not_crash(tmp_path):
    """Cut-off files end early; garbage is refused; every truncation of a good file is survived."""
    with pytest.raises(SyntaxRefusedError):
        parse_capture(b"hello world, this is no capture")
    frames = [(n, ip_packet(CapturedDatagram(0, A, B, b"hi"), n)) for n in range(3)]
    whole = pcapng(frames)
    for size in range(len(whole)):
        with contextlib.suppress(SyntaxRefusedError):
            assert len(parse_capture(whole[:size])) <= 3
    (tmp_path / "x.pcap").write_bytes(b"nonsense")
    with pytest.raises(UsageError):
        read_recordings(tmp_path / "x.pcap")
    with pytest.raises(UsageError):
        read_recordings(tmp_path / "x.mp3")


def test_a_recording_is_cut_into_turns():
    """Speech with short pauses is one turn, after a long one a new one; the bot's speech marks a barge-in."""
    caller = np.concatenate(
        [silence(1000), speech(300), silence(300), speech(300), silence(1500), speech(400), silence(500)]
    )
    bot = np.concatenate([speech(800), silence(1600), speech(2000)])
    recorded = RecordedCaller("x", caller, bot, keys=[(200.0, "1"), (700.0, "2"), (5000.0, "#")])
    assert [span[0] for span in speech_spans(caller, 600)] == [1000, 3400]
    turns = turns_of(recorded)
    assert [turn.keys or round(len(turn.samples) / 8) for turn in turns] == ["12", 1500, 1000, "#"]
    assert turns[1].barge_in_ms is None
    assert turns[2].barge_in_ms == 1000
    assert speech_spans(silence(1000), 600) == []


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A real capture: words, keys, and the far end's words; and the Call-ID of its call."""
    path = tmp_path_factory.mktemp("capture") / "rec.pcap"
    return path, asyncio.run(record_call(path))


async def record_call(path):
    async with (
        LoopbackBot(delay_ms=150, answer_ms=200) as bot,
        Caller(bot.uri, CallerOptions(limit_s=20)) as call,
    ):
        await call.invite()
        await call.wait_bot_silent(320)
        await call.say(speech(300))
        await call.wait_bot_silent(320)
        await call.press("42")
        await call.wait_bot_silent(320)
        await call.hang_up()
    write_pcap(path, call.capture.datagrams)
    return call.call_id


@pytest.mark.loopback
async def test_a_captured_call_is_replayed_packet_by_packet(capture):
    """Verbatim: a new party receives the recorded packets in order, with the keys, nothing else."""
    path, call_id = capture
    (recorded,) = read_recordings(path)
    (captured,) = calls_of(read_capture(path))
    assert captured.call_id == call_id
    assert recorded.keys and "".join(key for _, key in recorded.keys) == "42"
    async with ScriptedAgent(AgentOptions(ring_ms=0)) as agent:
        run = await run_replay(recorded, CallerOptions(), agent.uri, timing="verbatim", silence_ms=50)
        leg = await agent.wait_call()
    sent = [packet for _, packet in recorded.packets]
    got = [item.packet for item in leg.media.received]
    verbatim = [
        packet
        for packet in got
        if packet.ssrc == got[-1].ssrc and packet.sequence_number in {p.sequence_number for p in sent}
    ]
    assert [packet.payload for packet in verbatim[-len(sent) :]] == [packet.payload for packet in sent]
    assert [press.digit for press in leg.media.events.digits] == ["4", "2"]
    assert run.failures == []


@pytest.mark.loopback
async def test_a_captured_call_is_replayed_turn_by_turn(capture):
    """Turns: the new bot, slower than the old one, is waited for, and answers each turn."""
    path, _ = capture
    (recorded,) = read_recordings(path)
    async with LoopbackBot(delay_ms=300, answer_ms=200) as bot:
        run = await run_replay(recorded, CallerOptions(), bot.uri, silence_ms=320)
    assert run.turns_done == 2 and run.failures == []
    assert bot.turns == 2
    assert all(turn.response_onset_ms is not None for turn in run.measures.turns)


@pytest.mark.loopback
async def test_a_stereo_wav_is_replayed(tmp_path):
    """The left channel of a recording calls again."""
    write_wav(
        tmp_path / "call.wav",
        np.concatenate([silence(600), speech(300), silence(300)]),
        np.concatenate([speech(300), silence(900)]),
    )
    (recorded,) = read_recordings(tmp_path / "call.wav")
    async with LoopbackBot(delay_ms=200) as bot:
        run = await run_replay(recorded, CallerOptions(), bot.uri, silence_ms=320)
    assert bot.turns == 1 and run.turns_done == 1


REAL = Path(__file__).parent / "data/baresip-40ms-impaired.pcap"


def tshark_streams(path, port):
    """SSRC to (packets, lost, mean jitter, longest jitter) as tshark has them."""
    done = subprocess.run(
        ["tshark", "-r", path, "-d", f"udp.port=={port},rtp", "-q", "-z", "rtp,streams"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    out = {}
    for line in done.stdout.splitlines():
        words = line.split()
        ssrc = next((word for word in words if word.startswith("0x") and len(word) == 10), None)
        if ssrc is None:
            continue
        numbers = words[words.index(ssrc) + 1 :]
        at = next(i for i, word in enumerate(numbers) if word.isdigit())
        tail = [float(word) for word in numbers[at + 3 :] if word.replace(".", "").isdigit()]
        out[int(ssrc, 16)] = (int(numbers[at]), int(numbers[at + 1]), tail[-2], tail[-1])
    return out


def harness_streams(path):
    """The same from the harness, and how many packets are keys."""
    (call,) = calls_of(read_capture(path))
    out = {}
    for stream in (*call.caller, *call.called):
        found = measure_stream([ReceivedPacket(at_ns, packet, 0.0) for at_ns, packet in stream.packets])
        out[found.ssrc] = (found.packets, found.lost, found.jitter_mean_ms, found.jitter_max_ms)
    return out


@pytest.mark.peer
def test_tshark_agrees_on_a_real_capture(tmp_path):
    """Baresip's 40 ms packets behind a relay that lost and mixed them, keys among them, seen by dumpcap.

    Jitter is compared without the keys: all packets of one bear the same time, and the two programs leave
    them out in different ways.
    """
    whole, whole_tshark = harness_streams(REAL), tshark_streams(REAL, 51556)
    assert {ssrc: found[:2] for ssrc, found in whole.items()} == {
        ssrc: found[:2] for ssrc, found in whole_tshark.items()
    }
    assert max(lost for _, lost, _, _ in whole.values()) == 10
    words = tmp_path / "words.pcap"
    only = ["-Y", "sip || rtp.p_type == 0", "-F", "pcap", "-w", words]
    subprocess.run(["tshark", "-r", REAL, *only], check=True, capture_output=True, timeout=30)
    ours, theirs = harness_streams(words), tshark_streams(words, 51556)
    for ssrc, (packets, _, mean_jitter_ms, max_jitter_ms) in ours.items():
        assert theirs[ssrc][0] == packets
        assert theirs[ssrc][2] == pytest.approx(mean_jitter_ms, rel=0.02)
        assert theirs[ssrc][3] == pytest.approx(max_jitter_ms, rel=0.02)


@pytest.mark.loopback
@pytest.mark.parametrize("timing", ["turns", pytest.param("verbatim", marks=pytest.mark.long)])
async def test_a_real_capture_with_jitter_loss_keys_and_40_ms_replays(timing):
    """Each key once, the sentence, in turns or with every packet at its time."""
    (recorded,) = read_recordings(REAL)
    assert "".join(key for _, key in recorded.keys) == "407#"
    assert {len(packet.payload) for _, packet in recorded.packets} == {320, 4}
    async with ScriptedAgent() as agent:
        task = asyncio.create_task(
            run_replay(
                recorded, CallerOptions(), agent.uri, timing=timing, silence_ms=100, turn_timeout_s=0.3
            )
        )
        leg = await agent.wait_call()
        await task
    assert "".join(press.digit for press in leg.media.events.digits) == "407#"
    heard = [item for item in leg.media.heard if item.level_dbfs is not None and item.level_dbfs > -45]
    assert len(heard) * len(heard[0].packet.payload) / 8 > 700
    if timing == "verbatim":
        # Before the recorded packets the caller's own silence may have gone out.
        got = {item.packet.payload for item in leg.media.received}
        assert got >= {packet.payload for _, packet in recorded.packets}


@pytest.mark.peer
@pytest.mark.loopback
async def test_tshark_agrees_on_loss_jitter_and_counts(tmp_path):
    """Tshark's rtp,streams of an impaired capture: same packets and loss, jitter within 1 %."""
    from sip_test_harness.clock import wall_ns
    from sip_test_harness.profile import load_profile
    from sip_test_harness.rtp_packet import RtpPacket

    schedule = load_profile("wifi-bursty").build(7)[0]
    from sip_test_harness.impairment import ImpairedPacket

    received = []
    received += [
        ReceivedPacket(
            int((n * 20 + delay) * 1e6), RtpPacket(0, n + 65000 & 0xFFFF, n * 160, 99, bytes(160)), -10.0
        )
        for n in range(1500)
        for delay in schedule.fate(ImpairedPacket(n), n * 20.0)
    ]
    received.sort(key=lambda item: item.arrival_ns)
    write_pcap(
        tmp_path / "x.pcap",
        [CapturedDatagram(item.arrival_ns, A, B, item.packet.encode()) for item in received],
    )
    ((packets, lost, mean_jitter, max_jitter),) = tshark_streams(tmp_path / "x.pcap", 6000).values()
    found = measure_stream(received)
    assert (packets, lost) == (found.packets, found.lost)
    assert mean_jitter == pytest.approx(found.jitter_mean_ms, rel=0.01)
    assert max_jitter == pytest.approx(found.jitter_max_ms, rel=0.01)
    assert wall_ns(0) > 0
