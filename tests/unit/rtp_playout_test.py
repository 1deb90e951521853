from itertools import pairwise

import pytest

from voicebot.rtp.companding import ULAW_TO_LINEAR, fade_ulaw, linear_to_ulaw
from voicebot.rtp.playout import Cleared, Played, PlayoutQueue

SILENCE = b"\xff"
LOUD = b"\x90"


def ramp(count: int, first: int = 0) -> bytes:
    """Bytes that tell their place and are never silence."""
    return bytes(index % 97 for index in range(first, first + count))


def test_reframes_messages_of_any_length():
    """Messages of 1 byte to 2 s come out as the same bytes in frames of 160."""
    queue = PlayoutQueue()
    sizes = [1, 159, 320, 16_000, 7, 153]
    sent = b""
    for size in sizes:
        part = ramp(size, len(sent))
        sent += part
        queue.enqueue(0, "a", part)
    assert queue.queued_ms == len(sent) / 8
    frames = [queue.next_frame() for _ in range(len(sent) // 160)]
    assert b"".join(frame.payload for frame in frames) == sent
    assert [frame.position_samples for frame in frames] == list(range(0, len(sent), 160))
    assert [frame.utterance_position_samples for frame in frames] == list(range(0, len(sent), 160))
    assert queue.next_frame().silence


def test_silence_when_there_is_nothing_to_say():
    """An empty queue gives silent frames, and the stream position goes on."""
    queue = PlayoutQueue()
    frames = [queue.next_frame() for _ in range(3)]
    assert [frame.payload for frame in frames] == [SILENCE * 160] * 3
    assert [frame.position_samples for frame in frames] == [0, 160, 320]
    assert frames[0].silence and frames[0].utterance is None


def test_progress_every_100_ms_and_once_at_the_end():
    """Played comes at 100, 200 ms and finished exactly once, with the exact length."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 2000)
    queue.end_of_utterance("a")
    for _ in range(20):
        queue.next_frame()
    assert queue.take_played() == [
        Played("a", 100.0, finished=False),
        Played("a", 200.0, finished=False),
        Played("a", 250.0, finished=True),
    ]
    assert queue.take_played() == []


def test_empty_utterance_is_finished_at_once():
    """A voice that made no audio still ends its utterance."""
    queue = PlayoutQueue()
    queue.end_of_utterance("a")
    assert queue.take_played() == [Played("a", 0.0, finished=True)]


def test_an_utterance_is_not_finished_while_more_may_come():
    """An underrun is no end."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 100)
    assert queue.next_frame().payload == LOUD * 100 + SILENCE * 60
    queue.next_frame()
    assert queue.take_played() == []
    queue.end_of_utterance("a")
    assert queue.take_played() == [Played("a", 12.5, finished=True)]


def test_two_utterances_share_a_frame():
    """The next utterance starts in the middle of a frame; each counts its own samples."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 200)
    queue.enqueue(0, "b", LOUD * 200)
    queue.next_frame()
    frame = queue.next_frame()
    assert frame.utterance == "a" and frame.utterance_position_samples == 160
    assert (queue.played_ms("a"), queue.played_ms("b")) == (25.0, 15.0)


@pytest.mark.parametrize("ramp_ms", [0, 5, 20, 30])
def test_pause_and_resume_skip_and_repeat_nothing(ramp_ms):
    """Over any number of pauses every sample goes out exactly once (faded or not), in order."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 8000)
    voiced = 0
    for tick in range(200):
        if tick % 10 == 3:
            queue.pause(ramp_ms)
        if tick % 10 == 7:
            queue.resume()
        before = queue.played_ms("a")
        frame = queue.next_frame()
        if not frame.silence:
            assert frame.utterance_position_samples == before * 8
        voiced += queue.played_ms("a") - before
        assert queue.played_ms("a") + queue.queued_ms == 1000
    assert voiced == 1000


def test_pause_fades_and_then_is_silent():
    """The level falls monotonically to silence, and stays there."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 8000)
    queue.next_frame()
    queue.pause(20)
    levels = [abs(ULAW_TO_LINEAR[code]) for code in queue.next_frame().payload]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 20 * levels[-1]
    assert queue.next_frame().payload == SILENCE * 160
    assert queue.paused and queue.queued_ms == 960


def largest_step(payload: bytes) -> int:
    linear = [ULAW_TO_LINEAR[code] for code in payload]
    return max(abs(b - a) for a, b in pairwise(linear))


def test_clear_makes_no_click():
    """A clear in full level fades within 5 ms: no step above a tenth of the level."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 8000)
    first = queue.next_frame().payload
    queue.clear(1)
    cut = first + queue.next_frame().payload + queue.next_frame().payload
    assert largest_step(cut) < ULAW_TO_LINEAR[LOUD[0]] / 10
    assert cut[200:] == SILENCE * 280


def test_clear_reports_exactly_what_was_heard():
    """Played and dropped add up, per utterance, to what was sent."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 400)
    queue.end_of_utterance("a")
    queue.enqueue(0, "b", LOUD * 1600)
    for _ in range(3):
        queue.next_frame()
    assert queue.clear(1) == [Cleared("b", 15.0, 185.0)]
    assert queue.queued_ms == 0
    assert queue.dropped_ms == 185.0
    assert queue.played_ms("a") == 50.0


def test_clear_before_anything_was_heard():
    """Audio that never began has no fade-out and 0 ms played."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 1600)
    assert queue.clear(1) == [Cleared("a", 0.0, 200.0)]
    assert queue.next_frame().silence


def test_clear_reports_an_utterance_that_ran_dry():
    """A streaming voice that is behind at the barge-in: what was heard so far is reported."""
    queue = PlayoutQueue()
    queue.enqueue(0, "done", LOUD * 160)
    queue.end_of_utterance("done")
    queue.enqueue(0, "a", LOUD * 320)
    for _ in range(4):
        queue.next_frame()
    assert queue.clear(1) == [Cleared("a", 40.0, 0.0)]
    assert queue.clear(2) == []
    queue.end_of_utterance("a")
    assert [r for r in queue.take_played() if r.finished] == [Played("done", 20.0, finished=True)]


def test_clear_while_paused():
    """A pause that turns into a barge-in drops the rest without another sound."""
    queue = PlayoutQueue()
    queue.enqueue(0, "a", LOUD * 1600)
    queue.next_frame()
    queue.pause(5)
    queue.next_frame()
    assert queue.clear(1) == [Cleared("a", 25.0, 175.0)]
    assert queue.next_frame().silence
    assert not queue.paused


def test_audio_in_flight_is_dropped_after_a_clear():
    """Audio of an older generation that arrives after the clear is refused and counted."""
    queue = PlayoutQueue()
    queue.clear(3)
    assert not queue.enqueue(2, "old", LOUD * 160)
    assert queue.enqueue(3, "new", LOUD * 160)
    assert queue.dropped_ms == 20.0
    assert queue.next_frame().utterance == "new"


def test_clear_keeps_the_new_generation():
    """Audio of the new generation that overtook its clear stays."""
    queue = PlayoutQueue()
    queue.enqueue(0, "old", LOUD * 1600)
    queue.enqueue(1, "new", ramp(160))
    queue.next_frame()
    assert queue.clear(1, ramp_ms=0) == [Cleared("old", 20.0, 180.0)]
    assert queue.next_frame().payload == ramp(160)


def test_the_cap_drops_the_oldest():
    """A runaway voice costs memory up to the cap; what is dropped is counted, not played."""
    queue = PlayoutQueue(max_queued_ms=1000)
    for index in range(300):
        queue.enqueue(0, "a", bytes([index % 97]) * 160)
    assert queue.queued_ms == 1000
    assert queue.dropped_ms == 5000
    assert queue.next_frame().payload == bytes([250 % 97]) * 160
    assert queue.played_ms("a") == 20


def test_many_utterances_do_not_grow_memory():
    """Progress of 10,000 finished utterances is forgotten."""
    queue = PlayoutQueue()
    for index in range(10_000):
        queue.enqueue(0, str(index), LOUD * 10)
        queue.end_of_utterance(str(index))
        queue.next_frame()
    assert len(queue._utterances) <= 256
    assert len(queue.take_played()) <= 1024


def test_ulaw_round_trip():
    """Every code survives decoding and encoding (0x7F is the second zero)."""
    assert [linear_to_ulaw(ULAW_TO_LINEAR[code]) for code in range(256)] == [
        0xFF if code == 0x7F else code for code in range(256)
    ]


def test_fade_in_pieces_equals_fade_at_once():
    """A fade that spans two frames has no seam."""
    whole = fade_ulaw(LOUD * 100, 0, 80)
    assert fade_ulaw(LOUD * 60, 0, 80) + fade_ulaw(LOUD * 40, 60, 80) == whole


@pytest.mark.parametrize("cleared", [False, True])
def test_a_name_that_is_used_again_is_reported_to_its_end_again(cleared):
    """A worker that begins a call anew counts from the first name; before, its prompts never ended."""
    queue = PlayoutQueue()
    queue.enqueue(0, "u1", b"\x00" * 320)
    queue.end_of_utterance("u1")
    queue.next_frame()
    if cleared:
        queue.clear(1)
    while not queue.next_frame().silence:
        pass
    queue.take_played()
    queue.enqueue(1, "u1", b"\x00" * 160)
    queue.end_of_utterance("u1")
    assert queue.next_frame().utterance == "u1"
    (played,) = queue.take_played()
    assert (played.utterance, played.played_ms, played.finished) == ("u1", 20, True)
