"""The same packets over SIP and RTP, and on virtual time: the same words, steps and intents."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sip_test_harness import read_wav, write_wav
from tests.loopback.bot_program import ROOT, running_bot

pytestmark = [pytest.mark.loopback, pytest.mark.models, pytest.mark.long]

HARNESS = str(Path(sys.executable).parent / "sip-test-harness")
AT = "2026-01-06T10:00:00+00:00"
PROFILE = """
out:
  - random_loss: {percent: 3}
  - jitter: {kind: uniform, spread_ms: 40}
"""


async def harness(*arguments):
    process = await asyncio.create_subprocess_exec(
        HARNESS, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


def course(path):
    """What was heard and done, without times: they are the machine's."""
    (row,) = json.loads(path.read_text())["rows"]
    assert not row["failures"]
    told = ("who", "text", "step", "intent", "by", "slots")
    return [{name: line.get(name) for name in told} for line in row["transcript"]]


@pytest.mark.timeout(900)
async def test_the_same_packets_give_the_same_transcript_on_the_wire_and_offline(tmp_path):
    """One impaired capture, sent verbatim: once to `voicebot serve`, once to `voicebot offline`."""
    words = read_wav(ROOT / "tests/data/caller/balance.wav")
    write_wav(
        tmp_path / "caller.wav",
        np.concatenate([np.zeros(8 * 8500, np.int16), words, np.zeros(8 * 2000, np.int16)]),
    )
    (tmp_path / "path.yaml").write_text(PROFILE)
    capture = tmp_path / "impaired.pcap"
    status, output = await harness(
        *("impair", tmp_path / "caller.wav", "--profile", tmp_path / "path.yaml"),
        *("--seed", 3, "--out", capture),
    )
    assert status == 0, output
    common = ["replay", capture, "--timing", "verbatim", "--target"]
    async with running_bot(tmp_path / "bot", dialplan_at=AT) as bot:
        status, output = await harness(
            *common, bot.uri, "--record-dir", bot.data_dir, "--json", tmp_path / "wire.json"
        )
        assert status == 0, output
    for name in ("offline", "again"):
        status, output = await harness(
            *common,
            *("sip:bank@127.0.0.1", "--offline", "--at", AT, "--json", tmp_path / f"{name}.json"),
            *("--bot", f"{sys.executable} -m voicebot.cli offline"),
        )
        assert status == 0, output
    wire, offline = course(tmp_path / "wire.json"), course(tmp_path / "offline.json")
    assert wire == offline
    assert any(line["who"] == "caller" and line["intent"] == "balance" for line in wire)
    assert (tmp_path / "offline.json").read_bytes() == (tmp_path / "again.json").read_bytes()
