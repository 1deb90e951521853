"""Suites: what they read, refuse and judge; what the bot heard of the packets; redacted keys."""

import json

import numpy as np
import pytest

from sip_test_harness import UsageError, g711, write_wav
from sip_test_harness.bot_hearing import bot_hearing
from sip_test_harness.errors import ScriptError
from sip_test_harness.judgement import judge
from sip_test_harness.qa_row import Cell, QaRow
from sip_test_harness.recorded_caller import read_recordings, with_secret_keys
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.suite import crossed, read_suite, write_suite_junit


def packets(count=100, lost=()):
    """Noise in 20 ms packets, and what a perfect bot hears of it."""
    samples = np.random.default_rng(1).normal(0, 6000, 160 * count).astype(np.int16)
    sent, heard = [], np.zeros(160 * count + 800, np.int16)
    for n in range(count):
        payload = g711.encode(samples[160 * n : 160 * n + 160], g711.PCMU)
        packet = RtpPacket(0, n, 5000 + 160 * n, 7, payload, marker=False)
        sent.append((packet, n not in lost, 20 * n))
        if n not in lost:
            heard[800 + 160 * n : 960 + 160 * n] = g711.decode(payload, g711.PCMU)
    return sent, heard


def test_a_bot_that_hears_all_has_dropped_nothing():
    sent, heard = packets()
    found = bot_hearing(sent, heard)
    assert (found.dropped, found.holes, found.speech_packets) == (0.0, 0.0, 100)


def test_losses_that_stay_silent_are_holes_and_concealed_ones_are_not():
    sent, heard = packets(lost={10, 20, 21, 60})
    assert bot_hearing(sent, heard).holes == 1.0
    heard[800 + 1600 : 960 + 1600] = 900
    found = bot_hearing(sent, heard)
    assert (found.holes, found.lost_packets, found.dropped) == (0.75, 4, 0.0)
    assert (found.concealed_ns, found.holes_ns) == ((200,), (400, 420, 1200))


def test_packets_that_arrived_and_were_not_played_are_dropped():
    sent, heard = packets()
    heard[800 + 160 * 5 : 800 + 160 * 10] = 1000
    found = bot_hearing(sent, heard)
    assert found.dropped == pytest.approx(0.05)
    assert found.dropped_ns == (100, 120, 140, 160, 180)


def test_a_recording_of_another_call_says_nothing():
    sent, _ = packets()
    assert bot_hearing(sent, np.zeros(20_000, np.int16)) is None
    assert bot_hearing(sent[:5], packets()[1]) is None


@pytest.fixture
def suite_file(tmp_path):
    write_wav(tmp_path / "a.wav", (6000 * np.sin(np.arange(8000) * 0.3)).astype(np.int16))
    events = [{"at_ms": 2000, "name": "dtmf:5"}, {"at_ms": 2300, "name": "dtmf:redacted"}]
    (tmp_path / "a.json").write_text(json.dumps({"events": events}))
    path = tmp_path / "s.yaml"
    path.write_text(
        "recordings: [a.wav]\nsecret_keys: '42'\n"
        "networks: [{loss: 0}, {loss: 5, burst: 3}, {profile: mobile}]\nseeds: 2\n"
    )
    return path


def test_a_suite_is_recordings_times_networks_times_seeds(suite_file):
    suite = read_suite(suite_file)
    assert len(suite.jobs()) == 6
    assert [key for _, key in suite.recordings[0].keys] == ["5", "4"]
    assert [cell.loss_percent for cell, _ in suite.networks] == [0, 5, 1]


def test_redacted_keys_without_others_are_refused(suite_file):
    (recorded,) = read_recordings(suite_file.with_name("a.wav"))
    with pytest.raises(UsageError, match="--secret-keys"):
        with_secret_keys(recorded, "")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("networks: []\nrecordings: [a.wav]\n", "networks"),
        ("networks: [{loss: 100}]\nrecordings: [a.wav]\nsecret_keys: 4\n", "networks"),
        ("networks: [{speed: 1}]\nrecordings: [a.wav]\nsecret_keys: 4\n", "networks"),
        ("networks: [{loss: x}]\nrecordings: [a.wav]\nsecret_keys: 4\n", "networks"),
        ("recordings: a\n", "recordings"),
        ("fun: 1\n", "fun"),
        ("seeds: x\nnetworks: [{loss: 0}]\nrecordings: [a.wav]\nsecret_keys: '1'\n", "seeds"),
        ("- 1\n", ""),
    ],
)
def test_a_wrong_suite_names_its_key(suite_file, text, key):
    suite_file.write_text(text)
    with pytest.raises(ScriptError) as caught:
        read_suite(suite_file)
    assert caught.value.key == key


def row(intent="balance", slot="1", **changes):
    said = [{"who": "caller", "text": "balance", "intent": intent, "slots": {"account": slot}}]
    return QaRow(
        "a",
        {"loss_percent": 0, "mean_burst_packets": 1, "jitter_ms": 0},
        "p",
        1,
        transcript=said,
        **changes,
    )


def test_conditions_name_the_figure_and_need_a_baseline_only_where_they_compare(suite_file, tmp_path):
    suite = read_suite(suite_file)
    rows = [row(intent="hours", slot="2", bot_holes=0.9, lost_out_ms=[1.0])]
    judge(rows, [row()])
    assert set(crossed(suite.conditions, rows, [])) == {"bot_holes"}
    found = crossed(suite.conditions, rows, [row()])
    assert {"bot_holes", "intents_right", "slots_right"} <= set(found)
    write_suite_junit(tmp_path / "j.xml", suite, found)
    assert (tmp_path / "j.xml").read_text().count("<failure") == len(found)
    assert Cell(**rows[0].cell).clean
