"""The threads between the event loop and a blocking engine."""

import asyncio
import threading

import numpy as np
import pytest

from voicebot.asr.fake import FakeFactory
from voicebot.asr.pool import MAX_LOST_THREADS, RecogniserPool
from voicebot.asr.protocol import Hypothesis
from voicebot.core.errors import OverloadError, RecognitionError

FRAME = np.zeros(160, np.int16)


class Engine:
    """Records what it is given; waits at a gate when told to."""

    def __init__(self):
        self.audio = []
        self.calls = 0
        self.inside = 0
        self.overlaps = 0
        self.started_with = []
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error = None

    description = "recording engine"

    def start(self, grammar, kind=""):
        self.started_with.append(grammar)
        return self

    def accept(self, pcm):
        self.inside += 1
        self.overlaps += self.inside > 1
        self.entered.set()
        self.gate.wait(20)
        self.calls += 1
        self.audio.append(pcm)
        self.inside -= 1
        if self.error:
            raise self.error
        return Hypothesis(text=f"{len(b''.join(self.audio)) // 2} samples")

    def finish(self):
        return Hypothesis(text=f"{len(b''.join(self.audio)) // 2} samples", final=True)

    def close(self):
        self.closed += 1


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def pool(engine):
    pool = RecogniserPool(engine, threads=2, engine_limit_s=10)
    yield pool
    engine.gate.set()
    pool.close()


async def test_all_audio_arrives_in_order_before_the_answer(pool, engine):
    """What was fed is what the engine hears, and finish answers after the last of it."""
    turn = pool.start(["yes"])
    for value in range(50):
        turn.feed(np.full(160, value, np.int16))
    final = await turn.finish()
    assert final.text == "8000 samples"
    heard = np.frombuffer(b"".join(engine.audio), np.int16)
    assert heard[::160].tolist() == list(range(50))
    assert engine.started_with == [["yes"]]
    assert engine.closed == 1


async def test_one_turn_is_never_in_two_threads(pool, engine):
    """While a thread is inside the engine, more audio waits instead of waking a second one."""
    engine.gate.clear()
    turn = pool.start(None)
    turn.feed(FRAME)
    await asyncio.to_thread(engine.entered.wait, 10)
    for _ in range(20):
        turn.feed(FRAME)
    engine.gate.set()
    await turn.finish()
    assert engine.overlaps == 0
    assert engine.calls == 2  # what piled up was given in one piece


async def test_partials_come_back_in_the_loop(pool):
    """The callback runs in the event loop's thread and the latest partial is kept."""
    seen = []
    turn = pool.start(None, lambda h: seen.append((threading.current_thread(), h.text)))
    turn.feed(FRAME)
    await turn.finish()
    assert seen[-1] == (threading.main_thread(), "160 samples")
    assert turn.partial.text == "160 samples"


async def test_an_engine_that_hangs_fails_its_turn_and_no_other(engine):
    """The time limit raises, the lost thread is replaced, the next turn is served."""
    pool = RecogniserPool(engine, threads=1, engine_limit_s=0.05)
    engine.gate.clear()
    stuck = pool.start(None)
    stuck.feed(FRAME)
    await asyncio.to_thread(engine.entered.wait, 10)
    with pytest.raises(RecognitionError, match="within"):
        await stuck.finish()
    assert pool.lost_threads == 1
    pool.engine_limit_s = 10
    pool.factory = FakeFactory(["yes"])
    assert (await pool.start(None).finish()).text == "yes"
    engine.gate.set()
    pool.close()


async def test_a_hanging_call_is_noticed_while_the_caller_still_speaks(engine):
    """Audio that comes after the limit fails the turn at once: nobody waits for the end of the turn."""
    pool = RecogniserPool(engine, threads=1, engine_limit_s=0.05)
    engine.gate.clear()
    turn = pool.start(None)
    turn.feed(FRAME)
    await asyncio.to_thread(engine.entered.wait, 10)
    await asyncio.sleep(0.1)
    with pytest.raises(RecognitionError, match="within"):
        turn.feed(FRAME)
    assert pool.lost_threads == 1
    with pytest.raises(RecognitionError):
        await turn.finish()
    assert pool.lost_threads == 1
    engine.gate.set()
    pool.close()


async def test_a_turn_is_heard_by_the_engine_of_its_language():
    """Exact name, then the language alone, then the default; the threads are shared."""
    default, english, german = (FakeFactory([name]) for name in ("default", "english", "german"))
    pool = RecogniserPool(default, threads=1, named={"en": english, "german-line": german})
    assert pool.engine_for("german-line", "en-GB") is german
    assert pool.engine_for("en-GB") is english
    assert pool.engine_for("unknown", "fr-FR") is default
    assert pool.engine_for() is default
    turn = pool.start(None, factory=pool.engine_for("en-US"))
    assert (await turn.finish()).text == "english"
    pool.close()


async def test_too_many_lost_threads_refuse_work(pool):
    """The pool says that it is over instead of growing without bound."""
    pool.lost_threads = MAX_LOST_THREADS + 1
    with pytest.raises(OverloadError):
        pool.start(None)


async def test_an_error_of_the_engine_is_a_recognition_error(pool, engine):
    """Whatever the engine raises reaches finish as our error, with its cause."""
    engine.error = ValueError("bad lattice")
    turn = pool.start(None)
    turn.feed(FRAME)
    with pytest.raises(RecognitionError, match="bad lattice") as caught:
        await turn.finish()
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(RecognitionError):
        turn.feed(FRAME)


async def test_a_bad_grammar_fails_the_turn():
    """The factory's refusal comes out of finish."""
    pool = RecogniserPool(FakeFactory())
    turn = pool.start([])
    with pytest.raises(RecognitionError, match="grammar"):
        await turn.finish()
    pool.close()


async def test_an_abandoned_turn_frees_its_recogniser(pool, engine):
    """Nobody waits; the engine's memory is given back all the same."""
    turn = pool.start(None)
    turn.feed(FRAME)
    await asyncio.to_thread(engine.entered.wait, 10)
    turn.abandon()
    turn.abandon()
    with pytest.raises(RecognitionError, match="over"):
        turn.feed(FRAME)
    other = pool.start(None)
    await other.finish()
    for _ in range(500):
        if engine.closed == 2:
            break
        await asyncio.sleep(0.01)
    assert engine.closed == 2


async def test_no_audio_after_finish(pool):
    """A turn is over for the caller's side as soon as finish is asked."""
    turn = pool.start(None)
    await turn.finish()
    with pytest.raises(RecognitionError):
        turn.feed(FRAME)
    with pytest.raises(RecognitionError):
        await turn.finish()


async def test_a_hopelessly_late_engine_is_reported(pool, engine):
    """More than 30 s of waiting audio raises instead of growing."""
    engine.gate.clear()
    turn = pool.start(None)
    turn.feed(FRAME)
    await asyncio.to_thread(engine.entered.wait, 10)
    with pytest.raises(RecognitionError, match="behind"):
        turn.feed(np.zeros(31 * 8000, np.int16))
    turn.abandon()
