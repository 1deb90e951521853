import threading

import pytest

from tests.unit.tts_renderer_test import FLAT, Scripted, renderer
from voicebot.tts.renderer import ShapedVoice, SpeechRenderer
from voicebot.tts.speaking import PlayingTime
from voicebot.tts.speaking_slots import SpeakingSlots
from voicebot.tts.tone import render_tone


def never():
    return False


def test_the_earliest_due_gets_the_next_slot():
    """Not who asked first."""
    slots, order, ready = SpeakingSlots(1), [], threading.Barrier(4)
    assert slots.acquire(0.0, never)

    def want(due_s):
        ready.wait(5)
        slots.acquire(due_s, never)
        order.append(due_s)
        slots.release()

    threads = [threading.Thread(target=want, args=(due_s,)) for due_s in (3.0, 1.0, 2.0)]
    for t in threads:
        t.start()
    ready.wait(5)
    while len(slots._waiting) < 3:
        threading.Event().wait(0.001)
    slots.release()
    for t in threads:
        t.join(5)
    assert order == [1.0, 2.0, 3.0]


def test_waiting_ends_when_it_is_given_up():
    """A cancelled utterance leaves no place in the queue behind."""
    slots = SpeakingSlots(1)
    assert slots.acquire(0.0, never)
    assert not slots.acquire(1.0, lambda: True)
    assert not slots.wanted_before(9.0)
    slots.release()
    assert slots.acquire(2.0, never)


def test_only_a_more_urgent_waiter_is_worth_a_change():
    """wanted_before compares due times."""
    slots = SpeakingSlots(0)
    stop = threading.Event()
    waiter = threading.Thread(target=slots.acquire, args=(5.0, stop.is_set))
    waiter.start()
    while not slots._waiting:
        threading.Event().wait(0.001)
    assert slots.wanted_before(6.0)
    assert not slots.wanted_before(4.0)
    stop.set()
    waiter.join(5)


@pytest.mark.parametrize("voices", [8])
def test_hung_voices_do_not_keep_their_slots(voices):
    """More hanging utterances than cores, and the next voice still speaks for everybody."""

    def hang(_text, _sink):
        threading.Event().wait(5)

    def speak(_text, sink):
        sink(render_tone(200))

    shelf = {f"h{n}": ShapedVoice(Scripted(f"h{n}", hang), FLAT) for n in range(voices)}
    shelf["good"] = ShapedVoice(Scripted("good", speak), FLAT)
    speech = SpeechRenderer(shelf, ["good"], deadline_ms=200)
    lengths = []
    threads = [
        threading.Thread(
            target=lambda n=n: lengths.append(len(b"".join(speech.render("Hi.", voice=f"h{n}"))))
        )
        for n in range(voices)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    assert len(lengths) == voices
    assert min(lengths) >= 1600


def test_an_utterance_far_ahead_makes_room_for_one_that_begins():
    """Many more utterances than cores at once: all of them get their whole audio."""

    def speak(_text, sink):
        for _ in range(40):
            if not sink(render_tone(20)):
                return

    speech = renderer(Scripted("a", speak))
    lengths = []
    threads = [
        threading.Thread(target=lambda: lengths.append(len(b"".join(speech.render("Hello.")))))
        for _ in range(16)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert len(lengths) == 16
    assert min(lengths) >= 8 * 800


def test_playing_time_is_what_the_caller_still_has_to_hear():
    """Before the first audio the deadline counts, later the audio in hand as well; pauses are forgiven."""
    now = [10.0]
    playing = PlayingTime(lambda: now[0], 0.7)
    assert playing.time_left_s() == pytest.approx(0.7)
    now[0] = 10.5
    assert playing.time_left_s() == pytest.approx(0.2)
    playing.add(8000)
    assert playing.until_s == pytest.approx(11.5)
    assert playing.time_left_s() == pytest.approx(1.7)
    now[0] = 13.0
    playing.begin_voice()
    assert playing.until_s == pytest.approx(13.0)
