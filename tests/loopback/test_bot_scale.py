"""`voicebot serve` for eight calls: two edges behind Kamailio; an edge dies, the workers are restarted."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from sip_test_harness import Caller, CallerOptions, CallFailedError
from tests.loopback.bot_program import running_bot
from tests.loopback.takeover_kit import STUB
from tests.ports import free_port_range

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.peer]
CALLS = 8


@contextlib.asynccontextmanager
async def bot_for_eight(folder, **settings):
    """A bot with two edges behind Kamailio."""
    rtp = free_port_range(32)
    ports = {"scale__edge_port": free_port_range(16), "rtp__port_min": rtp, "rtp__port_max": rtp + 31}
    async with running_bot(folder, scale__calls=CALLS, **ports, **STUB, **settings) as bot:
        yield bot


@contextlib.asynccontextmanager
async def eight_calls(bot):
    """Eight callers who all hear the bot."""
    callers = [Caller(bot.uri, CallerOptions(limit_s=500, user=f"caller{n}")) for n in range(CALLS)]
    async with contextlib.AsyncExitStack() as stack:
        for caller in callers:
            await stack.enter_async_context(caller)
        await asyncio.gather(*(caller.invite() for caller in callers))
        for caller in callers:
            await caller.wait_bot_audible(60)
        yield callers


def edge_of(bot, call):
    """Process id of the edge that holds a call."""
    (event,) = [e for e in bot.events("call_incoming") if e["sip_call_id"] == call.call_id]
    return event["pid"]


async def all_talk(callers):
    """Each presses a key, is answered, and has missed no packet."""
    for caller in callers:
        await caller.press("2")
    for caller in callers:
        await caller.wait_bot_audible(60)
        assert caller.state == "confirmed"
        assert all(stream.contiguous for stream in caller.measures().bot_streams)


async def ring_back(bot, user):
    """Call until an edge is there again; until the bot has seen who it is. The other edge is full."""
    async with asyncio.timeout(120):
        while True:
            async with Caller(bot.uri, CallerOptions(limit_s=100, user=user)) as caller:
                with contextlib.suppress(CallFailedError):
                    await caller.invite()
                    await bot.wait_event("caller_rings_back", 1, limit_s=60)
                    return caller.call_id
            await asyncio.sleep(0.5)


@pytest.mark.timeout(600)
async def test_kamailio_spreads_eight_calls_and_the_death_of_an_edge_costs_only_its_own(tmp_path):
    """Four calls per edge, a ninth gets 503; the dead edge's records are closed, its caller may go on."""
    async with bot_for_eight(tmp_path, link__standby_workers=0) as bot, eight_calls(bot) as callers:
        edges = {caller.call_id: edge_of(bot, caller) for caller in callers}
        assert sorted(Counter(edges.values()).values()) == [4, 4]
        with pytest.raises(CallFailedError) as refused:
            async with Caller(bot.uri, CallerOptions(limit_s=60)) as ninth:
                await ninth.invite()
        assert refused.value.status == 503
        victim = edges[callers[0].call_id]
        assert b"edge" in Path(f"/proc/{victim}/cmdline").read_bytes().split(b"\0")
        os.kill(victim, signal.SIGKILL)
        lost = [c for c in callers if edges[c.call_id] == victim]
        for caller in lost:
            record = await bot.record_of(caller.call_id, limit_s=60)
            assert (record["reason"], record["ended_by"]) == ("edge died", "supervisor")
        await all_talk([c for c in callers if c not in lost])
        sip_call_id = await ring_back(bot, lost[0].caller_options.user)
        assert [e["offered"] for e in bot.events("caller_rings_back")] == [True]
        record = await bot.record_of(sip_call_id, limit_s=60)
        assert "Your last call was cut off" in record["transcript"][0]["text"]


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nobody_hears_that_the_workers_are_restarted(tmp_path):
    """SIGHUP under eight calls: each worker is new afterwards, each call goes on without a missing packet."""
    async with bot_for_eight(tmp_path) as bot:
        await bot.wait_event("worker_ready", 2, limit_s=240)
        async with eight_calls(bot) as callers:
            os.kill(bot.process.pid, signal.SIGHUP)
            await bot.wait_event("workers_restarted", 1, limit_s=400)
            assert len({e["pid"] for e in bot.events("worker_ready")}) == 4
            await all_talk(callers)
        await bot.wait_records(CALLS, limit_s=60)
        assert all(record["workers"] >= 2 for record in bot.records())
