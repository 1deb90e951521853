"""A thousand utterances: what the recogniser takes it gives back."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.bench.rows import row, write
from voicebot.asr.grammar import grammar_for
from voicebot.asr.pool import RecogniserPool
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.core.expectation import Expectation

pytestmark = [pytest.mark.models]

CLIPS = sorted((Path(__file__).parent.parent / "data" / "asr" / "clips").glob("*.flac"))
GRAMMARS = [
    ("digits", grammar_for(Expectation(kind="digits"))),
    ("yes_no", grammar_for(Expectation(kind="yes_no"))),
    ("choice", ["stop", "go", "left", "right", "up", "down", "on", "off"]),
]


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def speak(pool, audio, number):
    """One turn in 20 ms frames, all given at once."""
    kind, grammar = GRAMMARS[number % len(GRAMMARS)]
    turn = pool.start(grammar, kind=kind)
    for start in range(0, len(audio), 160):
        turn.feed(audio[start : start + 160])
    return await turn.finish()


async def speak_many(pool, sounds, count, at_once):
    for start in range(0, count, at_once):
        numbers = range(start, min(start + at_once, count))
        await asyncio.gather(*(speak(pool, sounds[n % len(sounds)], n) for n in numbers))


@pytest.fixture(scope="module")
def sounds():
    return [soundfile.read(path, dtype="int16")[0].astype(np.int16) for path in CLIPS]


@pytest.mark.timeout(300)
async def test_twenty_callers_at_once_are_all_understood_as_one_alone(sounds):
    """Two threads serve twenty turns; each result is what the same clip gives by itself."""
    factory = VoskFactory(warm=False)
    pool = RecogniserPool(factory, threads=2, engine_limit_s=200)
    digits = [sounds[i] for i, path in enumerate(CLIPS) if "-fsdd-" in path.name][:20]
    together = await asyncio.gather(*(speak(pool, audio, 0) for audio in digits))
    for audio, heard in list(zip(digits, together, strict=True))[:5]:
        alone = await speak(pool, audio, 0)
        assert (heard.text, heard.confidence, heard.words) == (alone.text, alone.confidence, alone.words)
    assert sum(bool(heard.text) for heard in together) >= 18
    pool.close()


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_thousand_utterances_leave_the_memory_flat(sounds):
    """Through the pool, twenty at a time, three grammars: less than 10 MB more after 1,000 than after 200."""
    pool = RecogniserPool(VoskFactory(), threads=2, engine_limit_s=600)
    await speak_many(pool, sounds, 200, 20)
    before_mb = resident_mb()
    await speak_many(pool, sounds, 1000, 20)
    grown_mb = resident_mb() - before_mb
    pool.close()
    write("asr_memory", [row("memory after 1,000 utterances", round(grown_mb, 2), "MB", limit="<= 10",
                             ok=grown_mb <= 10, note="after 200 to warm up; 20 at a time")])  # fmt: skip
    assert grown_mb <= 10
