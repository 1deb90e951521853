"""Voices run on threads; their audio reaches the loop in order and can be stopped."""

import asyncio
import threading

import pytest

from voicebot.core.delivery import Delivery
from voicebot.core.errors import SynthesisError
from voicebot.worker.speaking import PIECES_AHEAD, SpeakingPool


class Endless:
    """Renders for ever until cancelled, and notes it."""

    def __init__(self):
        self.stopped = threading.Event()
        self.pieces = 0

    def render(self, text, *, voice=None, cancelled=lambda: False, **_):
        while not cancelled():
            self.pieces += 1
            yield b"\x00" * 160
        self.stopped.set()


class Failing:
    def __init__(self, error):
        self.error = error

    def render(self, text, *, voice=None, cancelled=lambda: False, **_):
        yield b"\x01"
        raise self.error


class Words:
    def render(self, text, *, voice=None, cancelled=lambda: False, **_):
        for word in text.split():
            yield f"{voice}:{word}".encode()


async def test_pieces_arrive_in_order():
    pool = SpeakingPool(Words(), 2)
    assert [p async for p in pool.speak("one two three", Delivery(voice="rms"))] == [
        b"rms:one",
        b"rms:two",
        b"rms:three",
    ]
    pool.close()


async def test_leaving_the_iterator_stops_the_voice():
    engine = Endless()
    pool = SpeakingPool(engine, 1)
    stream = pool.speak("for ever")
    assert await anext(stream) == b"\x00" * 160
    await stream.aclose()
    assert await asyncio.to_thread(engine.stopped.wait, 5)
    pool.close()


async def test_a_voice_never_runs_far_ahead_of_its_listener():
    engine = Endless()
    pool = SpeakingPool(engine, 1)
    stream = pool.speak("for ever")
    for _ in range(10):
        await anext(stream)
    await asyncio.to_thread(engine.stopped.wait, 0.05)
    assert engine.pieces <= PIECES_AHEAD + 12
    await stream.aclose()
    pool.close()


@pytest.mark.parametrize("error", [SynthesisError("no voice"), ValueError("a bug")])
async def test_any_failure_of_an_engine_is_a_synthesis_error(error):
    pool = SpeakingPool(Failing(error), 1)
    stream = pool.speak("x")
    assert await anext(stream) == b"\x01"
    with pytest.raises(SynthesisError):
        await anext(stream)
    pool.close()
