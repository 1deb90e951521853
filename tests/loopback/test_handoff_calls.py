"""Callers are handed to people over real SIP and RTP: every outcome ends in a conversation or in speech."""

import asyncio
import contextlib
import sqlite3
import time
import wave
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import pytest_asyncio

from sip_test_harness import Caller, CallerOptions
from sip_test_harness import g711 as harness_g711
from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent
from tests.loopback.bot_program import running_bot
from tests.ports import free_port
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.context import ContextTurn, HandoffContext
from voicebot.handoff.queue_store import HandoffStore
from voicebot.handoff.user_to_user import decode_fields

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]

CALLER_HZ, AGENT_HZ = 1800, 2600  # neither is in the hold music
NUMBER = "+442071838750"

PLAN = """
version: 1
name: handoff-test
locale: en-GB
timezone: Europe/London
routes:
  - { match: { to: ["*"] }, flow: main }
slots:
  code: { type: digits, length: 4, ask: "Key in your code.", sensitive: true, input: [dtmf] }
queues:
  desk: { sip: "sip:agent@127.0.0.1:PORT", ring: 2s, mode: warm }
  other: { sip: "sip:agent@127.0.0.1:PORT", mode: blind }
  stepping: { sip: "sip:agent@127.0.0.1:PORT", ring: 2s, mode: attended }
handoff:
  say: "One moment."
  ended: "The conversation has ended. Goodbye."
  return: { say: "Nobody is free just now.", goto: main }
flows:
  main:
    - menu:
        ask: "How can I help?"
        choices:
          - { intent: warm, dtmf: "1", examples: ["warm"], goto: warm }
          - { intent: blind, dtmf: "2", examples: ["blind"], goto: blind }
          - { intent: secret, dtmf: "3", examples: ["secret"], goto: secret }
          - { intent: attended, dtmf: "4", examples: ["attended"], goto: attended }
  warm:
    - { handoff: desk, reason: asked }
  blind:
    - { handoff: other, reason: asked }
  attended:
    - { handoff: stepping, reason: asked }
  secret:
    - collect: code
    - goto: warm
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handoff")
    port, trunk_port = free_port(), free_port()
    (folder / "plan.yaml").write_text(PLAN.replace("PORT", str(port)))
    async with running_bot(
        folder / "var",
        dialplan=folder / "plan.yaml",
        sip__allow_outgoing="true",
        asr__engine="fake",
        tts__engine="tone",
        handoff__accept_timeout_s="2",
        handoff__callback_trunk=f"127.0.0.1:{trunk_port}",
        handoff__countries="44",
    ) as running:
        running.agent_port, running.trunk_port = port, trunk_port
        # The standby worker loads its models meanwhile; on two cores the first call would feel it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(40):
                while len(running.events("prompts_rendered")) < 2:
                    await asyncio.sleep(0.1)
        # The first call of a worker loads what later ones share: it may lose its worker for a second.
        for _ in range(2):
            async with Caller(running.uri, CallerOptions(limit_s=20)) as call:
                await call.invite()
                await asyncio.sleep(3)
                await call.hang_up()
        yield running


def edge_pid(bot):
    (pid,) = [p for p in bot.children() if b"edge" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return pid


def sockets(pid):
    names = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(str(fd.readlink()))
    return sum(name.startswith("socket:") for name in names)


def rows(bot):
    with contextlib.closing(sqlite3.connect(bot.data_dir / "handoffs.db")) as db:
        return db.execute(
            "SELECT state, outcome, reason, code, context FROM handoffs ORDER BY joined_s"
        ).fetchall()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_leaks(bot):
    """After each test: no leg, no port, no open entry of the queue."""
    before = sockets(edge_pid(bot))
    yield
    async with asyncio.timeout(10):
        while sockets(edge_pid(bot)) > before:
            await asyncio.sleep(0.05)
        while any(row[0] != "over" for row in rows(bot)):
            await asyncio.sleep(0.05)


def agent(bot, **options):
    return ScriptedAgent(AgentOptions(port=bot.agent_port, **options))


@contextlib.asynccontextmanager
async def caller(bot, **options):
    async with Caller(bot.uri, CallerOptions(limit_s=60, **options)) as call:
        await call.invite()
        await call.wait_bot_silent(400, 10)
        yield call


def tone(hz, seconds):
    time_s = np.arange(int(8000 * seconds)) / 8000
    return (8000 * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def purity(samples, hz):
    """Part of the power that is at this frequency; 0 for silence."""
    samples = samples.astype(float)
    power = float(np.mean(samples**2))
    if power < 1e4:
        return 0.0
    wave_ = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / 8000)
    return 2 * abs(np.mean(samples * wave_)) ** 2 / power


async def wait_tone(party, hz, since_ns, limit_s=5.0):
    """When this party first heard a packet of the tone, monotonic ns."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for item in party.media.heard:
            if item.arrival_ns <= since_ns or len(item.packet.payload) != 160:
                continue
            if item.packet.payload_type not in {0, 8}:
                continue
            samples = harness_g711.decode(item.packet.payload, item.packet.payload_type)
            if purity(samples, hz) > 0.6:
                return item.arrival_ns
        await asyncio.sleep(0.02)
    raise AssertionError(f"no {hz} Hz within {limit_s} s")


