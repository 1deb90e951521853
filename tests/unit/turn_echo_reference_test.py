"""The reference is what went out when a frame was heard, whatever the network did to its arrival."""

import pytest

from voicebot.audio.g711 import decode_ulaw
from voicebot.turn.echo_reference import EchoReference


def payload(tick):
    return bytes([tick % 120]) * 160


def sent_up_to(reference, tick):
    for t in range(tick + 1):
        reference.sent((t + 1) * 160, payload(t))


def test_frames_in_time_get_the_tick_at_which_they_came():
    reference = EchoReference()
    for tick in range(5):
        reference.sent((tick + 1) * 160, payload(tick))
        samples, active = reference.at(tick, (tick + 1) * 160)
        assert active
        assert samples[0] == decode_ulaw(payload(tick))[0]
    assert reference.at(5, 6 * 160)[1] is False


def test_a_burst_after_a_stall_keeps_its_alignment():
    """Five frames handed on at once: each gets the audio of its own time, not of the moment."""
    reference = EchoReference()
    sent_up_to(reference, 20)
    for frame in range(10):
        reference.at(frame, frame * 160)
    for frame in range(10, 15):
        samples, active = reference.at(frame, 15 * 160)
        assert active
        assert samples[0] == decode_ulaw(payload(frame - 1))[0]


@pytest.mark.parametrize("late_ticks", [1, 2, 5])
def test_a_first_frame_that_came_late_does_not_make_it_look_into_the_future(late_ticks):
    """One tick late was taken for jitter: all later frames asked for what had not been sent yet."""
    reference = EchoReference()
    sent_up_to(reference, late_ticks)
    for frame in range(late_ticks + 1):
        reference.at(frame, (late_ticks + 1) * 160)
    for frame in range(late_ticks + 1, 40):
        reference.sent((frame + 1) * 160, payload(frame))
        samples, active = reference.at(frame, (frame + 1) * 160)
        assert active
        assert samples[0] == decode_ulaw(payload(frame))[0]


def test_silence_needs_no_telling_and_is_silence():
    samples, active = EchoReference().at(0, 160)
    assert not active
    assert not samples.any()


def test_memory_is_bounded():
    reference = EchoReference()
    sent_up_to(reference, 10_000)
    assert len(reference._sent) <= 100


def test_a_late_or_odd_report_is_passed_over():
    reference = EchoReference()
    reference.sent(160, payload(1))
    reference.sent(160, payload(2))
    reference.sent(320, b"short")
    assert list(reference._sent) == [1]
