"""The five broken bots again, as programs that answer calls: caught over SIP and RTP.

The recogniser is a script, everything else is what callers meet. An edge has four slots, so one caller of
the suite calls, over its three networks at a time: half a minute a bot.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.loopback.bot_program import running_bot
from tests.qa import breakages

pytestmark = [pytest.mark.loopback, pytest.mark.long, pytest.mark.timeout(900)]
HARNESS = str(Path(sys.executable).parent / "sip-test-harness")
SUITE = breakages.ROOT / "dialplans/qa/bank.yaml"
AT = "2026-01-06T10:00:00+00:00"
FAKE = {"asr__engine": "fake", "asr__fake_script": "balance@1400", "dialplan_at": AT}


def one_caller(folder):
    """The suite with the caller who pauses."""
    lines = SUITE.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("recordings:"))
    lines[at] = f"recordings: [{SUITE.parent / 'caller-who-pauses.wav'}]"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "suite.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


async def suite(folder, *options, **settings):
    """Run the suite against a bot of its own; (exit status, output)."""
    file = one_caller(folder.parent / "suite")
    async with running_bot(folder, **(FAKE | settings)) as bot:
        process = await asyncio.create_subprocess_exec(
            HARNESS,
            *("suite", str(file), "--target", bot.uri, "--record-dir", str(folder)),
            *("--at-once", "3", *map(str, options)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, output.decode()


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The bot as it is, once."""
    folder = tmp_path_factory.mktemp("baseline")
    path = folder / "baseline.json"
    status, output = asyncio.run(suite(folder / "bot", "--save-baseline", path))
    assert status == 0, output
    return path


@pytest.mark.parametrize(
    ("breakage", "figure"),
    [
        ("", ""),
        ("jitter_buffer_off", "bot_dropped"),
        ("concealment_off", "bot_holes"),
        ("late_voices", "onset_p50_ms"),
        ("cuts_off", "cut_offs"),
        ("wrong_intent", "intents_right"),
    ],
)
def test_a_broken_bot_is_caught_over_the_wire_too(baseline, breakage, figure, monkeypatch, tmp_path):
    settings = {}
    if breakage == "cuts_off":
        settings = breakages.CUTS_OFF
    elif breakage == "wrong_intent":
        settings = {"dialplan": breakages.wrong_intent_dialplan(tmp_path)}
    elif breakage:
        here = Path(breakages.__file__).parent / "broken_processes"
        paths = [str(here), str(breakages.ROOT), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        monkeypatch.setenv("QA_BREAKAGE", breakage)
    status, output = asyncio.run(suite(tmp_path / "bot", "--baseline", baseline, **settings))
    named = " ".join(line.split()[1] for line in output.splitlines() if line.startswith("Failed:"))
    assert (figure in named) if figure else status == 0, output
    assert status == bool(figure), output
