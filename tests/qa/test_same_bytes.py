"""The same seed gives the same bytes, in programs that share nothing but the machine.

Python orders sets and dictionaries of strings by a number that is drawn at each start; here it is two
different ones, for the harness and for the bot.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sip_test_harness.offline_bot import OfflineBot
from sip_test_harness.offline_sweep import OfflinePlan, offline_row
from sip_test_harness.suite import read_suite
from tests.qa.breakages import ROOT

HARNESS = str(Path(sys.executable).parent / "sip-test-harness")
BOT = f"{sys.executable} -m voicebot.cli offline"
SUITE = ROOT / "dialplans/qa/bank.yaml"
NETWORK = ("--loss", "5", "--burst", "3", "--jitter", "40", "--seed", "7")
ENGINES = {
    "fake": {
        "VOICEBOT_ASR__ENGINE": "fake",
        "VOICEBOT_ASR__FAKE_SCRIPT": "balance@1400",
        "VOICEBOT_TTS__ENGINE": "tone",
    },
    "real": {},
}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_bots_with_other_hash_seeds_hold_the_same_call(monkeypatch):
    """Rows hold the sound both ways, what the bot heard, its record and all measures."""
    for name, value in ENGINES["fake"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    suite = read_suite(SUITE)
    job = next(job for job in suite.jobs() if job.cell.loss_percent == 10)
    rows = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        with OfflineBot(BOT) as bot:
            rows.append(offline_row(bot, OfflinePlan(BOT, suite.target, suite.at), job))
    assert rows[0].failures == []
    assert len(rows[0].transcript) > 4 and rows[0].lost_out_ms
    assert rows[0] == rows[1]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engines", ["fake", "real"])
def test_a_whole_run_writes_the_same_file(tmp_path, engines):
    recordings = [
        ROOT / f"dialplans/qa/{name}.wav" for name in ("balance-by-voice", "caller-who-agrees")
    ]
    for seed in ("1", "2"):
        subprocess.run(
            [
                *(HARNESS, "replay", *recordings, "--offline", "--bot", BOT, "--secret-keys", "4321"),
                *("--target", "sip:bank@127.0.0.1", "--at", "2026-01-06T10:00:00+00:00", *NETWORK),
                *("--json", tmp_path / f"{seed}.json"),
            ],
            cwd=ROOT,
            env={**os.environ, **ENGINES[engines], "PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
