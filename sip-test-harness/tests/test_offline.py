"""Impairing without a network: same bytes each time, keys and losses in place; captures of others."""

from pathlib import Path

import numpy as np
import pytest

from sip_test_harness.commands.network import impair
from sip_test_harness.errors import UsageError
from sip_test_harness.offline import impaired_packets, sent_packets, write_impaired
from sip_test_harness.profile import load_profile, parse_profile
from sip_test_harness.recorded_caller import RecordedCaller, read_recordings
from sip_test_harness.sweep import Cell, profile_of
from sip_test_harness.wav_file import write_wav

SIPP_CAPTURES = Path("/usr/share/sip-tester")


def recorded():
    samples = (6000 * np.sin(np.arange(8 * 4000) * 0.3)).astype(np.int16)
    return RecordedCaller("x", samples, np.zeros(0, np.int16), keys=[(1000.0, "4"), (1500.0, "2")])


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    """Two files of one seed are equal; of another seed they differ."""
    profile = load_profile("mobile")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_impaired(tmp_path / name, impaired_packets(recorded(), profile, seed)[1])
    assert (
        (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
    )


def test_the_written_caller_reads_back_with_its_keys(tmp_path):
    """Sound and keys survive the way through the file when nothing is impaired."""
    sent, arrived = impaired_packets(recorded(), profile_of(Cell()), 1)
    assert sent == len(arrived) == 200
    write_impaired(tmp_path / "x.pcap", arrived)
    (back,) = read_recordings(tmp_path / "x.pcap")
    assert [key for _, key in back.keys] == ["4", "2"]
    assert back.keys[0][0] == pytest.approx(1000, abs=21)
    assert np.abs(back.samples[:7000].astype(int) - recorded().samples[:7000]).max() < 300


def test_losses_and_order_are_those_of_the_profile():
    """10 % loss of 200 packets within a block of 3,000, and arrivals in order of time."""
    profile = parse_profile(
        "t", "out:\n  - random_loss: {percent: 10}\n  - jitter: {spread_ms: 60, keep_order: false}\n"
    )
    sent, arrived = impaired_packets(recorded(), profile, 1)
    times = [at_ms for at_ms, _ in arrived]
    assert times == sorted(times)
    assert 5 < sent - len(arrived) < 40
    numbers = [packet.sequence_number for _, packet in arrived]
    assert numbers != sorted(numbers)
    assert len(sent_packets(recorded(), 1)) == 200


@pytest.mark.peer
@pytest.mark.skipif(not SIPP_CAPTURES.exists(), reason="sip-tester (Debian package) is not installed")
def test_sipps_own_captures_are_read():
    """A-law in 30 ms packets of seven seconds, and a pressed key without any sound."""
    (speech,) = read_recordings(SIPP_CAPTURES / "g711a.pcap")
    assert (speech.codec, len(speech.packets), len(speech.packets[0][1].payload)) == (8, 236, 240)
    assert 6.9 < speech.duration_s < 7.5
    (star,) = read_recordings(SIPP_CAPTURES / "dtmf_2833_star.pcap")
    assert [key for _, key in star.keys] == ["*"]


def test_impairing_a_recording_with_redacted_keys_asks_for_those_of_a_test_account(tmp_path):
    """The command says so in a sentence; with the keys it writes them."""
    wav = tmp_path / "call.wav"
    write_wav(wav, np.zeros(8000, np.int16))
    wav.with_suffix(".json").write_text('{"events": [{"at_ms": 200, "name": "dtmf:redacted"}]}')
    out = tmp_path / "out.pcap"
    with pytest.raises(UsageError, match="--secret-keys"):
        impair(wav, out=out)
    impair(wav, out=out, secret_keys="7")
    (again,) = read_recordings(out)
    assert [key for _, key in again.keys] == ["7"]
