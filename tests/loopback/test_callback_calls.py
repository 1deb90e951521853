"""Somebody is called back over real SIP and RTP: once, and into a conversation with a colleague."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent
from tests.loopback.bot_program import running_bot
from tests.loopback.takeover_kit import two_workers_ready
from tests.loopback.test_handoff_calls import (
    AGENT_HZ,
    CALLER_HZ,
    NUMBER,
    ask_callback,
    tone,
    wait_tone,
)
from tests.ports import free_port
from voicebot.handoff.queue_store import HandoffStore

pytestmark = [pytest.mark.loopback, pytest.mark.long, pytest.mark.timeout(300)]

PLAN = """
version: 1
name: callback-test
locale: en-GB
timezone: Europe/London
routes:
  - { match: { to: ["bank"] }, flow: main }
queues:
  desk: { sip: "sip:agent@127.0.0.1:PORT", ring: 10s, mode: warm }
flows:
  main:
    - { handoff: desk, reason: asked }
"""


def worker_pids(bot):
    return [p for p in bot.children() if b"\0worker" in Path(f"/proc/{p}/cmdline").read_bytes()]


async def until(store, state, limit_s=60):
    async with asyncio.timeout(limit_s):
        while store.get(1).state != state:
            await asyncio.sleep(0.05)
    return store.get(1)


async def test_called_back_once_whatever_dies_and_both_hear_each_other(tmp_path):
    """The worker dies while it rings: no second call. A person orders one, and its worker dies in the talk:
    the next one goes on with it, the key puts him through, the colleague knows what the first call was about.
    """
    desk_port, trunk_port = free_port(), free_port()
    (tmp_path / "plan.yaml").write_text(PLAN.replace("PORT", str(desk_port)))
    folder = tmp_path / "var"
    async with (
        ScriptedAgent(AgentOptions(port=trunk_port, ring_ms=None, user="mobile")) as mobile,
        ScriptedAgent(AgentOptions(port=desk_port, ring_ms=50)) as desk,
        running_bot(
            folder,
            dialplan=tmp_path / "plan.yaml",
            sip__allow_outgoing="true",
            asr__engine="fake",
            tts__engine="tone",
            handoff__callback_trunk=f"127.0.0.1:{trunk_port}",
            handoff__countries="44",
            handoff__callback_ring_s="30",
        ) as bot,
    ):
        await two_workers_ready(bot)
        store = ask_callback(folder)
        ringing = await mobile.wait_call(timeout_s=30)
        assert ringing.invite.uri.startswith(f"sip:{NUMBER}@127.0.0.1")
        for pid in worker_pids(bot):
            os.kill(pid, signal.SIGKILL)
        await ringing.wait_ended(10)
        assert mobile.cancelled == 1
        await two_workers_ready(bot)
        assert store.get(1).state == "calling" and len(mobile.legs) == 1
        assert store.give_up_silent(time.time() + 60) == 1  # a minute later, without waiting for it
        assert [t.outcome for t in store.get(1).history] == ["no outcome known"]

        mobile.options.ring_ms = 100
        assert store.again(1, 0.0)
        leg = await mobile.wait_call(1, timeout_s=30)
        await leg.wait_bot_audible(20, since_ns=0)
        await leg.wait_bot_silent(600, 30, since_ns=0)
        os.kill(bot.events("call_started")[-1]["pid"], signal.SIGKILL)
        await bot.wait_event("call_taken_over", 1, 30)
        await leg.press("1")
        colleague = await desk.wait_call(timeout_s=20)
        await colleague.wait_bot_audible(20, since_ns=0)
        await colleague.press("1")
        speaking = [
            asyncio.create_task(leg.say(tone(CALLER_HZ, 4))),
            asyncio.create_task(colleague.say(tone(AGENT_HZ, 4))),
        ]
        await wait_tone(colleague, CALLER_HZ, 0, 20)
        await wait_tone(leg, AGENT_HZ, 0, 20)
        await asyncio.gather(*speaking)
        await colleague.hang_up()
        await leg.wait_ended(20)

        done = await until(store, "done")
        assert [t.outcome for t in done.history] == ["no outcome known", "answered"]
        (row, _) = HandoffStore(folder).rows()
        assert (row.outcome, row.context.reason, row.priority) == ("bridged", "callback", "high")
        assert "about my mortgage" in {t.text for t in row.context.turns}
        assert len(mobile.legs) == 2
        record = await bot.record_of(leg.call_id)
        assert record["caller"] == NUMBER and record["talk_ms"] > 0
