import pytest

from voicebot.rtp.send_clock import SendClock


def test_one_frame_per_interval():
    """Read each millisecond for a minute: 3,000 frames, each at its exact time."""
    clock = SendClock(7_000)
    due = [now_us for now_us in range(0, 60_000_000, 1000) if clock.take(now_us)]
    assert due[:3] == [7_000, 27_000, 47_000]
    assert len(due) == 3000
    assert clock.slipped_us == 0


def test_rounding_never_adds_up():
    """Frame n is due at start + n x interval, whenever the others were sent."""
    clock = SendClock(0)
    now_us = 0
    for index in range(1000):
        assert clock.next_due_us == clock.due_us(index) == index * 20_000
        now_us = clock.next_due_us + 3_000
        assert clock.take(now_us) == 1
        assert clock.next_index == index + 1


def test_short_stall_is_caught_up():
    """55 ms late: the three frames that are due go out together, then the beat is as before."""
    clock = SendClock(0)
    clock.take(0)
    assert clock.take(75_000) == 3
    assert clock.next_due_us == 80_000
    assert clock.slipped_us == 0


def test_long_stall_is_written_off():
    """After 1 s at most three frames go out at once; the schedule has moved by the rest."""
    clock = SendClock(0)
    clock.take(0)
    assert clock.take(1_000_000) == 3
    assert clock.next_index == 4
    assert clock.next_due_us == 1_020_000
    assert clock.slipped_us == 940_000
    assert clock.take(1_019_999) == 0


@pytest.mark.parametrize("settings", [{"interval_us": 0}, {"max_burst_frames": 0}])
def test_impossible_settings(settings):
    """A clock that never ticks is refused."""
    with pytest.raises(ValueError):
        SendClock(0, **settings)
