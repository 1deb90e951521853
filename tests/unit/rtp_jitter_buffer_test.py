import pytest

from tests.unit.rtp_kit import FRAME_US, QUIET, SPEECH, audio, kinds, speech
from voicebot.rtp.jitter_buffer import FrameKind, InsertResult, JitterBuffer, JitterFrame, ReadMode
from voicebot.rtp.packet import COMFORT_NOISE, PCMA, RtpPacket

START_US = 5_000_000


class Line:
    """A buffer read each time something arrives and each 20 ms, as the edge does."""

    def __init__(self, mode: ReadMode = ReadMode.EAGER, **settings: int) -> None:
        self.buffer = JitterBuffer(mode, **settings)
        self.frames: list[JitterFrame] = []
        self.results: list[InsertResult] = []
        self.now_us = START_US

    def receive(self, packet: RtpPacket, at_us: int) -> InsertResult:
        """Insert at a time relative to the start, after all ticks that come before it."""
        self.wait_until(at_us)
        result = self.buffer.insert(packet, START_US + at_us)
        self.results.append(result)
        self.frames += self.buffer.read(START_US + at_us)
        return result

    def wait_until(self, at_us: int) -> None:
        while self.now_us < START_US + at_us:
            self.frames += self.buffer.read(self.now_us)
            self.now_us += FRAME_US

    def play(self, count: int, *, first: int = 0, at_us: int | None = None, **fields) -> None:
        for index in range(first, first + count):
            offset = (index - first) * FRAME_US
            self.receive(audio(index, **fields), (first * FRAME_US if at_us is None else at_us) + offset)


BOTH = pytest.mark.parametrize("mode", list(ReadMode))


def assert_contiguous(frames: list[JitterFrame]) -> None:
    positions = [frame.position_samples for frame in frames]
    assert positions == list(range(positions[0], positions[0] + 160 * len(positions), 160))


@BOTH
def test_in_order(mode):
    """A clean stream comes out whole, in order, with contiguous positions."""
    line = Line(mode)
    line.play(100)
    line.wait_until(100 * FRAME_US + 60_000)
    assert speech(line.frames)[:100] == list(range(100))
    assert_contiguous(line.frames[:100])


def test_eager_adds_no_delay_to_a_clean_stream():
    """Eager reading releases a frame with the packet that brings it."""
    line = Line()
    for index in range(50):
        line.receive(audio(index), index * FRAME_US)
        assert speech(line.frames) == list(range(index + 1))
    assert max(frame.playout_delay_ms for frame in line.frames) == 0


@BOTH
def test_out_of_order(mode):
    """Swapped neighbours are put right; nothing is lost."""
    line = Line(mode)
    line.play(10)
    line.receive(audio(11), 220_000)
    line.receive(audio(10), 225_000)
    line.play(10, first=12)
    line.wait_until(22 * FRAME_US + 60_000)
    assert speech(line.frames)[:22] == list(range(22))


@BOTH
def test_missing(mode):
    """A missing packet becomes one LOST frame at its place."""
    line = Line(mode)
    line.play(10)
    line.play(10, first=11)
    line.wait_until(21 * FRAME_US + 60_000)
    assert kinds(line.frames)[:21] == ["speech"] * 10 + ["lost"] + ["speech"] * 10
    assert line.buffer.stats().lost_frames >= 1


def test_eager_waits_for_a_gap_only_until_its_deadline():
    """After the gap's playout time everything behind it leaves at once."""
    line = Line(initial_delay_ms=40)
    line.play(3)
    line.receive(audio(4), 4 * FRAME_US)
    assert speech(line.frames) == [0, 1, 2]
    due_us = line.buffer.next_due_us
    assert 40_000 <= due_us - START_US - 3 * FRAME_US <= 41_000
    line.frames += line.buffer.read(due_us - 1)
    assert speech(line.frames) == [0, 1, 2]
    line.frames += line.buffer.read(due_us)
    assert kinds(line.frames) == ["speech"] * 3 + ["lost", "speech"]


@BOTH
def test_duplicate(mode):
    """The second copy is refused and heard by nobody."""
    line = Line(mode)
    line.play(5)
    assert line.receive(audio(4), 5 * FRAME_US - 1) is InsertResult.DUPLICATE
    line.play(5, first=5)
    line.wait_until(10 * FRAME_US + 60_000)
    assert speech(line.frames)[:10] == list(range(10))


