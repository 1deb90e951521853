"""The E-model against the figures that the recommendations print."""

import pytest

from sip_test_harness.e_model import G711_BPL_PLAIN, mos_of, rate


def test_defaults_give_93_2():
    """Without delay and loss R is 93.2 and MOS 4.41 (G.107 table 3 and annex B)."""
    quality = rate(delay_ms=0, loss_percent=0)
    assert quality.r == pytest.approx(93.2, abs=0.05)
    assert quality.mos == pytest.approx(4.41, abs=0.01)


@pytest.mark.parametrize(("r", "mos"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_mos_of_r_follows_annex_b(r, mos):
    """The table of G.107 annex B / G.109."""
    assert mos_of(r) == pytest.approx(mos, abs=0.01)


def test_delay_is_nearly_free_to_150_ms_and_costs_beyond():
    """R falls by less than 4 to 150 ms; from 100 to 200 ms by the long-delay term, 3.04, and some echo."""
    r = {
        delay_ms: rate(delay_ms=delay_ms, loss_percent=0).r for delay_ms in (0, 100, 150, 200, 300, 400)
    }
    assert list(r.values()) == sorted(r.values(), reverse=True)
    assert r[0] - r[150] < 4
    assert 3.04 < r[100] - r[200] < 5.5
    assert r[400] < 65


def test_loss_bursts_and_concealment_order_the_quality():
    """3 % loss without concealment costs 95·3/(3+4.3) = 39 points; bursts cost more than singles."""
    base = rate(delay_ms=0, loss_percent=0).r
    assert base - rate(delay_ms=0, loss_percent=3, bpl=G711_BPL_PLAIN).r == pytest.approx(
        95 * 3 / 7.3, abs=0.05
    )
    single = rate(delay_ms=0, loss_percent=5).mos
    burst = rate(delay_ms=0, loss_percent=5, mean_burst_packets=4).mos
    assert burst < single < rate(delay_ms=0, loss_percent=1).mos
