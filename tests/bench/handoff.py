"""Accepted until both hear each other, on the RTP wire: real SIP, a scripted colleague, the shipped bot.

    python -m tests.bench.handoff [--calls 10]

Both speak a tone of their own all the time; the time is from the end of the colleague's accept key (its
last RFC 4733 packet leaves) to the first packet of the other's tone that arrives, the later of the two
directions. Recogniser and voice are stubs: neither is in that way.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from sip_test_harness import Caller, CallerOptions
from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent
from tests.bench.rows import at_most, percentile, write
from tests.loopback.bot_program import running_bot
from tests.loopback.test_handoff_calls import AGENT_HZ, CALLER_HZ, PLAN, tone, wait_tone
from tests.ports import free_port


async def one(bot, port):
    """Milliseconds of one handoff."""
    async with (
        ScriptedAgent(AgentOptions(port=port, ring_ms=100)) as desk,
        Caller(bot.uri, CallerOptions(limit_s=60)) as call,
    ):
        await call.invite()
        await call.wait_bot_silent(400, 10)
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_bot_audible(10, since_ns=0)
        await leg.wait_bot_silent(600, 30, since_ns=0)
        speaking = asyncio.create_task(call.say(tone(CALLER_HZ, 4)))
        await leg.press("1")
        while leg.media.utterances[-1].last_speech_ns is None:
            await asyncio.sleep(0.005)
        accepted_ns = leg.media.utterances[-1].last_speech_ns
        answering = asyncio.create_task(leg.say(tone(AGENT_HZ, 3)))
        heard_ns = [await wait_tone(leg, CALLER_HZ, 0), await wait_tone(call, AGENT_HZ, 0)]
        await asyncio.gather(speaking, answering)
        await leg.hang_up()
        await call.wait_ended(15)
    return (max(heard_ns) - accepted_ns) / 1e6


async def measure(folder, calls):
    """The rows."""
    port = free_port()
    (folder / "plan.yaml").write_text(PLAN.replace("PORT", str(port)))
    async with running_bot(
        folder / "var",
        dialplan=folder / "plan.yaml",
        sip__allow_outgoing="true",
        asr__engine="fake",
        tts__engine="tone",
        link__standby_workers=0,
    ) as bot:
        await one(bot, port)  # the first call of a worker loads what later ones share
        times_ms = [await one(bot, port) for _ in range(calls)]
    return [
        at_most("accept key to two-way audio, p50", percentile(times_ms, 0.5), "ms", 500),
        at_most(f"accept key to two-way audio, longest of {calls}", max(times_ms), "ms", 500),
    ]


def main():
    """Measure, print, write var/bench/handoff.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write("handoff", asyncio.run(measure(Path(folder), arguments.calls)))


if __name__ == "__main__":
    main()
