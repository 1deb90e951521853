"""Impairments keep what they name, repeat with their seed, and compose."""

import random

import numpy as np
import pytest

from sip_test_harness import ScriptError, UsageError
from sip_test_harness import impairment_delay as delay
from sip_test_harness import impairment_loss as loss
from sip_test_harness.impairment import Chain, ImpairedPacket
from sip_test_harness.profile import load_profile, parse_profile, profile_names
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.rtp_statistics import ReceivedPacket, measure_stream


def fates(impairment, packets=3000, ptime_ms=20.0, start_ms=1000.0):
    return [impairment.fate(ImpairedPacket(n & 0xFFFF), start_ms + n * ptime_ms) for n in range(packets)]


def measured(impairment, packets=3000):
    received = [
        ReceivedPacket(
            round((1000 + n * 20 + delay) * 1e6), RtpPacket(0, n & 0xFFFF, n * 160, 1, b""), None
        )
        for n, fate in enumerate(fates(impairment, packets))
        for delay in fate
    ]
    return measure_stream(sorted(received, key=lambda item: item.arrival_ns))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("name", profile_names())
def test_a_profile_keeps_what_it_names_over_a_minute(name, direction, seed):
    """Loss, mean burst and RFC 3550 jitter of 60 s are within 5 % of the profile's figures."""
    profile = load_profile(name)
    found = measured(profile.build(seed)[direction])
    assert found.lost / 30 == pytest.approx(profile.expect.loss_percent, rel=0.05, abs=1e-9)
    burst = np.mean(found.loss_bursts) if found.loss_bursts else 0.0
    assert burst == pytest.approx(profile.expect.mean_burst_packets, rel=0.05)
    assert found.jitter_mean_ms == pytest.approx(profile.expect.jitter_ms, rel=0.05, abs=0.001)


