"""The console in a real browser: words appear, hostile texts stay texts, buttons work, the phone calls."""

import asyncio
import os
import socket
import time
from pathlib import Path

import msgspec
import pytest

from tests.browser.chromium import chromium, chromium_path
from tests.browser.console_program import log_in, running_console
from tests.ports import free_port
from tests.unit.console_kit import XSS, XSS_ATTRIBUTE, context, write_call
from voicebot.config.settings import HandoffSettings, LinkSettings, SipSettings
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.queue_store import HandoffStore
from voicebot.telemetry.live_feed import LivePort

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(180),
    pytest.mark.skipif(chromium_path() is None, reason="Debian package chromium is not installed"),
]
ROOT = Path(__file__).parents[2]
IMAGES = os.environ.get("VOICEBOT_SCREENSHOTS", "")


async def shot(page, name, tmp_path):
    """Into docs/images when asked for, else thrown away."""
    await page.screenshot((ROOT / "docs/images" if IMAGES else tmp_path) / f"{name}.png")


@pytest.fixture
async def worker(tmp_path):
    commands = []
    port = LivePort(tmp_path, "worker-1.sock", commands.append)
    port.open()
    port.commands = commands
    yield port
    port.close()


def started(call_id, **more):
    return {
        "event": "call_started",
        "call": call_id,
        "worker": "worker-1.sock",
        "called": "bank",
        **more,
    }


def said(turn, who, text, at_ms):
    return {"event": "said", "call": "c1", "turn": turn, "who": who, "text": text, "at_ms": at_ms}


