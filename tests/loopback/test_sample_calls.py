"""The clinic and the parcel sample by voice over SIP, with the packaged recogniser and voice.

"Yes" and "account balance" are human speech (tests/data/caller); what nobody has spoken for us is said by a
voice of flite, made here when the test runs. Dates of birth, numbers and times
are keyed in, as many callers would.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import pytest_asyncio

from sip_test_harness import Caller, CallerOptions, read_wav
from tests.loopback.bot_program import ROOT, running_bot
from voicebot.audio.narrowband import shape
from voicebot.tts.flite import FliteVoice
from voicebot.tts.profiles import load_profile

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

OPEN_AT = "2026-11-23T10:00:00+00:00"  # a Monday
FASTER = 1.6
BOT_IS_DONE_MS = 1500  # between two sentences a busy machine may be silent for a second
ASKED_BACK_BELOW = 0.55  # low_confidence.below of the samples


@dataclass(frozen=True)
class Human:
    """A clip of tests/data/caller."""

    clip: str

    def samples(self):
        return read_wav(ROOT / f"tests/data/caller/{self.clip}.wav")


@dataclass(frozen=True)
class Synthetic:
    """Words, said by a voice of flite."""

    text: str
    voice: str = "slt"

    def samples(self):
        voice, pieces = FliteVoice(self.voice), []

        def keep(samples):
            pieces.append(samples)
            return True

        voice.synthesize(self.text, keep)
        return shape(np.concatenate(pieces), voice.sample_rate_hz, load_profile(self.voice))


YES = Human("yes")


def sample(folder, name):
    """The bot with a sample as it is, but for a faster voice, which spares the test half a minute."""
    text = (ROOT / f"dialplans/{name}.yaml").read_text()
    plan = folder / f"{name}.yaml"
    plan.write_text(
        text.replace("routes:\n", f"speech: {{ prosody: {{ rate: {FASTER} }} }}\nroutes:\n", 1)
    )
    return running_bot(folder / "data", dialplan=plan, dialplan_at=OPEN_AT)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def clinic(tmp_path_factory):
    async with sample(tmp_path_factory.mktemp("clinic"), "clinic") as bot:
        yield bot


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def parcel(tmp_path_factory):
    async with sample(tmp_path_factory.mktemp("parcel"), "parcel") as bot:
        yield bot


async def talk(bot, *turns, hang_up=True):
    """One call: each turn when the bot has said all it has to say; its record afterwards."""
    async with Caller(bot.uri, CallerOptions(limit_s=110)) as call:
        await call.invite()
        await call.wait_bot_audible(10)
        for turn in turns:
            before = len(bot.events("turn"))
            await answer(call, turn)
            if isinstance(turn, Synthetic):
                await bot.wait_event("turn", before + 1, limit_s=15)
                if bot.events("turn")[-1]["confidence"] < ASKED_BACK_BELOW:
                    await answer(call, YES)
        if not hang_up:  # else the last answer has begun, and is in the record already
            await call.wait_ended(30)
    return await bot.record_of(call.call_id, limit_s=15)


async def answer(call, turn):
    await call.wait_bot_silent(BOT_IS_DONE_MS)
    if isinstance(turn, str):
        await call.press(turn)
    else:
        await call.say(turn.samples())
    await call.wait_bot_audible(15, since_ns=call.last_said_ns)


def said(record, who):
    return " / ".join(line["text"] for line in record["transcript"] if line["who"] == who)


@pytest.mark.timeout(240)
async def test_a_patient_asks_for_an_appointment(clinic):
    record = await talk(clinic, Synthetic("book an appointment"))
    assert "What is the patient's last name" in said(record, "bot"), said(record, "caller")


@pytest.mark.timeout(240)
async def test_a_customer_asks_where_a_parcel_is(parcel):
    record = await talk(parcel, Synthetic("track a parcel", "awb"), "100200300")
    assert "Your parcel is on its way" in said(record, "bot"), said(record, "caller")
    assert "twenty fifth of November" in said(record, "bot")


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_appointment_is_booked_by_voice_from_greeting_to_goodbye(clinic):
    """The name is no name, but a word that a human has spoken for us: the caller says yes to it."""
    record = await talk(
        clinic,
        Synthetic("book an appointment"),
        Human("account_balance"),  # a name is asked for; any word does
        YES,
        "05031984",
        YES,
        Synthetic("next friday"),
        "0930",
        YES,
        YES,
        "3",
        hang_up=False,
    )
    assert "You are booked for" in said(record, "bot"), said(record, "caller")
    assert record["reason"] == "completed"


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_parcel_is_tracked_and_redirected_by_voice(parcel):
    """The nine digits are asked for once: the second wish knows them."""
    record = await talk(
        parcel,
        Synthetic("track a parcel", "awb"),
        "100200300",
        Synthetic("change the delivery", "awb"),
        Synthetic("next door"),
        YES,
        "4",
        hang_up=False,
    )
    assert "Your parcel is on its way" in said(record, "bot"), said(record, "caller")
    assert "It is noted" in said(record, "bot"), said(record, "caller")
    assert record["reason"] == "completed"
