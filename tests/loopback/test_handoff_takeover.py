"""The worker dies in the middle of a handoff, over real SIP and RTP: the caller keeps place and partner."""

import asyncio
import contextlib

import pytest

from sip_test_harness import Caller, CallerOptions
from sip_test_harness.clock import now_ns
from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent
from tests.loopback.bot_program import running_bot
from tests.loopback.takeover_kit import kill, serving_pid, two_workers_ready
from tests.loopback.test_handoff_calls import AGENT_HZ, CALLER_HZ, PLAN, rows, tone, wait_tone
from tests.ports import free_port

pytestmark = [pytest.mark.loopback, pytest.mark.long, pytest.mark.timeout(400)]


async def next_worker(bot, call):
    """The worker of the call is killed; returns when the next one has the call, and a standby is warm."""
    before = len(bot.events("call_taken_over"))
    kill(serving_pid(bot, call.call_id), "kill")
    await bot.wait_event("call_taken_over", before + 1, 30)
    await two_workers_ready(bot)


async def leg_number(desk, number, limit_s=60):
    async with asyncio.timeout(limit_s):
        while len(desk.legs) < number:
            await asyncio.sleep(0.05)
    return desk.legs[number - 1]


async def both_hear(call, leg):
    since_ns = now_ns()
    speaking = asyncio.gather(call.say(tone(CALLER_HZ, 4)), leg.say(tone(AGENT_HZ, 4)))
    await wait_tone(leg, CALLER_HZ, since_ns, 20)
    await wait_tone(call, AGENT_HZ, since_ns, 20)
    await speaking


async def test_a_busy_desk_a_dead_worker_a_talk_and_another_dead_worker(tmp_path):
    """Busy: queued and asked again. Killed while the caller waits: asked again. Killed in the talk: it goes on."""
    port = free_port()
    plan = PLAN.replace("PORT", str(port)).replace(
        "handoff:\n", "handoff:\n  outcomes: { busy: wait }\n"
    )
    (tmp_path / "plan.yaml").write_text(plan)
    async with (
        running_bot(
            tmp_path / "var",
            dialplan=tmp_path / "plan.yaml",
            sip__allow_outgoing="true",
            asr__engine="fake",
            tts__engine="tone",
            handoff__redial_s="2",
        ) as bot,
        ScriptedAgent(AgentOptions(port=port, ring_ms=50, status=486, max_calls=1000)) as desk,
    ):
        await two_workers_ready(bot)
        async with Caller(bot.uri, CallerOptions(limit_s=300)) as call:
            await call.invite()
            await call.wait_bot_silent(500, 20)
            await call.press("1")
            first = await leg_number(desk, 2)
            assert [row[0] for row in rows(bot)] == ["waiting"] or desk.legs[-1].state == "early"
            await next_worker(bot, call)
            assert call.state == "confirmed"
            desk.options.status = 200
            async with asyncio.timeout(60):
                while desk.legs[-1].state != "confirmed":
                    await asyncio.sleep(0.05)
            leg = desk.legs[-1]
            assert leg.invite.get("x-handoff-id") == first.invite.get("x-handoff-id")
            await leg.wait_bot_audible(20, since_ns=0)
            await leg.press("1")
            await both_hear(call, leg)
            await next_worker(bot, call)
            await both_hear(call, leg)
            await leg.hang_up()
            await call.wait_bot_audible(20, since_ns=leg.ended_ns)
            await call.wait_ended(30)
            assert call.ended_by == "bot"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while rows(bot)[0][0] != "over":
                    await asyncio.sleep(0.05)
        ((state, outcome, *_),) = rows(bot)
        assert (state, outcome) == ("over", "bridged")
        await bot.record_of(call.call_id, 30)
        assert len(bot.records()) == 1