async def unreached(page):
    """Controls that the Tab key does not reach, or that do not show that they have the focus."""
    controls = (
        "[...document.querySelectorAll('a[href],button,input,select,summary')]"
        ".filter((e) => e.offsetParent && !e.disabled)"
    )
    await page.run("window.seen = new Set(); document.activeElement.blur()")
    for _ in range(await page.run(f"{controls}.length") + 5):
        for kind in ("keyDown", "keyUp"):
            await page.send(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
        await page.run(
            """(() => { const e = document.activeElement;
              if (getComputedStyle(e).outlineStyle !== 'none') window.seen.add(e); })()"""
        )
    return await page.run(f"{controls}.filter((e) => !window.seen.has(e)).map((e) => e.outerHTML)")


async def test_words_appear_at_once_and_hostile_texts_stay_texts(tmp_path, worker, monkeypatch):
    """From the worker's event to the page in at most 500 ms; a script in a name is not run."""
    async with running_console(tmp_path, monkeypatch) as base, chromium(tmp_path / "profile") as page:
        await page.size(1280, 800)
        await log_in(page, base)
        await page.run("window.alert = () => { window.hacked = true; }")
        await page.until("document.getElementById('notice').textContent === ''")
        worker.publish(started("c1", caller="+442071838750", caller_name=XSS_ATTRIBUTE))
        await page.until("document.querySelectorAll('#calls article').length === 1")
        worker.publish(said(0, "bot", "Welcome to First Bank. How can I help?", 100))
        delays_ms = []
        for word in ("how", "how much", "how much money", "how much money have I got"):
            sent = time.perf_counter()
            worker.publish({"event": "partial", "call": "c1", "text": word})
            await page.until(f"document.querySelector('.partial').textContent === '{word}'", 2)
            delays_ms.append((time.perf_counter() - sent) * 1000)
        assert max(delays_ms) <= 500, delays_ms
        worker.publish(said(1, "caller", f"how much money have I got {XSS}", 4200))
        worker.publish(said(2, "bot", "Please say or key in your eight digit account number.", 4900))
        quality = {"received_packets": 900, "lost_packets": 4, "jitter_ms": 6.2}
        worker.publish({"event": "line", "call": "c1", "quality": quality})
        await page.until("document.querySelectorAll('.transcript li').length === 3")
        assert XSS in await page.run("document.querySelector('li.caller .text').textContent")
        assert await page.run("document.querySelector('.card h2').textContent") == XSS_ATTRIBUTE
        assert await page.run("document.querySelectorAll('main img, main script').length") == 0
        lines = [
            {"turn": 0, "who": "bot", "text": "Welcome to First Bank. How can I help?", "at_ms": 100},
            {"turn": 1, "who": "caller", "text": "how much money have I got", "at_ms": 4200},
            {"turn": 2, "who": "bot", "text": "Please key in your account number.", "at_ms": 4900},
        ]
        worker.publish(started("c1", caller_name="Grace Hopper", lines=lines))
        await page.until("document.querySelector('.card h2').textContent === 'Grace Hopper'")
        worker.publish(started("c2", caller="+33155501234", caller_name="Ada Lovelace"))
        await page.until("document.querySelectorAll('#calls article').length === 2")
        await shot(page, "console-live", tmp_path)
        await page.run("document.querySelector('[data-call=c1] button.danger').click()")
        async with asyncio.timeout(5):
            while {"command": "hang_up", "call": "c1"} not in worker.commands:
                await asyncio.sleep(0.02)
        worker.publish({"event": "call_ended", "call": "c1", "reason": "ended at the console"})
        await page.until("document.querySelector('[data-call=c1]').classList.contains('ended')")
        assert not await page.run("window.hacked === true")
        assert page.errors == []


async def test_an_agent_accepts_a_waiting_caller(tmp_path, worker, monkeypatch):
    """Summary and urgency are there, hostile ones as text; Accept reaches the worker with the telephone."""
    store = HandoffStore(tmp_path)
    store.join(context("h1", "c1"), priority="normal")
    tidy = msgspec.structs.replace(
        context("h2", "c2"),
        caller_name="Ada Lovelace",
        urgency="high",
        verified="yes",
        queue="fraud",
        summary="Identification failed. It is about block card. Known: account 12345678.",
    )
    store.join(tidy, priority="high")
    callbacks = CallbackStore(tmp_path)
    callbacks.ask("h3", "+442071838750", "general")
    places = {
        "sip": SipSettings(allow_outgoing=True),
        "handoff": HandoffSettings(callback_trunk="127.0.0.1"),
    }
    async with (
        running_console(tmp_path, monkeypatch, **places) as base,
        chromium(tmp_path / "profile") as page,
    ):
        await page.size(1280, 800)
        await log_in(page, base)
        worker.publish(started("c1"))
        worker.publish(started("c2"))
        await page.go(f"{base}/waiting")
        await page.until("document.querySelectorAll('#waiting article').length === 2")
        first = "document.querySelector('#waiting article')"
        assert await page.run(f"{first}.dataset.handoff") == "h2"
        assert "urgency high" in await page.run(f"{first}.innerText")
        assert XSS in await page.run("document.getElementById('waiting').textContent")
        assert await page.run("document.querySelectorAll('main img, main script').length") == 0
        await shot(page, "console-waiting", tmp_path)
        await page.size(390, 844, dark=True)
        await shot(page, "console-waiting-phone-dark", tmp_path)
        wide = await page.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert wide, "the page is wider than the phone"
        assert await unreached(page) == []
        await page.run("document.getElementById('sip').value = 'sip:ann@127.0.0.1:5999'")
        await page.run(f"{first}.querySelector('button.primary').click()")
        async with asyncio.timeout(5):
            while not [c for c in worker.commands if c.get("command") == "accept"]:
                await asyncio.sleep(0.02)
        (command,) = [c for c in worker.commands if c.get("command") == "accept"]
        assert (command["call"], command["uri"]) == ("c2", "sip:ann@127.0.0.1:5999")
        await page.until("document.getElementById('waiting').textContent.includes('with supervisor')")
        await page.run("document.querySelector('#callbacks button').click()")  # Call now
        async with asyncio.timeout(5):
            while not callbacks.get(1).pressed:
                await asyncio.sleep(0.02)
        await page.until("document.getElementById('callbacks').textContent.includes('+442071838750')")
        assert page.errors == []


async def test_a_hundred_waiting_callers_leave_the_page_responsive(tmp_path, worker, monkeypatch):
    """Drawing all of them anew takes less than 100 ms (on this machine, while it tests: 300)."""
    store = HandoffStore(tmp_path)
    for number in range(100):
        store.join(context(f"h{number}", f"c{number}"), priority="normal")
    async with running_console(tmp_path, monkeypatch) as base, chromium(tmp_path / "profile") as page:
        await page.size(1280, 800)
        await log_in(page, base)
        await page.go(f"{base}/waiting")
        await page.until("document.querySelectorAll('#waiting article').length === 100")
        await page.run(
            """window.longest = 0;
            new PerformanceObserver((list) => {
              for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
            }).observe({ type: 'longtask' }); 0"""
        )
        await page.run("document.querySelector('#waiting details').open = true")
        for _ in range(3):
            worker.publish({"event": "queue"})
            await asyncio.sleep(0.6)
        assert await page.run("document.querySelector('#waiting details').open"), "folded by a redraw"
        assert await page.run("window.longest") < 300


async def test_the_recording_player_draws_two_lanes(tmp_path, monkeypatch):
    """Waveform, turns that can be clicked, every control reachable by keyboard and labelled."""
    write_call(tmp_path)
    async with running_console(tmp_path, monkeypatch) as base, chromium(tmp_path / "profile") as page:
        await page.size(1280, 900)
        await log_in(page, base)
        await page.go(f"{base}/calls/c000000000001")
        drawn = """(() => { const c = document.getElementById('wave');
          const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          const rows = [c.height / 4, 3 * c.height / 4].map((y) => d[4 * (Math.floor(y) * c.width + 600) + 3]);
          return rows.every((alpha) => alpha > 0); })()"""
        await page.until(drawn)
        await shot(page, "console-call", tmp_path)
        unlabelled = await page.run(
            """[...document.querySelectorAll('button, a, input, select')].filter((e) =>
              !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).length"""
        )
        assert unlabelled == 0
        assert page.errors == []


@pytest.mark.models
@pytest.mark.loopback
async def test_the_telephone_in_the_page_completes_the_bank_call(tmp_path, monkeypatch):
    """Microphone file, keypad and the live transcript: the balance is spoken and shown."""
    from tests.loopback.bot_program import running_bot

    link_port = free_port(socket.SOCK_STREAM)
    folder = tmp_path / "var"
    speech = ROOT / "tests/data/caller/balance.wav"
    async with (
        running_bot(folder, link__port=link_port, link__standby_workers=0) as bot,
        running_console(folder, monkeypatch, link=LinkSettings(port=link_port)) as base,
        chromium(tmp_path / "profile", microphone=padded(speech, tmp_path / "mic.wav")) as page,
    ):
        del bot
        await page.size(1280, 800)
        await log_in(page, base, "agent")
        await page.go(f"{base}/phone")
        await page.run("document.getElementById('call').click()")
        lines = "document.getElementById('transcript').textContent"
        await page.until(f"{lines}.includes('How can I help')", 40)
        await page.until(f"{lines}.includes('account number')", 40)
        await key(page, "12345678")
        await page.until(f"{lines}.includes('passcode')", 30)
        await key(page, "4321")
        await page.until(
            f"{lines}.includes('42 pounds') || {lines}.includes('42.10') || {lines}.includes('forty')",
            30,
        )
        assert "4321" not in await page.run(lines)
        await shot(page, "console-phone", tmp_path)
        await page.until(f"{lines}.includes('anything else')", 30)
        await asyncio.sleep(3)
        await key(page, "9")
        await page.until(f"{lines}.includes('Goodbye')", 30)
        await page.until("!document.getElementById('call').disabled", 30)
        assert page.errors == []


async def key(page, digits):
    for digit in digits:
        await page.run(f"document.querySelector('[data-key=\"{digit}\"]').click()")
        await asyncio.sleep(0.15)


def padded(source, target):
    """Eleven seconds of silence (the greeting), the words, a minute of silence, at the rate that chromium wants."""
    import wave

    import numpy as np

    with wave.open(str(source)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    out = np.concatenate([np.zeros(rate * 11, np.int16), samples, np.zeros(rate * 60, np.int16)])
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(out.tobytes())
    return target
