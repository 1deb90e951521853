"""The caller against a bot that keeps its own ground truth."""

import asyncio
import subprocess

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import (
    AgentOptions,
    Caller,
    CallerOptions,
    CallFailedError,
    MediaOptions,
    NetworkRefusedError,
    ScriptedAgent,
    WaitTimeoutError,
    write_wav,
)
from sip_test_harness.pcap_file import write_pcap
from sip_test_harness.profile import load_profile
from sip_test_harness.report import write_report
from sip_test_harness.script import Script
from sip_test_harness.script_reader import turns_of_options
from sip_test_harness.script_runner import run_script
from sip_test_harness.wav_file import read_wav

pytestmark = pytest.mark.loopback


def speech(duration_ms=300):
    return (6000 * np.sin(np.arange(duration_ms * 8) * 0.3)).astype(np.int16)


def options(**changes):
    return CallerOptions(limit_s=20, **changes)


async def test_response_onset_agrees_with_the_bots_own_log():
    """The measured onset of every turn is within 20 ms of what the bot itself measured."""
    async with LoopbackBot(delay_ms=250) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_silent(350)
        for _ in range(3):
            await call.say(speech())
            await call.wait_bot_silent(350)
        await call.hang_up()
    measures = call.measures()
    measured = [turn.response_onset_ms for turn in measures.turns]
    assert len(measured) == len(bot.truth_onset_ms) == 3
    assert np.abs(np.array(measured) - bot.truth_onset_ms).max() < 20
    assert measures.status == 200 and bot.acked
    assert measures.bot_streams[0].contiguous
    assert measures.bot_streams[0].packets == bot.rtp_sent
    assert bot.rtp_received == measures.sent_packets
    assert 0 < measures.invite_to_200_ms < measures.greeting_ms


async def test_a_hole_in_the_bots_speech_is_reported_with_its_length():
    """A packet 150 ms late in the greeting is one wire gap of that length; none without it."""
    async with LoopbackBot(greeting_ms=600, holes={10: 150}) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_silent(350)
    gaps = call.measures().wire_gaps
    assert len(gaps) >= 1
    assert max(gap.duration_ms for gap in gaps) == pytest.approx(170, abs=40)


async def test_keys_are_answered_like_words():
    """RFC 4733 presses reach the bot and its answer is timed from the first packet of the last key."""
    async with LoopbackBot(delay_ms=200) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_silent(350)
        await call.press("12#")
        await call.wait_bot_silent(350)
    (turn,) = call.measures().turns
    # The bot's clock starts at the last of three end packets: 8 updates and 2 end packets later.
    assert turn.response_onset_ms == pytest.approx(bot.truth_onset_ms[0] + 200, abs=25)


async def test_barge_in_stop_is_measured_when_the_bot_speaks_on():
    """Speaking into the bot's greeting yields a stop time; the tone bot speaks to its end."""
    async with LoopbackBot(greeting_ms=1000) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_audible()
        await call.sleep(0.3)
        await call.say(speech(200))
        await call.wait_bot_silent(350)
    (turn,) = call.measures().turns
    assert 450 < turn.barge_in_stop_ms < 900
    assert turn.bot_spoke_at_end and turn.yielded and not turn.cut_off


async def test_the_bots_hang_up_ends_a_script_that_expects_it(tmp_path):
    """expect_hang_up passes when the bot says BYE, with its reason in the result."""
    write_wav(tmp_path / "hi.wav", speech())
    turns = turns_of_options([f"say={tmp_path / 'hi.wav'}", "expect_hang_up_s=5"])
    async with LoopbackBot(hang_up_after=1) as bot:
        run = await run_script(Script(turns, target=bot.uri, silence_ms=300, limit_s=15), options())
    assert run.failures == []
    assert run.measures.ended_by == "bot" and "cause=16" in run.measures.end_reason


async def test_a_script_whose_answer_is_late_fails_and_says_so(tmp_path):
    """onset_within_ms below the bot's delay fails with both figures."""
    write_wav(tmp_path / "hi.wav", speech())
    turns = turns_of_options([f"say={tmp_path / 'hi.wav'},onset_within_ms=100"])
    async with LoopbackBot(delay_ms=300) as bot:
        run = await run_script(Script(turns, target=bot.uri, silence_ms=350, limit_s=15), options())
    assert any("100 ms allowed" in failure for failure in run.failures)


