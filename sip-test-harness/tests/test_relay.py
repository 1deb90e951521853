"""The relay: SIP and media pass through it, impaired by the profile."""

import asyncio
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import (
    AgentOptions,
    Caller,
    CallerOptions,
    CallFailedError,
    NetworkRefusedError,
    ScriptedAgent,
)
from sip_test_harness.profile import load_profile, parse_profile
from sip_test_harness.relay import Relay, rewrite_sdp
from sip_test_harness.rtp_statistics import measure_stream

pytestmark = pytest.mark.loopback


def options():
    return CallerOptions(limit_s=15)


def speech(duration_ms=200):
    return (6000 * np.sin(np.arange(duration_ms * 8) * 0.3)).astype(np.int16)


async def test_a_whole_call_passes_through_the_relay_and_back():
    """Words, keys, hold, the far end's BYE: as without the relay."""
    async with (
        ScriptedAgent() as agent,
        Relay(agent.uri, load_profile("none")) as relay,
        Caller(relay.uri, options()) as call,
    ):
        await call.invite()
        leg = await agent.wait_call()
        await call.press("4")
        await leg.say(speech())
        await call.wait_bot_audible()
        await call.say(speech())
        await leg.wait_bot_audible()
        assert await call.hold() == 200 and leg.media.paused
        assert await call.resume() == 200
        await leg.hang_up()
        await call.wait_ended(2)
        (relayed,) = relay.calls.values()
    assert [press.digit for press in leg.media.events.digits] == ["4"]
    assert call.ended_by == "bot"
    assert leg.media.foreign == 0 == call.media.foreign
    ports = {leg.media.address[1], call.media.address[1]}
    assert {relayed.media_towards(bot=True)[1], relayed.media_towards(bot=False)[1]}.isdisjoint(ports)


async def test_the_relay_loses_and_delays_as_its_profile_says():
    """50 ms more on the way in and 10 % loss are seen by a caller that knows nothing of them."""
    profile = parse_profile("t", "in:\n  - delay: {ms: 50}\n  - random_loss: {percent: 10}\n")
    async with (
        LoopbackBot(greeting_ms=1500, delay_ms=200) as bot,
        Relay(bot.uri, profile, seed=2) as relay,
        Caller(relay.uri, options()) as call,
    ):
        await call.invite()
        await call.wait_bot_silent(350)
        await call.say(speech())
        await call.wait_bot_silent(350)
        (relayed,) = relay.calls.values()
    heard = measure_stream(call.media.received)
    assert heard.lost > 0
    assert abs(relayed.back.lost - heard.lost) <= 3
    onset = call.measures().turns[0].response_onset_ms
    assert onset - bot.truth_onset_ms[0] == pytest.approx(60, abs=35)
    assert relay.lateness().count > 100


async def test_refusals_and_cancel_pass():
    """486 comes back as 486; a CANCEL reaches the agent."""
    async with (
        ScriptedAgent(AgentOptions(status=486, ring_ms=0)) as agent,
        Relay(agent.uri, load_profile("none")) as relay,
        Caller(relay.uri, options()) as call,
    ):
        with pytest.raises(CallFailedError) as caught:
            await call.invite()
    assert caught.value.status == 486
    async with (
        ScriptedAgent(AgentOptions(ring_ms=None)) as agent,
        Relay(agent.uri, load_profile("none")) as relay,
    ):
        async with Caller(relay.uri, options()) as call:
            with pytest.raises(CallFailedError):
                await call.invite(timeout_s=0.3)
        await asyncio.sleep(0.05)
    assert agent.cancelled == 1


def test_the_relay_stays_on_loopback():
    """A bot elsewhere is refused before anything is opened."""
    with pytest.raises(NetworkRefusedError):
        Relay("sip:bot@192.0.2.1", load_profile("none"))


def test_sdp_is_rewritten_but_a_hold_address_kept():
    """Port and address change, a=rtcp goes, c=0.0.0.0 and port 0 stay."""
    body = b"v=0\r\nc=IN IP4 127.0.0.2\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=sendrecv\r\n"
    assert (
        rewrite_sdp(body, ("127.0.0.1", 6))
        == b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 6 RTP/AVP 0\r\na=sendrecv\r\n"
    )
    held = b"c=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\n"
    assert rewrite_sdp(held, ("127.0.0.1", 6)) == held


@pytest.mark.peer
async def test_sipp_completes_a_call_through_the_relay(tmp_path):
    """Sipp's own caller scenario, which knows nothing of the relay, ends with success."""
    async with (
        ScriptedAgent(AgentOptions(ring_ms=0)) as agent,
        Relay(agent.uri, load_profile("pstn-bad")) as relay,
    ):
        host, port = relay.near.address
        done = await asyncio.to_thread(
            subprocess.run,
            [
                "sipp",
                "-sn",
                "uac",
                f"{host}:{port}",
                "-i",
                "127.0.0.1",
                "-m",
                "2",
                "-r",
                "10",
                "-d",
                "200",
                "-nostdin",
                "-timeout",
                "15s",
            ],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
        )
        assert len(relay.calls) == 2
        assert all(call.ended for call in relay.calls.values())
    assert done.returncode == 0, done.stdout[-2000:]


async def test_a_relay_that_a_script_ends_writes_what_it_measured(tmp_path):
    """SIGTERM as Ctrl-C; before, the file was never written."""
    json_file = tmp_path / "relay.json"
    program = [sys.executable, "-c", "from sip_test_harness.cli import main; main()"]
    program += ["relay", "sip:x@127.0.0.1:9", "--port", "0"]
    relay = await asyncio.create_subprocess_exec(
        *program, "--json", str(json_file), stderr=asyncio.subprocess.PIPE
    )
    ready = await relay.stderr.readline()
    relay.send_signal(signal.SIGTERM)
    await relay.communicate()
    assert b"Callers dial" in ready
    assert relay.returncode == 0
    assert json.loads(json_file.read_text())["calls"] == []