@BOTH
def test_late(mode):
    """A packet behind its LOST frame is late, counted and not played."""
    line = Line(mode)
    line.play(10)
    line.play(20, first=11)
    assert line.receive(audio(10), 31 * FRAME_US) is InsertResult.LATE
    assert 10 not in speech(line.frames)
    assert line.buffer.stats().late == 1


@BOTH
def test_sequence_and_timestamp_wrap(mode):
    """Both numbers wrap without a seam."""
    line = Line(mode)
    for index in range(20):
        packet = audio(index, sequence=0xFFF6 + index, timestamp=0xFFFFFA00 + 160 * index)
        line.receive(packet, index * FRAME_US)
    line.wait_until(20 * FRAME_US + 60_000)
    assert speech(line.frames)[:20] == list(range(20))
    assert kinds(line.frames)[:20] == ["speech"] * 20
    timestamps = [frame.timestamp for frame in line.frames[:20]]
    assert timestamps == [0xFFFFFA00 + 160 * index for index in range(20)]


@BOTH
def test_startup_earlier(mode):
    """A packet overtaken at the very start is played first if nothing has left yet."""
    line = Line(mode)
    line.buffer.insert(audio(1), START_US)
    line.buffer.insert(audio(0), START_US + 1)
    line.now_us += 20
    line.wait_until(200_000)
    assert speech(line.frames) == [0, 1]


@BOTH
def test_ssrc_change(mode):
    """Another SSRC with other numbers goes on at once: nothing lost, nothing inserted."""
    line = Line(mode)
    line.play(50)
    for index in range(50, 100):
        packet = audio(index, ssrc=2, sequence=30_000 + index, timestamp=3_000_000_000 + index * 160)
        line.receive(packet, index * FRAME_US)
    line.wait_until(100 * FRAME_US + 60_000)
    assert speech(line.frames)[:100] == list(range(100))
    assert_contiguous(line.frames[:100])
    assert line.buffer.stats().resynced == 1


def test_stale_ssrc_does_not_flip_back():
    """A straggler of the old SSRC does not end the new stream."""
    line = Line()
    line.play(10)
    line.play(5, first=10, ssrc=2)
    assert line.receive(audio(10), 15 * FRAME_US - 1) is InsertResult.UNCONFIRMED
    line.play(5, first=15, ssrc=2)
    assert speech(line.frames) == list(range(20))


@BOTH
@pytest.mark.parametrize("jump", [3600 * 8000, -3600 * 8000, 8000, -8000, 2**31 - 1])
def test_timestamp_jump(mode, jump):
    """A timestamp that jumps (1 h and others) inserts no silence and loses at most one frame."""
    line = Line(mode)
    line.play(50)
    for index in range(50, 100):
        line.receive(audio(index, timestamp=1600 * 160 + index * 160 + jump), index * FRAME_US)
    line.wait_until(100 * FRAME_US + 60_000)
    heard = speech(line.frames)
    assert len(heard) >= 99
    assert kinds(line.frames)[:99].count("speech") >= 98


@BOTH
def test_frozen_timestamp(mode):
    """A sender whose timestamp stands still is played by its sequence numbers."""
    line = Line(mode)
    line.play(20)
    for index in range(20, 70):
        line.receive(audio(index, timestamp=20 * 160), index * FRAME_US)
    line.play(30, first=70)
    line.wait_until(100 * FRAME_US + 40_000)
    heard = speech(line.frames)
    assert len(heard) >= 99
    assert kinds(line.frames)[:99].count("speech") >= 98


def test_sequence_restart():
    """Sequence numbers that start anew cost at most one frame."""
    line = Line()
    line.play(50)
    for index in range(50, 100):
        line.receive(audio(index, sequence=40_000 + index, timestamp=index * 160), index * FRAME_US)
    assert len(speech(line.frames)) == 99
    assert line.results[50] is InsertResult.UNCONFIRMED


