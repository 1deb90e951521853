"""A person takes a real SIP call over: at the console with a telephone, and with the browser alone."""

import asyncio
import contextlib
import wave

import pytest

from sip_test_harness import Caller, CallerOptions
from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent
from tests.browser.chromium import chromium, chromium_path
from tests.browser.console_program import log_in, running_console
from tests.loopback.bot_program import running_bot
from tests.loopback.test_handoff_calls import AGENT_HZ, CALLER_HZ, PLAN, tone, wait_tone
from tests.ports import free_port
from voicebot.handoff.queue_store import HandoffStore

pytestmark = [
    pytest.mark.peer,
    pytest.mark.loopback,
    pytest.mark.timeout(180),
    pytest.mark.skipif(chromium_path() is None, reason="Debian package chromium is not installed"),
]


@contextlib.asynccontextmanager
async def bot_with_a_waiting_caller(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN.replace("PORT", str(free_port())))
    async with (
        running_bot(
            tmp_path / "var",
            dialplan=tmp_path / "plan.yaml",
            sip__allow_outgoing="true",
            asr__engine="fake",
            tts__engine="tone",
            handoff__agents="console",
            link__standby_workers=0,
            link__heartbeat_limit_ms=3000,
        ) as bot,
        Caller(bot.uri, CallerOptions(limit_s=120)) as call,
    ):
        await call.invite()
        await call.wait_bot_silent(500, 20)
        await call.press("1")
        yield bot, call


def microphone(path):
    """A minute of the colleague's tone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(tone(AGENT_HZ, 60).astype("<i2").tobytes())
    return path


async def test_a_colleague_talks_through_the_browser(tmp_path, monkeypatch):
    """Accept, the microphone's tone on the caller's RTP, the caller's tone in the page, the end for both."""
    async with (
        bot_with_a_waiting_caller(tmp_path) as (bot, call),
        running_console(bot.data_dir, monkeypatch) as base,
        chromium(tmp_path / "profile", microphone=microphone(tmp_path / "mic.wav")) as page,
    ):
        await page.size(1280, 800)
        await log_in(page, base, "agent")
        await page.go(f"{base}/waiting")
        await page.until("document.querySelectorAll('#waiting article').length === 1", 30)
        await page.run(
            """(() => { window.loud = 0; const make = AudioWorkletNode;
              window.AudioWorkletNode = class extends make { constructor(context, ...rest) {
                super(context, ...rest); const look = context.createAnalyser(); look.fftSize = 2048;
                this.connect(look); const bins = new Float32Array(1024);
                setInterval(() => { look.getFloatFrequencyData(bins);
                  const top = bins.indexOf(Math.max(...bins)) * context.sampleRate / 2048;
                  if (Math.max(...bins) > -60 && Math.abs(top - 1800) < 60) window.loud += 1; }, 100);
              } }; })()"""
        )
        from sip_test_harness.clock import now_ns

        accepted_ns = now_ns()
        await page.run("document.querySelectorAll('#waiting button')[1].click()")
        await wait_tone(call, AGENT_HZ, accepted_ns, 10)
        speaking = asyncio.create_task(call.say(tone(CALLER_HZ, 4)))
        await page.until("window.loud >= 3", 10)
        await speaking
        assert await page.run("!document.getElementById('talking').hidden")
        await page.run("document.getElementById('end-talk').click()")
        await call.wait_ended(10)
        assert page.errors == []
    (row,) = HandoffStore(bot.data_dir).rows()
    assert (row.state, row.outcome, row.taken_by) == ("over", "bridged", "agent")


async def test_a_colleague_accepts_at_the_console_and_the_telephone_rings(tmp_path, monkeypatch):
    """No brief by voice: both hear each other as soon as the telephone is picked up; then taken back."""
    async with (
        bot_with_a_waiting_caller(tmp_path) as (bot, call),
        running_console(bot.data_dir, monkeypatch) as base,
        ScriptedAgent(AgentOptions(ring_ms=100)) as desk,
        chromium(tmp_path / "profile") as page,
    ):
        await page.size(1280, 800)
        await log_in(page, base, "supervisor")
        await page.go(f"{base}/waiting")
        await page.until("document.querySelectorAll('#waiting article').length === 1", 30)
        await page.run(f"document.getElementById('sip').value = '{desk.uri}'")
        await page.run("document.querySelector('#waiting button.primary').click()")
        leg = await desk.wait_call()
        speaking = asyncio.create_task(leg.say(tone(AGENT_HZ, 3)))
        await wait_tone(call, AGENT_HZ, 0, 10)
        await speaking
        await page.until("document.getElementById('waiting').textContent.includes('talking')", 10)
        since_ns = leg.last_said_ns
        await page.run(
            "[...document.querySelectorAll('#waiting button')].find(b => b.textContent.startsWith('Take')).click()"
        )
        await leg.wait_ended(10)
        await call.wait_bot_audible(10, since_ns=since_ns)
        assert call.state == "confirmed"
        await call.hang_up()
    (row,) = HandoffStore(bot.data_dir).rows()
    assert (row.outcome, row.reason) == ("returned", "taken back")
