import pytest

from tests.unit.rtp_kit import FRAME_US, audio
from voicebot.rtp.packet import RtpPacket
from voicebot.rtp.rtcp import SenderReport
from voicebot.rtp.stream_stats import StreamStatistics


def feed(statistics: StreamStatistics, indices, **fields) -> None:
    for index in indices:
        statistics.receive(audio(index, **fields), index * FRAME_US)


def test_clean_stream():
    """Nothing lost, no jitter, across a sequence wrap."""
    statistics = StreamStatistics()
    feed(statistics, range(65_500, 65_600))
    seen = statistics.snapshot()
    assert (seen.received, seen.expected, seen.lost, seen.duplicate, seen.reordered) == (
        100,
        100,
        0,
        0,
        0,
    )
    assert seen.jitter_ms == 0
    assert statistics.report_block(0).highest_sequence == 0x10000 + 65_599


def test_loss_duplicates_and_reordering():
    """Each defect is counted once and as itself."""
    statistics = StreamStatistics()
    feed(statistics, [0, 1, 2, 4, 3, 5, 5, 5, 9, 3])
    seen = statistics.snapshot()
    assert (seen.received, seen.expected, seen.lost) == (7, 10, 3)
    assert (seen.duplicate, seen.reordered) == (3, 1)
    assert seen.fraction_lost == pytest.approx(0.3)


def test_first_packets_in_the_wrong_order():
    """A packet from before the first one counts as expected."""
    statistics = StreamStatistics()
    feed(statistics, [1, 0, 2])
    seen = statistics.snapshot()
    assert (seen.received, seen.expected, seen.lost, seen.reordered) == (3, 3, 0, 1)


def test_fraction_lost_is_per_interval():
    """RFC 3550 A.3: each report covers the time since the one before."""
    statistics = StreamStatistics()
    feed(statistics, [0, 1, 2, 7])
    first = statistics.report_block(0)
    assert (first.fraction_lost, first.cumulative_lost) == (128, 4)
    feed(statistics, range(8, 16))
    second = statistics.report_block(0)
    assert (second.fraction_lost, second.cumulative_lost) == (0, 4)


def test_jitter():
    """RFC 3550 A.8: alternate 0 and 10 ms converge to 10 ms."""
    statistics = StreamStatistics()
    for index in range(400):
        statistics.receive(audio(index), index * FRAME_US + index % 2 * 10_000)
    assert statistics.snapshot().jitter_ms == pytest.approx(10.0, abs=0.1)


def test_jitter_survives_a_timestamp_jump_and_ignores_events():
    """An hour's jump and a telephone event (frozen timestamp) are no jitter."""
    statistics = StreamStatistics(telephone_event_payload_type=101)
    feed(statistics, range(50))
    for index in range(50, 60):
        packet = RtpPacket(101, index, 50 * 160, 1, False, b"\x01\x0a\x00\xa0")
        statistics.receive(packet, index * FRAME_US)
    for index in range(60, 100):
        statistics.receive(audio(index, timestamp=index * 160 + 28_800_000), index * FRAME_US)
    seen = statistics.snapshot()
    assert seen.jitter_ms == 0
    assert seen.received == 100


def test_ssrc_change_keeps_the_totals():
    """Counters go on over an SSRC change; the report block is about the new one."""
    statistics = StreamStatistics()
    feed(statistics, [0, 1, 3])
    feed(statistics, [500, 501], ssrc=2)
    seen = statistics.snapshot()
    assert (seen.received, seen.expected, seen.lost, seen.ssrc_changes) == (5, 6, 1, 1)
    block = statistics.report_block(0)
    assert (block.ssrc, block.cumulative_lost) == (2, 0)


def test_sequence_restart_needs_two_packets():
    """One stray sequence number is ignored, two in a row restart (A.1 bad_seq)."""
    statistics = StreamStatistics()
    feed(statistics, [0, 1, 30_000, 2])
    assert statistics.snapshot().restarts == 0
    feed(statistics, [40_000, 40_001, 40_002])
    seen = statistics.snapshot()
    assert seen.restarts == 1
    assert seen.lost == 0


def test_sender_report_times():
    """last_sr and its delay in 1/65536 s; reports of other sources are not ours."""
    statistics = StreamStatistics()
    feed(statistics, [0])
    statistics.receive_sender_report(SenderReport(9, 5 << 32, 0, 0, 0), 0)
    assert statistics.report_block(0).last_sr == 0
    statistics.receive_sender_report(SenderReport(1, 0x1_2345_6789_0000, 0, 0, 0), 1_000_000)
    block = statistics.report_block(1_500_000)
    assert (block.last_sr, block.delay_since_last_sr) == (0x1_2345_6789 & 0xFFFFFFFF, 32_768)


def test_before_the_first_packet():
    """No stream, no report."""
    statistics = StreamStatistics()
    assert statistics.report_block(0) is None
    assert statistics.snapshot().expected == 0
    statistics.note_late()
    assert statistics.snapshot().late == 1