async def speaks_again(call, since_ns):
    """The bot has the caller back and says so; the menu still works."""
    await call.wait_bot_audible(8, since_ns=since_ns)
    await call.wait_bot_silent(500, 15, since_ns=since_ns)


async def test_accepted_both_hear_each_other_within_half_a_second(bot, tmp_path):
    """Brief, key, bridge: both directions at most 500 ms after the key; both sides in the recording."""
    async with agent(bot, ring_ms=100) as desk, caller(bot) as call:
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_bot_audible(10, since_ns=0)
        await leg.wait_bot_silent(600, 30, since_ns=0)
        both = asyncio.gather(call.say(tone(CALLER_HZ, 4)), leg.press("1"))
        await asyncio.sleep(0.05)
        while leg.media.utterances[-1].last_speech_ns is None:
            await asyncio.sleep(0.01)
        accepted_ns = leg.media.utterances[-1].first_speech_ns
        speaking = asyncio.create_task(leg.say(tone(AGENT_HZ, 3)))
        heard_by_agent_ns = await wait_tone(leg, CALLER_HZ, accepted_ns)
        heard_by_caller_ns = await wait_tone(call, AGENT_HZ, accepted_ns)
        key_over_ns = leg.media.utterances[0].last_speech_ns
        delays_ms = [(at - key_over_ns) / 1e6 for at in (heard_by_agent_ns, heard_by_caller_ns)]
        assert max(delays_ms) <= 500, delays_ms
        await both
        await speaking
        assert leg.invite.get("x-handoff-id").startswith("h")
        assert decode_fields(leg.invite.get("user-to-user"))["handoff"] == leg.invite.get("x-handoff-id")
        await leg.hang_up()
        await call.wait_ended(10)
        sip_call_id = call.call_id
    record = await bot.record_of(sip_call_id)
    with wave.open(str(record["recording"])) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    for channel, hz in ((0, CALLER_HZ), (1, AGENT_HZ)):
        pieces = samples[: len(samples) // 800 * 800, channel].reshape(-1, 800)
        assert sum(purity(piece, hz) > 0.8 for piece in pieces) >= 15, f"channel {channel}"
    assert rows(bot)[-1][:2] == ("over", "bridged")


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (486, "returned", "busy"),
        (603, "returned", "declined"),
        (480, "returned", "no answer"),
        (408, "returned", "no answer"),
        (503, "failed", "Service Unavailable"),
    ],
)
async def test_busy_and_declined_give_the_caller_back_to_the_bot(bot, status, outcome, reason):
    async with agent(bot, ring_ms=50, status=status) as desk, caller(bot) as call:
        await call.press("1")
        await desk.wait_call()
        await speaks_again(call, call.last_said_ns)
        assert call.state == "confirmed"
        await asyncio.sleep(0.2)
        assert rows(bot)[-1][:4] == ("over", outcome, reason, status)
        sip_call_id = call.call_id
        await call.hang_up()
    record = await bot.record_of(sip_call_id)
    assert any("Nobody is free just now." in line["text"] for line in record["transcript"])


async def test_nobody_answers_and_the_ringing_leg_is_cancelled(bot):
    """After the queue's ring time of two seconds."""
    async with agent(bot, ring_ms=None) as desk, caller(bot) as call:
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_ended(10)
        assert desk.cancelled == 1
        await speaks_again(call, leg.ended_ns)
        await call.hang_up()
    assert rows(bot)[-1][1] == "returned"


async def test_nobody_there_at_all(bot):
    """The desk's port is closed; the caller hears speech, not silence."""
    async with caller(bot) as call:
        await call.press("1")
        await asyncio.sleep(3)
        await speaks_again(call, call.last_said_ns)
        async with asyncio.timeout(10):
            while rows(bot)[-1][0] != "over":
                await asyncio.sleep(0.1)
        await call.hang_up()
    assert rows(bot)[-1][1] in {"returned", "failed"}


async def test_a_brief_that_is_not_accepted(bot):
    """The colleague answers and does nothing: the leg is hung up, the caller returns."""
    async with agent(bot, ring_ms=50) as desk, caller(bot) as call:
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_ended(40)
        await speaks_again(call, leg.ended_ns)
        await call.hang_up()
    assert rows(bot)[-1][1:3] == ("returned", "not accepted")


