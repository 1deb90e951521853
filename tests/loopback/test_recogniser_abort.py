"""The recogniser's C++ code aborts in the middle of a word: every call of that worker goes on (docs/adr/0009)."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from sip_test_harness import Caller, CallerOptions, read_wav
from tests.loopback.bot_program import ROOT, running_bot

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.long]

SPEECH = ROOT / "tests/data/caller/balance.wav"


async def caller(bot, abort, stack):
    """A caller in mid-word when the worker aborts; what happened afterwards."""
    call = await stack.enter_async_context(Caller(bot.uri, CallerOptions(limit_s=120)))
    await call.invite()
    await call.wait_bot_audible(30)
    await call.wait_bot_silent(700, timeout_s=60)
    speaking = asyncio.create_task(call.say(read_wav(SPEECH)))
    await asyncio.sleep(0.4)
    await abort()
    since_ns = time.monotonic_ns()
    await speaking
    await call.wait_bot_audible(60, since_ns=since_ns)
    return call


@pytest.mark.timeout(400)
async def test_two_calls_outlive_an_abort_in_the_recogniser(tmp_path):
    """SIGABRT is what a failed assertion in Kaldi ends the process with; both callers get an answer all the same."""
    async with running_bot(tmp_path, tts__engine="tone") as bot:
        await bot.wait_event("worker_ready", 2, limit_s=240)
        both_speak = asyncio.Barrier(2)
        aborted = []

        async def abort():
            await both_speak.wait()
            if not aborted:
                aborted.extend({event["pid"] for event in bot.events("call_started")})
                for pid in aborted:
                    os.kill(pid, signal.SIGABRT)

        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(caller(bot, abort, stack)) for _ in range(2)]
            calls = [task.result() for task in running]
        assert len(aborted) == 1  # one worker had both calls
        await bot.wait_event("child_died", 1)
        for call in calls:
            streams = call.measures().bot_streams
            assert len(streams) == 1
            assert streams[0].contiguous
            record = await bot.record_of(call.call_id, limit_s=60)
            assert record["workers"] >= 2
