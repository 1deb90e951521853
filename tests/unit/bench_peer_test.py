"""The A/B benchmark against another bot: what its telephone hears, and what its rows say."""

import json
import sys

import numpy as np

from sip_test_harness.g711 import PCMU, encode
from tests.bench import peer
from tests.bench.stream_phone import Playback

LOUD = encode(np.tile([8000, -8000], 80).astype(np.int16), PCMU)
MS = 1_000_000


def test_what_comes_in_a_burst_is_heard_in_real_time():
    """Three blocks at once are heard 20 ms apart, and what comes later queues behind them."""
    heard = Playback()
    heard.arrive(LOUD * 3, 100 * MS)
    heard.arrive(LOUD, 110 * MS)
    assert [at // MS for at in heard.audible_ns()] == [100, 120, 140, 160]
    heard.arrive(bytes([0xFF]) * 160, 300 * MS)
    assert len(heard.audible_ns()) == 4, "silence is nothing to hear"


def test_a_clear_leaves_what_was_heard():
    """The block under way stays, the rest is gone, and the next audio is heard at once."""
    heard = Playback()
    heard.arrive(LOUD * 5, 0)
    heard.clear(30 * MS)
    heard.arrive(LOUD, 50 * MS)
    assert [at // MS for at in heard.audible_ns()] == [0, 20, 50]


def test_rows_count_what_was_missed_and_compare_the_two():
    """A call in which our own phone was late counts for nothing; cut-offs are no onsets."""
    good = {
        "onset_ms": 200.0,
        "stop_ms": 100.0,
        "spoke_on": False,
        "second_onset_ms": None,
        "late_ms": 1.0,
    }
    samples = [
        {"who": peer.PEER, **good, "onset_ms": 400.0},
        {"who": peer.PEER, **good, "onset_ms": -900.0},
        {"who": peer.PEER, **good, "onset_ms": 9000.0, "late_ms": 80.0},
        {"who": peer.OURS, **good},
    ]
    table = {r["figure"]: r for r in peer.rows(samples)}
    onset = table["peer, WebSocket: response onset p95"]
    assert (onset["value"], onset["note"]) == (400.0, "n=1, 1 before the end, 0 without")
    assert "1 calls VOID" in table["peer, WebSocket: calls"]["note"]
    assert table["ours / peer, response onset p50"]["value"] == 0.5
    assert "onset after it" not in json.dumps(list(table))


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path, monkeypatch, capsys):
    """`--keep`: samples of earlier runs count too."""
    keep = tmp_path / "samples.json"
    sample = {"onset_ms": 1.0, "stop_ms": None, "spoke_on": False, "second_onset_ms": None, "late_ms": 0}
    keep.write_text(json.dumps([{"who": peer.OURS, **sample}]))

    async def one_call(_options, _number, add):
        add(peer.OURS, sample)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peer, "block", one_call)
    monkeypatch.setattr(sys, "argv", ["peer", "--blocks", "2", "--keep", str(keep)])
    peer.main()
    assert len(json.loads(keep.read_text())) == 3
    assert "ours, WebSocket: calls" in capsys.readouterr().out
