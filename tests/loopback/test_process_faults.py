"""Each program of a bot dies or hangs, at each stage of a call: what is lost is what was promised, no more."""

import asyncio
import contextlib
import os
import signal
import socket

import pytest

from sip_test_harness import Caller, CallerOptions, CallFailedError, HarnessError
from tests.loopback.takeover_kit import (
    ORDERS,
    Booking,
    kill,
    ordering_call,
    problems,
    takeover_bot,
)
from tests.ports import free_port
from tests.unit.redis_server import running_redis

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.long, pytest.mark.timeout(600)]

SETTINGS = {"link__standby_workers": 1, "scale__hang_limit_s": 3}
HANG_S = 3 + 1  # and the second look
LIMIT_S = 120
CLOSED_WITHIN_S = 5
STAGES = ("greeting", "digits", "tool", "goodbye")


async def until_stage(call, stage):
    """Take part in the call up to a stage of it."""
    await call.wait_bot_audible(60)
    if stage == "greeting":
        return
    orders = ORDERS[:1] if stage in ("digits", "tool") else ORDERS
    for order in orders:
        await call.wait_bot_silent(400, timeout_s=60)
        for digit in order if stage != "digits" else order[:2]:
            await call.press(digit)
        if stage != "digits":
            since_ns = call.media.received[-1].arrival_ns
            await call.wait_bot_audible(60, since_ns=since_ns) if stage == "goodbye" else None
    await asyncio.sleep(0.3)


async def next_call(bot):
    """Another caller is served as soon as the new edge has found a worker; until then it answers 503."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(CallFailedError):
                return await ordering_call(bot, user="another")
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_an_edge_that_dies_or_hangs_costs_its_own_call_and_no_record(tmp_path, how, stage):
    """The record is closed once, with what was said by then; no tool is called twice; the next call is served."""
    async with Booking(delay_s=1.0) as booking, takeover_bot(tmp_path, booking, **SETTINGS) as bot:
        (edge,) = {e["pid"] for e in bot.events("edge_started")}
        with contextlib.suppress(HarnessError):
            async with Caller(bot.uri, CallerOptions(limit_s=LIMIT_S)) as call:
                await call.invite()
                await until_stage(call, stage)
                loop = asyncio.get_running_loop()
                kill(edge, how)
                began_s = loop.time()
                record = await bot.record_of(call.call_id, limit_s=60)
                took_s = loop.time() - began_s - (HANG_S if how == "stop" else 0)
        print(f"{how} in {stage}: record closed after {took_s:.1f} s")  # noqa: T201 - a figure
        assert took_s <= CLOSED_WITHIN_S
        assert record["reason"] in ("edge died", "completed" if stage == "goodbye" else "edge died")
        said = [line["text"] for line in record["transcript"] if line["who"] == "caller"]
        assert said == list({"greeting": (), "digits": (), "tool": ORDERS[:1], "goodbye": ORDERS}[stage])
        keys = [key for key, *_ in booking.asked]
        assert len(keys) == len(set(keys)) == len(said)
        await bot.wait_event("edge_started", 2, limit_s=60)
        call = await next_call(bot)
        assert (await bot.record_of(call.call_id, limit_s=30))["reason"] == "completed"
        ids = [r["call_id"] for r in bot.records()]
        assert len(ids) == len(set(ids)) == 2


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_store_that_dies_or_hangs_in_mid_call_is_not_heard(tmp_path, how):
    """Redis goes with the first order and comes back with the third: the call is whole, and so is its record."""
    with running_redis("--appendonly", "yes", "--appendfsync", "no") as redis:
        async with Booking() as booking, takeover_bot(tmp_path, booking, store__url=redis.url) as bot:
            done = []

            async def at_key(_call):
                done.append(1)
                if len(done) == 1:
                    redis.kill() if how == "kill" else redis.signal(signal.SIGSTOP)
                elif len(done) == 3:
                    if how == "kill":
                        await asyncio.to_thread(redis.start)
                    else:
                        redis.signal(signal.SIGCONT)

            call = await ordering_call(bot, at_key=at_key)
            record = await bot.record_of(call.call_id, limit_s=30)
            assert problems(call, record, booking, record["session_id"]) == []
            assert bot.events("session_store_degraded")
            await bot.wait_event("session_store_recovered", 1, limit_s=60)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_console_that_dies_or_hangs_is_not_heard(tmp_path, how):
    """The console is a spectator: without it, and with one that takes nothing in, the call is the same."""
    console = {"console__enabled": "true", "console__port": free_port(socket.SOCK_STREAM)}
    async with Booking() as booking, takeover_bot(tmp_path, booking, **console) as bot:
        await bot.wait_event("console_ready", 1, limit_s=120)
        pid = bot.events("console_ready")[-1]["pid"]
        call = await ordering_call(bot, at_key=lambda _call: asyncio.to_thread(kill, pid, how))
        record = await bot.record_of(call.call_id, limit_s=30)
        assert problems(call, record, booking, record["session_id"]) == []
        if how == "stop":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