async def test_the_colleague_hangs_up_during_the_brief(bot):
    async with agent(bot, ring_ms=50) as desk, caller(bot) as call:
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_bot_audible(10, since_ns=0)
        await leg.hang_up()
        await speaks_again(call, leg.ended_ns)
        await call.hang_up()
    assert rows(bot)[-1][1:3] == ("returned", "not accepted")


async def test_the_caller_hangs_up_during_the_brief(bot):
    """The colleague is not left listening to nobody."""
    async with agent(bot, ring_ms=50) as desk, caller(bot) as call:
        await call.press("1")
        leg = await desk.wait_call()
        await leg.wait_bot_audible(10, since_ns=0)
        await call.hang_up()
        await leg.wait_ended(5)
    async with asyncio.timeout(5):
        while rows(bot)[-1][0] != "over":
            await asyncio.sleep(0.05)
    assert rows(bot)[-1][1:3] == ("failed", "caller hung up")


async def test_blind_is_followed_to_the_end_then_bye(bot):
    """REFER with the id in its headers, NOTIFY 200, BYE by the bot."""
    async with caller(bot, refer_status=200) as call:
        await call.press("2")
        await call.wait_ended(10)
        (refer,) = call.refers
        assert f"sip:agent@127.0.0.1:{bot.agent_port}" in refer.refer_to
        headers = {name.lower(): value for name, value in refer.headers}
        assert "x-handoff-id" in headers
        inside = unquote(refer.refer_to.split("User-to-User=")[1].split(">")[0])
        assert decode_fields(inside) == decode_fields(headers["user-to-user"])
        assert decode_fields(inside)["handoff"] == headers["x-handoff-id"]
        assert call.ended_by == "bot"
    async with asyncio.timeout(5):
        while rows(bot)[-1][0] != "over":
            await asyncio.sleep(0.05)
    assert rows(bot)[-1][1] == "bridged"


@pytest.mark.parametrize(("refer_status", "code"), [(0, 603), (503, 503), (486, 486)])
async def test_a_refer_that_fails_gives_the_caller_back(bot, refer_status, code):
    """Refused at once, or accepted and then NOTIFY 503."""
    async with caller(bot, refer_status=refer_status) as call:
        await call.press("2")
        await speaks_again(call, call.last_said_ns)
        assert call.state == "confirmed"
        async with asyncio.timeout(5):
            while rows(bot)[-1][0] != "over":
                await asyncio.sleep(0.05)
        assert rows(bot)[-1][1] == "failed" and rows(bot)[-1][3] == code
        await call.hang_up()


async def accepted(desk, call, key):
    """The colleague has heard the brief and pressed 1."""
    await call.press(key)
    leg = await desk.wait_call()
    await leg.wait_bot_audible(10, since_ns=0)
    await leg.press("1")
    return leg


async def test_the_colleague_hangs_up_after_the_conversation(bot):
    """The caller hears that it is over before the call ends: no silence, no bare BYE."""
    async with agent(bot, ring_ms=50) as desk, caller(bot) as call:
        leg = await accepted(desk, call, "1")
        speaking = asyncio.create_task(leg.say(tone(AGENT_HZ, 1)))
        await wait_tone(call, AGENT_HZ, 0, 10)
        await speaking
        await leg.hang_up()
        await call.wait_bot_audible(8, since_ns=leg.ended_ns)
        await call.wait_ended(10)
        assert call.ended_by == "bot"
        sip_call_id = call.call_id
    record = await bot.record_of(sip_call_id)
    assert record["transcript"][-1]["text"] == "The conversation has ended. Goodbye."
    assert rows(bot)[-1][1] == "bridged"


async def test_attended_the_bot_steps_out_by_refer_with_replaces(bot):
    """Refer-To names the colleague's dialog with us (RFC 3891); after NOTIFY 200 both our legs end."""
    async with agent(bot, ring_ms=50) as desk, caller(bot, refer_status=200) as call:
        leg = await accepted(desk, call, "4")
        await call.wait_ended(10)
        (refer,) = call.refers
        assert f"127.0.0.1:{bot.agent_port}" in refer.refer_to
        replaces = unquote(refer.refer_to.split("Replaces=")[1].split(">")[0])
        assert replaces.split(";")[0] == leg.invite.get("call-id")
        assert "to-tag=" in replaces and "from-tag=" in replaces
        assert call.ended_by == "bot"
        await leg.wait_ended(10)
    async with asyncio.timeout(5):
        while rows(bot)[-1][0] != "over":
            await asyncio.sleep(0.05)
    assert rows(bot)[-1][1] == "bridged"