async def test_report_files_hold_the_call(tmp_path):
    """The stereo WAV has the caller left and the bot right at the measured times."""
    async with LoopbackBot(delay_ms=250) as bot:
        write_wav(tmp_path / "hi.wav", speech())
        turns = turns_of_options([f"say={tmp_path / 'hi.wav'}"])
        run = await run_script(Script(turns, target=bot.uri, silence_ms=350, limit_s=15), options())
    folder = write_report(tmp_path / "out", run)
    import json
    import wave

    with wave.open(str(folder / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    first_bot_ms = np.flatnonzero(np.abs(sound[:, 1]) > 1000)[0] / 8
    first_caller_ms = np.flatnonzero(np.abs(sound[:, 0]) > 1000)[0] / 8
    assert first_bot_ms == pytest.approx(run.measures.greeting_ms, abs=25)
    assert first_caller_ms == pytest.approx(run.measures.turns[0].speech_start_ms, abs=25)
    report = json.loads((folder / "report.json").read_text())
    assert report["measures"]["call_id"] == run.measures.call_id and report["passed"]


@pytest.mark.peer
async def test_tshark_reads_the_capture_with_the_same_packet_counts(tmp_path):
    """Tshark finds as many RTP packets each way as the harness sent and received, and the SIP."""
    async with LoopbackBot(delay_ms=200) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_silent(350)
    measures = call.measures()
    path = tmp_path / "call.pcap"
    write_pcap(path, call.capture.datagrams)
    port = call.endpoint.address[1]
    done = await asyncio.to_thread(
        subprocess.run,
        [
            "tshark",
            "-r",
            path,
            "-d",
            f"udp.port=={port},sip",
            "-T",
            "fields",
            "-e",
            "rtp.ssrc",
            "-e",
            "sip.Method",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    ssrcs = [row[0] for row in rows if row[0]]
    methods = [row[1] for row in rows if len(row) > 1 and row[1]]
    assert ssrcs.count(f"0x{measures.bot_streams[0].ssrc:08x}") == measures.bot_streams[0].packets
    assert ssrcs.count(f"0x{call.media.stream.ssrc:08x}") == measures.sent_packets
    assert methods[0] == "INVITE" and "ACK" in methods and "BYE" in methods


async def test_two_harness_parties_talk_hold_refer_and_hang_up():
    """Caller and scripted agent: early ringing, keys both ways, hold, INFO, OPTIONS, REFER, BYE."""
    async with ScriptedAgent(AgentOptions(ring_ms=20)) as agent, Caller(agent.uri, options()) as call:
        await call.invite(headers=[("X-Ticket", "abc")])
        leg = await agent.wait_call()
        assert leg.invite.get("x-ticket") == "abc"
        await call.press("5")
        await call.press("7", mode="info")
        await leg.press("9")
        assert await call.hold() == 200
        assert leg.media.paused
        assert await call.resume() == 200
        assert not leg.media.paused
        options_answer = await call.send_request("OPTIONS")
        assert options_answer.status == 200
        answer = await leg.send_request("REFER", [("Refer-To", "<sip:x@127.0.0.1>")])
        assert answer.status == 202
        await leg.say(speech(100))
        await call.wait_bot_audible()
        await leg.hang_up()
        await call.wait_ended(2)
    assert [press.digit for press in leg.media.events.digits] == ["5"]
    assert leg.info_digits == ["7"]
    assert call.measures().bot_keys == "9"
    assert call.refers[0].refer_to == "<sip:x@127.0.0.1>"
    assert call.ended_by == "bot" and call.measures().invite_to_180_ms is not None
    assert any(request.method == "NOTIFY" for request in leg.requests)


async def test_late_offer_puts_the_answer_into_the_ack():
    """An INVITE without SDP is answered with an offer; media flows both ways."""
    async with ScriptedAgent() as agent, Caller(agent.uri, options()) as call:
        await call.invite(late_offer=True)
        leg = await agent.wait_call()
        await leg.say(speech(100))
        await call.wait_bot_audible()
        await call.say(speech(100))
        await leg.wait_bot_audible()
    assert not leg.invite.body


@pytest.mark.parametrize(("status", "ring_ms"), [(486, 0), (603, 10), (503, 0)])
async def test_refusals_are_raised_with_their_status(status, ring_ms):
    """Busy, decline and overload end the call with the status the agent chose."""
    chosen = AgentOptions(status=status, ring_ms=ring_ms, headers=[("Retry-After", "5")])
    async with ScriptedAgent(chosen) as agent, Caller(agent.uri, options()) as call:
        with pytest.raises(CallFailedError) as caught:
            await call.invite()
    assert caught.value.status == status
    assert call.final_response.get("Retry-After") == "5"


async def test_no_answer_is_cancelled():
    """An agent that only rings is CANCELled after the time limit, and sees it."""
    async with ScriptedAgent(AgentOptions(ring_ms=None)) as agent, Caller(agent.uri, options()) as call:
        with pytest.raises(CallFailedError):
            await call.invite(timeout_s=0.3)
        await asyncio.sleep(0)
    assert agent.cancelled == 1


async def test_nothing_is_sent_outside_loopback():
    """A target beyond 127.0.0.0/8 is refused before any packet."""
    with pytest.raises(NetworkRefusedError):
        async with Caller("sip:bot@192.0.2.1", options()):
            pass


async def test_a_silent_bot_is_a_timeout_not_a_hang():
    """wait_bot_audible ends with WaitTimeoutError."""
    async with ScriptedAgent() as agent, Caller(agent.uri, options()) as call:
        await call.invite()
        with pytest.raises(WaitTimeoutError):
            await call.wait_bot_audible(0.2)


async def test_the_limit_hangs_up_whatever_happens():
    """A call that would last for ever ends at its limit with a BYE."""
    async with ScriptedAgent() as agent, Caller(agent.uri, CallerOptions(limit_s=0.4)) as call:
        await call.invite()
        await call.wait_ended(3)
        leg = await agent.wait_call()
        await leg.wait_ended(2)
    assert "limit" in call.end_reason


async def test_dtx_sends_nothing_between_words_and_alaw_is_heard():
    """With send_silence off only the words are sent; A-law works both ways."""
    media = MediaOptions(codec=8, send_silence=False)
    async with (
        ScriptedAgent(AgentOptions(media=media)) as agent,
        Caller(agent.uri, options(media=media)) as call,
    ):
        await call.invite()
        await call.say(speech(200))
        leg = await agent.wait_call()
        await leg.wait_bot_audible()
        await leg.say(speech(100))
        await call.wait_bot_audible()
    assert call.measures().sent_packets == 10
    assert call.measures().bot_streams[0].payload_types == (8,)
    assert read_wav.__module__ == "sip_test_harness.wav_file"


async def test_a_profile_is_applied_both_ways_and_seen_in_the_measures():
    """5 % bursts: the bot receives fewer packets than were due, the caller hears fewer than came."""
    out, back = load_profile("wifi-bursty").build(3)
    media = MediaOptions(impairment_out=out, impairment_in=back)
    async with (
        LoopbackBot(greeting_ms=3000) as bot,
        Caller(bot.uri, options(media=media, profile="wifi-bursty")) as call,
    ):
        await call.invite()
        await call.wait_bot_silent(350)
    measures = call.measures()
    assert measures.bot_streams[0].lost == 0 < measures.heard_streams[0].lost
    assert measures.heard_streams[0].jitter_mean_ms > measures.bot_streams[0].jitter_mean_ms + 5
    assert bot.rtp_received <= measures.sent_packets < call.media.stream.packets


async def test_a_bot_that_answers_into_a_pause_has_cut_off_the_caller():
    """Words, a pause of 500 ms, more words: a bot that waits only 200 ms speaks into the turn."""
    words = np.concatenate([speech(300), np.zeros(4000, np.int16), speech(300)])
    async with LoopbackBot(delay_ms=200, answer_ms=600) as bot, Caller(bot.uri, options()) as call:
        await call.invite()
        await call.wait_bot_silent(350)
        await call.say(words)
        await call.wait_bot_silent(350)
    (turn,) = call.measures().turns
    assert turn.cut_off and turn.response_onset_ms < 0