@BOTH
@pytest.mark.parametrize("marker", [True, False])
def test_dtx_gap(mode, marker):
    """5 s without packets and without a sequence gap is silence, not loss, and adds no delay."""
    line = Line(mode)
    line.play(49)
    line.receive(audio(49, payload=QUIET), 49 * FRAME_US)
    resume = 300
    for index in range(50, 100):
        packet = audio(index, timestamp=(index + 250) * 160, marker=marker and index == 50)
        line.receive(packet, (index - 50 + resume) * FRAME_US)
        assert line.buffer.buffered_ms <= 60
    line.wait_until(350 * FRAME_US + 60_000)
    stats = line.buffer.stats()
    assert stats.lost_frames == 0
    assert 245 <= stats.dtx_frames <= 255
    heard = [first for first in speech(line.frames) if first != QUIET[0]]
    assert heard == [*range(49), *range(50, 100)]
    assert line.frames[320].playout_delay_ms <= 41


def test_time_goes_on_during_dtx():
    """A recogniser gets silence frames while the sender pauses, so that an endpoint can be found."""
    line = Line()
    line.play(50)
    line.wait_until(50 * FRAME_US + 1_000_000)
    assert kinds(line.frames)[50:53] == ["lost"] * 3
    assert kinds(line.frames)[53:].count("dtx") >= 35


@BOTH
def test_comfort_noise(mode):
    """PT 13 comes out as comfort noise, the pause after it as DTX without any grace time."""
    line = Line(mode)
    line.play(20)
    noise = RtpPacket(COMFORT_NOISE, 20, 20 * 160, 1, False, b"\x40")
    line.receive(noise, 20 * FRAME_US)
    for index in range(21, 30):
        line.receive(audio(index, timestamp=(index + 79) * 160), (index + 79) * FRAME_US)
    assert kinds(line.frames)[19:23] == ["speech", "comfort_noise", "dtx", "dtx"]
    assert line.buffer.stats().lost_frames == 0
    assert line.frames[20].payload == b"\x40"


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
@BOTH
def test_packet_times(mode, ptime_ms):
    """10 to 60 ms packets come out as the same 20 ms frames."""
    size = ptime_ms * 8
    line = Line(mode)
    stream = bytes(index % 251 for index in range(size * 48))
    for index in range(48):
        payload = stream[index * size : (index + 1) * size]
        line.receive(audio(index, payload=payload, size=size), index * ptime_ms * 1000)
    line.wait_until(48 * ptime_ms * 1000 + 60_000)
    heard = b"".join(f.payload for f in line.frames if f.kind is FrameKind.SPEECH)
    assert heard[: len(stream)] == stream
    assert line.buffer.stats().lost_frames <= 3


def test_half_a_frame_is_kept():
    """Of a 10 ms stream with a loss the other half of the frame is delivered, marked as short."""
    line = Line()
    for index in (*range(10), *range(11, 20)):
        line.receive(audio(index, size=80), index * 10_000)
    line.wait_until(300_000)
    short = [frame for frame in line.frames if frame.missing_samples]
    assert [frame.missing_samples for frame in short] == [80]
    assert short[0].payload == bytes([0xFF]) * 80 + audio(11, size=80).payload


@pytest.mark.parametrize(
    ("mode", "ppm"),
    [(ReadMode.PACED, -200), (ReadMode.PACED, 200), (ReadMode.EAGER, -200), (ReadMode.EAGER, 200)],
)
def test_clock_skew(mode, ppm):
    """30 minutes with a sender 200 ppm off: the delay stays bounded and almost nothing is lost."""
    line = Line(mode)
    period_us = FRAME_US * (1 + ppm / 1e6)
    for index in range(90_000):
        payload = SPEECH if index % 100 < 70 else QUIET
        line.receive(audio(index, payload=payload), int(index * period_us))
        if len(line.frames) > 100:
            assert line.frames[-1].playout_delay_ms <= 45
            line.frames.clear()
        assert line.buffer.buffered_ms <= 80
    stats = line.buffer.stats()
    assert stats.lost_frames + stats.late <= 2
    assert stats.accelerated_frames <= 30


def test_overflow_drops_the_oldest():
    """With nobody reading, the newest second is kept and the rest is counted."""
    buffer = JitterBuffer(ReadMode.PACED, capacity_ms=1000)
    results = [buffer.insert(audio(index), index * FRAME_US) for index in range(120)]
    assert buffer.buffered_ms == 1000
    assert results.count(InsertResult.OVERFLOW) == buffer.stats().overflow == 70
    assert speech(buffer.read(10_000_000))[:2] == [70, 71]


