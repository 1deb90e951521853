"""`asr.model_path` alone is changed: the same call with 16 kHz models in both layouts of official ones."""

import pytest

from sip_test_harness import Caller, CallerOptions, read_wav
from tests.loopback.bot_program import ROOT, running_bot
from tests.wideband_model import wideband_model

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.long]

ACCOUNT = read_wav(ROOT / "tests/data/caller/account_number.wav")
SAID = "one two three four five six seven eight"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fixed_graph", [False, True], ids=["HCLr and Gr", "HCLG"])
async def test_a_16_khz_model_hears_the_account_number(tmp_path, fixed_graph):
    """The bank sample: the balance by key, the account number by voice, over SIP and RTP at 8 kHz."""
    model = wideband_model(tmp_path / "wideband", fixed_graph=fixed_graph)
    async with running_bot(tmp_path / "data", asr__model_path=model) as bot:
        await bot.wait_event("worker_ready", 1, limit_s=240)
        async with Caller(bot.uri, CallerOptions(limit_s=180)) as call:
            await call.invite()
            await call.wait_bot_audible(60)
            await call.press("1")
            await call.wait_bot_silent(1500, timeout_s=60)
            await call.say(ACCOUNT)
            await bot.wait_event("turn", 2, limit_s=60)
        record = await bot.record_of(call.call_id, limit_s=60)
    said = [line["text"] for line in record["transcript"] if line["who"] == "caller"]
    assert SAID in said, record["transcript"]
    assert bot.events("worker_loaded")[-1]["recogniser"].startswith("vosk, wideband, 16000 Hz")
