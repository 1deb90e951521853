"""Scenarios: assertions that pass and fail for the stated reason, result files, many at once."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import AgentOptions, ScriptedAgent, ScriptError, write_wav
from sip_test_harness.call_record import CallRecord
from sip_test_harness.check import Expectations, unmet
from sip_test_harness.measures import listening_quality
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.rtp_statistics import ReceivedPacket
from sip_test_harness.scenario_runner import (
    ScenarioResult,
    run_scenario,
    run_scenarios,
    write_json,
    write_junit,
)
from sip_test_harness.script_reader import read_script


@pytest.fixture
def scenario(tmp_path):
    write_wav(tmp_path / "hi.wav", (6000 * np.sin(np.arange(1600) * 0.3)).astype(np.int16))
    path = tmp_path / "tone.yaml"
    path.write_text(
        "silence_ms: 320\nlimit_s: 20\nturns:\n  - say: hi.wav\n"
        "expect:\n  status: 200\n  codec: pcmu\n  greeting_within_ms: 900\n  ended_by: harness\n"
        "  onset_p95_ms_max: 900\n  contiguous: true\n  mos_min: 2.0\n  loss_percent_max: 0\n"
    )
    return read_script(path)


@pytest.mark.loopback
async def test_a_good_call_meets_its_expectations(scenario, tmp_path):
    """All demands met: no failure, and the report carries profile and seed."""
    async with LoopbackBot(delay_ms=200) as bot:
        result, _ = await run_scenario(
            replace(scenario, profile="pstn-good", seed=4), target=bot.uri, out=tmp_path / "o"
        )
    timing = [failure for failure in result.failures if failure.startswith("void")]
    assert result.failures == timing  # a machine that is too busy to send in time voids the run
    assert (result.report["measures"]["profile"], result.report["measures"]["seed"]) == ("pstn-good", 4)
    assert (tmp_path / "o" / "call.wav").exists()


@pytest.mark.loopback
async def test_each_unmet_expectation_is_one_sentence(scenario):
    """A bot of 200 ms fails demands that it cannot meet, each with its name."""
    demands = Expectations(
        status=486,
        codec="pcma",
        onset_p50_ms_max=50,
        keys="1",
        transfer_to="x",
        mos_min=4.49,
        ended_by="bot",
        headers={"X-No": "y"},
        text=("hello",),
    )
    async with LoopbackBot(delay_ms=200) as bot:
        result, _ = await run_scenario(replace(scenario, expect=demands), target=bot.uri)
    named = {failure.split(":")[0] for failure in result.failures if not failure.startswith("void")}
    assert named == {
        "expect.status",
        "expect.codec",
        "expect.onset_p50_ms_max",
        "expect.keys",
        "expect.transfer_to",
        "expect.mos_min",
        "expect.ended_by",
        "expect.headers.X-No",
        "expect",
    }


@pytest.mark.loopback
async def test_an_expected_refusal_passes(tmp_path):
    """status: 486 is met by a busy agent."""
    path = tmp_path / "busy.yaml"
    path.write_text("turns: []\nexpect: {status: 486, headers: {Retry-After: '^5$'}}\n")
    options = AgentOptions(status=486, ring_ms=0, headers=[("Retry-After", "5")])
    async with ScriptedAgent(options) as agent:
        result, _ = await run_scenario(read_script(path), target=agent.uri)
    assert result.failures == []


@pytest.mark.loopback
async def test_scenarios_run_at_once_and_are_written_as_junit_and_json(tmp_path):
    """Four calls at the same time; the failed one is a failure in both files."""
    path = tmp_path / "quick.yaml"
    path.write_text("turns:\n  - wait_ms: 300\n  - hang_up: true\n    wait_for_bot: false\n")
    good = read_script(path)
    bad = replace(good, name="bad\x01", expect=Expectations(status=603))
    async with ScriptedAgent(AgentOptions(ring_ms=0)) as agent:
        results = await run_scenarios([good, good, good, bad], parallel=4, target=agent.uri)
        assert len(agent.legs) == 4
    assert [result.passed for result in results] == [True, True, True, False]
    write_junit(tmp_path / "j.xml", results)
    write_json(tmp_path / "j.json", results)
    suite = ET.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    assert json.loads((tmp_path / "j.json").read_text())["passed"] is False
    assert ScenarioResult("x", [], 1.0).passed


def test_the_bots_record_is_searched():
    """Words of the bot, forbidden words, and dotted fields of the record."""
    record = CallRecord(
        (("bot", "Your Balance is 5"), ("caller", "operator")),
        "",
        {
            "outcome": "completed",
            "slots": {"account": 1234},
            "transcript": [{"intent": "balance"}, {"text": "hello"}, {"intent": "no"}],
        },
    )
    good = Expectations(
        text=("balance is",),
        not_text=("operator",),
        intents=("balance", "no"),
        record={"slots.account": "^1234$", "outcome": "completed"},
    )
    wrong_order = Expectations(intents=("no", "balance"))
    bad = Expectations(text=("goodbye",), not_text=("balance",), record={"slots.pin": "1"})
    from sip_test_harness import check

    assert check._recorded(good, record) == []
    assert len(check._recorded(bad, record)) == 3
    (said,) = check._recorded(wrong_order, record)
    assert said.startswith("expect.intents")
    assert unmet.__module__ == "sip_test_harness.check"


def test_late_packets_cost_quality_like_lost_ones():
    """A stream whose every 20th packet is 100 ms late rates like one that lost them."""

    def stream(late_ms, lost):
        return [
            ReceivedPacket(
                int((n * 20 + (late_ms if n % 20 == 5 else 0)) * 1e6), RtpPacket(0, n, n * 160, 1, b"")
            )
            for n in range(400)
            if not (lost and n % 20 == 5)
        ]

    good, late, lost = (
        listening_quality(stream(*case)).mos for case in ((0, False), (100, False), (0, True))
    )
    assert late == lost < good
    assert listening_quality([]) is None


@pytest.mark.parametrize(
    ("expect", "key"),
    [
        ("{speed: 1}", "expect.speed"),
        ("{codec: g729}", "expect.codec"),
        ("{text: ['(']}", "expect.text"),
        ("{status: ok}", "expect.status"),
    ],
)
def test_a_bad_expectation_names_its_key(tmp_path, expect, key):
    """Wrong names, values and patterns are ScriptErrors."""
    path = tmp_path / "x.yaml"
    path.write_text(f"turns: []\nexpect: {expect}\n")
    with pytest.raises(ScriptError) as caught:
        read_script(path)
    assert (caught.value.key, caught.value.line) == (key, 2)


def test_an_unknown_profile_in_a_scenario_is_named(tmp_path):
    """profile: nonsense is an error with its line."""
    path = tmp_path / "x.yaml"
    path.write_text("turns: []\nprofile: nonsense\n")
    with pytest.raises(ScriptError) as caught:
        read_script(path)
    assert (caught.value.key, caught.value.line) == ("profile", 2)