def test_the_same_seed_gives_the_same_fates_and_another_seed_others():
    """Fates are a function of profile and seed; the two directions differ."""
    profile = load_profile("mobile")
    first, again, other = (fates(profile.build(seed)[0]) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert first != fates(profile.build(5)[1])


def test_bursts_are_geometric():
    """Of Gilbert-Elliott bursts of mean 3 about a third has length 1 and some are long."""
    found = measured(loss.GilbertElliott.of(0.05, 3.0, random.Random(1)), 30_000)
    bursts = np.array(found.loss_bursts)
    assert np.mean(bursts == 1) == pytest.approx(1 / 3, abs=0.06)
    assert bursts.max() >= 8


def test_keep_order_never_reorders_and_without_it_packets_overtake():
    """Uniform jitter of 60 ms overtakes unless the order is kept."""
    kept = measured(delay.Jitter("uniform", 60, random.Random(1)))
    free = measured(delay.Jitter("uniform", 60, random.Random(1), keep_order=False))
    assert kept.reordered == 0 and free.reordered > 300


def test_reordering_and_duplication_have_their_share():
    """5 % held back by one packet is 5 % reordered; 3 % doubled is 3 % duplicates."""
    assert measured(delay.Reordering(0.05, 1, random.Random(1))).reordered == pytest.approx(150, rel=0.1)
    assert measured(delay.Duplication(0.03, random.Random(1))).duplicates == 90


def test_skew_grows_and_a_fast_clock_uses_up_its_headroom():
    """+200 ppm is 12 ms behind after a minute; -200 ppm 12 ms nearer than at the start."""
    slow, fast = fates(delay.ClockSkew(200), 3001), fates(delay.ClockSkew(-200), 3001)
    assert slow[-1][0] - slow[0][0] == pytest.approx(12.0)
    assert fast[-1][0] - fast[0][0] == pytest.approx(-12.0)


def test_a_stall_releases_its_packets_together():
    """Packets of a 100 ms stall arrive at its end; the first second is untouched."""
    stalled = fates(delay.Stall(1.0, 100), 60)
    assert all(fate == (0.0,) for fate in stalled[:50])
    assert [fate[0] for fate in stalled[50:56]] == [100, 80, 60, 40, 20, 0]


def test_spikes_hold_without_reordering():
    """Delay spikes of 120 ms come about every 2 s, never lose or reorder."""
    found = measured(delay.Spikes(2.0, 120, random.Random(3)))
    assert found.lost == found.reordered == 0
    delays = [fate[0] for fate in fates(delay.Spikes(2.0, 120, random.Random(3)))]
    assert 20 < sum(delay > 95 for delay in delays) < 60


def test_one_way_trace_dtx_and_event_ends():
    """The special cases: a blackout, a recorded path, silence suppression, lost end packets."""
    dark = fates(loss.Blackout(start_s=1.0, duration_s=0.1), 60)
    assert [n for n, fate in enumerate(dark) if not fate] == [50, 51, 52, 53, 54]
    assert fates(loss.Trace([5.0, None]), 4) == [(5.0,), (), (5.0,), ()]
    quiet, loud = b"\xff" * 160, b"\x20" * 160
    dtx = loss.Dtx(hangover_packets=2)
    told = [
        bool(dtx.fate(ImpairedPacket.of(RtpPacket(0, 0, 0, 1, payload), 101), 0))
        for payload in [quiet] * 4 + [loud, quiet]
    ]
    assert told == [True, True, False, False, True, True]
    ends = loss.EventEndLoss(keep=1)
    sent = [
        ends.fate(ImpairedPacket(0, is_event=True, is_event_end=True, timestamp=t), 0)
        for t in (1, 1, 1, 2)
    ]
    assert [bool(fate) for fate in sent] == [True, False, False, True]


def test_a_chain_adds_delays_and_keeps_losses():
    """Delays add up, a duplicate passes the later stages twice, a lost packet passes none."""
    doubled = delay.Duplication(1.0, random.Random(1), after_ms=3)
    assert fates(Chain([delay.Delay(10), doubled, delay.Delay(5)]), 1) == [(15.0, 18.0)]
    assert fates(Chain([loss.Trace([None]), doubled]), 1) == [()]


def test_out_and_in_may_differ():
    """A profile with 'out' only leaves the way in alone."""
    out, back = parse_profile("x", "out:\n  - delay: {ms: 5}\n").build(1)
    assert fates(out, 1) == [(5,)] and fates(back, 1) == [(0.0,)]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[]", ""),
        ("both: 3\n", "both"),
        ("speed: 3\n", "speed"),
        ("both:\n  - fog: {}\n", "both[0]"),
        ("both:\n  - delay: {}\n", "both[0]"),
        ("both:\n  - delay: {ms: soon}\n", "both[0].ms"),
        ("both:\n  - random_loss: {percent: 120}\n", "both[0].percent"),
        ("both:\n  - trace: {delays_ms: [soon]}\n", "both[0].delays_ms"),
        ("both:\n  - trace: {}\n", "both[0]"),
        ("both: []\nin: []\n", "both"),
        ("expect: {fun: 1}\n", "expect"),
    ],
)
def test_a_bad_profile_names_its_key(text, key):
    """Wrong profiles are ScriptErrors with the key."""
    with pytest.raises(ScriptError) as caught:
        parse_profile("bad", text)
    assert caught.value.key == key


def test_an_unknown_profile_lists_those_there_are():
    """The message names the profiles."""
    with pytest.raises(UsageError, match="wifi-bursty"):
        load_profile("nonsense")


def test_a_captures_losses_and_delays_become_a_trace(tmp_path):
    """A profile that names a capture repeats the path it shows: 7 ms more for one packet, one lost."""
    from sip_test_harness.pcap_file import write_pcap
    from sip_test_harness.udp import CapturedDatagram

    times = [0, 20, 47, 80, 100, 120, 140, 160, 180, 200, 220, 240]
    numbers = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    write_pcap(
        tmp_path / "path.pcap",
        [
            CapturedDatagram(
                at * 1_000_000,
                ("127.0.0.1", 4000),
                ("127.0.0.1", 4002),
                RtpPacket(0, n, n * 160, 9, bytes(160)).encode(),
            )
            for at, n in zip(times, numbers, strict=True)
        ],
    )
    (tmp_path / "mine.yaml").write_text("in:\n  - trace: {capture: path.pcap}\n")
    out, back = load_profile(str(tmp_path / "mine.yaml")).build(1)
    assert fates(back, 5) == [(0,), (0,), (7,), (), (0,)]
    assert fates(out, 1) == [(0.0,)]
    (tmp_path / "bad.yaml").write_text("in:\n  - trace: {capture: none.pcap}\n")
    with pytest.raises(ScriptError, match=r"none\.pcap"):
        load_profile(str(tmp_path / "bad.yaml"))