async def test_attended_with_a_telephone_that_refuses_stays_in_the_bridge(bot):
    """603 to the REFER: both go on hearing each other over the edge."""
    async with agent(bot, ring_ms=50) as desk, caller(bot, refer_status=0) as call:
        leg = await accepted(desk, call, "4")
        async with asyncio.timeout(10):
            while not call.refers:
                await asyncio.sleep(0.02)
        speaking = asyncio.create_task(leg.say(tone(AGENT_HZ, 2)))
        await wait_tone(call, AGENT_HZ, call.refers[0].arrival_ns, 10)
        await speaking
        assert call.state == "confirmed"
        await leg.hang_up()
        await call.wait_ended(10)
    assert rows(bot)[-1][1] == "bridged"


def ask_callback(folder, handoff_id="h000000000001"):
    """As a waiting caller does by keys; see the unit tests of that."""
    context = HandoffContext(
        handoff_id=handoff_id,
        call_id="c000000000001",
        called="bank",
        queue="desk",
        summary="The caller asked for a person.",
        turns=(ContextTurn(who="caller", text="about my mortgage"),),
    )
    HandoffStore(folder).join(context, priority="normal", now_s=0.0)
    HandoffStore(folder).end(context.handoff_id, "returned", "asked to be called back", 0)
    store = CallbackStore(folder)
    store.ask(context.handoff_id, NUMBER, "desk")
    return store


async def test_somebody_is_called_back_and_put_through(bot):
    """Ring, answer, words, the key 1, a colleague who knows the first call; audio both ways; one INVITE."""
    mobile_options = AgentOptions(port=bot.trunk_port, ring_ms=100, user="mobile")
    async with ScriptedAgent(mobile_options) as mobile, agent(bot, ring_ms=50) as desk:
        store = ask_callback(bot.data_dir)
        leg = await mobile.wait_call()
        assert leg.invite.uri.startswith(f"sip:{NUMBER}@127.0.0.1")
        await leg.wait_bot_audible(10, since_ns=0)
        await leg.press("1")
        colleague = await desk.wait_call()
        await colleague.wait_bot_audible(10, since_ns=0)
        await colleague.press("1")
        both = asyncio.gather(leg.say(tone(CALLER_HZ, 3)), colleague.say(tone(AGENT_HZ, 3)))
        await wait_tone(colleague, CALLER_HZ, 0, 10)
        await wait_tone(leg, AGENT_HZ, 0, 10)
        await both
        await colleague.hang_up()
        await leg.wait_ended(10)
        sip_call_id = leg.call_id
        assert len(mobile.legs) == 1
    done = store.get(1)
    assert (done.state, done.done_by) == ("done", "the bot")
    assert [(t.outcome, t.code) for t in done.history] == [("answered", 200)]
    state, outcome, _, _, known = rows(bot)[-1]
    assert (state, outcome) == ("over", "bridged") and "about my mortgage" in known
    assert (await bot.record_of(sip_call_id))["caller"] == NUMBER


async def test_a_full_edge_refers_the_caller_instead(bot):
    """Four dialogs are all there are: three other callers, and the colleague cannot be dialled.

    Nobody is called back meanwhile: that needs two.
    """
    async with contextlib.AsyncExitStack() as others:
        for _ in range(3):
            other = await others.enter_async_context(Caller(bot.uri, CallerOptions(limit_s=60)))
            await other.invite()
        refused = len(bot.events("call_not_answered"))
        store = ask_callback(bot.data_dir, "h000000000002")
        await bot.wait_event("call_not_answered", refused + 1, 15)
        (asked,) = store.open()
        assert (asked.tries, asked.history) == (0, ()) or asked.state == "calling"
        store.done(asked.callback_id, "ann")
        async with caller(bot, refer_status=200) as call:
            await call.press("1")
            await call.wait_ended(15)
            (refer,) = call.refers
            assert f"sip:agent@127.0.0.1:{bot.agent_port}" in refer.refer_to
            assert call.ended_by == "bot"
    async with asyncio.timeout(5):
        while rows(bot)[-1][0] != "over":
            await asyncio.sleep(0.05)
    assert rows(bot)[-1][1] == "bridged"


async def test_what_is_sensitive_is_in_no_byte_of_the_handoff(bot):
    """A code keyed before the handoff is neither in the queue's file nor in the INVITE's headers."""
    async with agent(bot, ring_ms=50, status=486) as desk, caller(bot) as call:
        await call.press("3")
        await call.wait_bot_silent(500, 10)
        await call.press("7391")
        leg = await desk.wait_call()
        assert "7391" not in str(leg.invite.headers)
        await speaks_again(call, call.last_said_ns)
        await call.hang_up()
    for path in bot.data_dir.glob("handoffs.db*"):
        assert b"7391" not in path.read_bytes()