@BOTH
def test_burst_after_a_stall(mode):
    """After a stall of 2 s the buffer is back at its former delay; it does not keep the backlog."""
    line = Line(mode)
    line.play(500)
    for index in range(500, 600):
        line.receive(audio(index), 600 * FRAME_US)
    line.play(200, first=600)
    assert line.frames[-1].playout_delay_ms <= 80
    assert line.frames[-1].timestamp >= 795 * 160
    assert line.buffer.buffered_ms <= 100


def test_eager_stall_below_the_grace_time_loses_nothing():
    """A stall of 180 ms is waited out by the recogniser's path, though it is past every deadline."""
    line = Line()
    line.play(50)
    for index in range(50, 59):
        line.receive(audio(index), 59 * FRAME_US)
    line.play(40, first=59)
    assert speech(line.frames) == list(range(99))
    assert line.buffer.stats().late == 0


def test_telephone_events_are_no_loss():
    """Sequence numbers that DTMF packets used up do not make LOST frames."""
    line = Line()
    line.play(20)
    for index in range(20, 30):
        event = RtpPacket(101, index, 20 * 160, 1, False, b"\x01\x0a\x00\xa0")
        assert line.receive(event, index * FRAME_US) is InsertResult.NOT_AUDIO
    line.play(20, first=30)
    assert line.buffer.stats().lost_frames == 0
    assert speech(line.frames) == [*range(20), *range(30, 50)]


def test_time_goes_on_during_telephone_events():
    """While a key is held the recogniser gets a frame of silence each 20 ms, without a grace time."""
    line = Line()
    line.play(20)
    for index in range(20, 120):
        event = RtpPacket(101, index, 20 * 160, 1, False, b"\x01\x0a\x00\xa0")
        line.receive(event, index * FRAME_US)
    assert kinds(line.frames)[20:] == ["dtx"] * (len(line.frames) - 20)
    assert len(line.frames) >= 117


def test_packets_of_an_unknown_codec_are_no_loss():
    """A payload type that was renegotiated elsewhere is skipped, not concealed."""
    line = Line()
    line.play(20)
    assert line.receive(audio(20, payload_type=18), 20 * FRAME_US) is InsertResult.UNUSABLE
    line.play(20, first=21)
    assert kinds(line.frames) == ["speech"] * 20 + ["dtx"] + ["speech"] * 20


def test_noise_lasts_until_the_next_speech():
    """After a noise description silence comes on time for as long as it lasts."""
    line = Line()
    line.play(20)
    line.receive(RtpPacket(COMFORT_NOISE, 20, 20 * 160, 1, False, b"\x40"), 20 * FRAME_US)
    line.wait_until(220 * FRAME_US)
    assert kinds(line.frames)[20] == "comfort_noise"
    assert len(line.frames) >= 217


def test_sender_clock_that_stands_still_in_a_pause():
    """A timestamp that did not count the pause does not make the rest of the call late."""
    line = Line()
    line.play(50)
    for index in range(50, 100):
        line.receive(audio(index), (index + 250) * FRAME_US)
    assert len(speech(line.frames)) >= 98
    assert line.buffer.buffered_ms == 0


def test_unusable_payloads():
    """Unknown codecs, empty and giant payloads are refused."""
    buffer = JitterBuffer()
    assert buffer.insert(audio(0, payload_type=18), 0) is InsertResult.UNUSABLE
    assert buffer.insert(audio(0, payload=b""), 0) is InsertResult.UNUSABLE
    assert buffer.insert(audio(0, payload=bytes(801)), 0) is InsertResult.UNUSABLE
    assert buffer.read(10**9) == []


def test_alaw_half_frames_are_padded_with_alaw_silence():
    """The hole in an A-law frame holds A-law silence."""
    line = Line()
    for index in (0, 1, 3):
        line.receive(audio(index, size=80, payload_type=PCMA), index * 10_000)
    line.wait_until(300_000)
    assert line.frames[1].payload == bytes([0xD5]) * 80 + audio(3, size=80).payload


def test_a_reader_that_stayed_away_gets_no_hour_of_silence():
    """After an hour without a read at most the capacity comes out at once."""
    line = Line()
    line.play(10)
    assert len(line.buffer.read(START_US + 3_600_000_000)) <= 51
