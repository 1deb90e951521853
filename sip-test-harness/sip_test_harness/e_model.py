"""The E-model: a quality estimate from loss and delay (ITU-T G.107, 06/2015).

All parameters but delay, loss and the codec's robustness are the recommendation's defaults
(table 3); with those R is 93.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

G711_IE: Final = 0.0
G711_BPL_CONCEALED: Final = 25.1
"""Packet-loss robustness of G.711 with concealment (G.113 appendix I)."""
G711_BPL_PLAIN: Final = 4.3
"""The same without concealment."""

_SLR, _RLR, _STMR, _DS, _DR = 8.0, 2.0, 15.0, 3.0, 3.0
_TELR, _WEPL, _NC, _NFOR, _PS, _PR = 65.0, 110.0, -70.0, -64.0, 35.0, 35.0
_QDU = 1.0


@dataclass(frozen=True)
class Quality:
    """Transmission rating R (0 to 100) and the MOS-CQE it stands for (1 to 4.5)."""

    r: float
    mos: float


def _log10_sum(*levels_db: float) -> float:
    return 10 * math.log10(sum(10 ** (level / 10) for level in levels_db))


def _basic_signal_to_noise() -> tuple[float, float]:
    """Return Ro and the noise sum No (G.107 7.2)."""
    olr = _SLR + _RLR
    sender = _PS - _SLR - _DS - 100 + 0.004 * (_PS - olr - _DS - 14) ** 2
    room = _PR + 10 * math.log10(1 + 10 ** ((10 - (_STMR + _DR)) / 10))
    receiver = _RLR - 121 + room + 0.008 * (room - 35) ** 2
    noise = _log10_sum(_NC, sender, receiver, _NFOR + _RLR)
    return 15 - 1.5 * (_SLR + noise), noise


def _simultaneous(ro: float, noise: float, delay_ms: float) -> float:
    """Return Is: too loud, wrong sidetone, quantising (G.107 7.3)."""
    loudness = (_SLR + _RLR + 0.2 * (64 + noise - _RLR)) / 8
    too_loud = 20 * ((1 + loudness**8) ** 0.125 - loudness)
    sidetone = -_log10_sum(-_STMR, -_TELR + 10 * math.log10(math.exp(-delay_ms / 4) + 1e-300))
    wrong_sidetone = (
        12 * (1 + ((sidetone - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((sidetone + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((sidetone - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )
    q = 37 - 15 * math.log10(_QDU)
    g = 1.07 + 0.258 * q + 0.0602 * q**2
    quantising = 15 * math.log10(
        1 + 10 ** ((ro - 100) / 15 + 46 / 8.4 - g / 9) + 10 ** (46 / 30 - g / 40)
    )
    return float(too_loud + wrong_sidetone + quantising)


def _delayed(ro: float, noise: float, delay_ms: float) -> float:
    """Return Id: talker echo, listener echo and long delay (G.107 7.4)."""
    terv = (
        _TELR
        - 40 * math.log10((1 + delay_ms / 10) / (1 + delay_ms / 150))
        + 6 * math.exp(-0.3 * delay_ms**2)
    )
    gap = -1.5 * (noise - _RLR) - (80 + 2.5 * (terv - 14))
    talker = (gap / 2 + math.sqrt(gap**2 / 4 + 100) - 1) * (1 - math.exp(-delay_ms))
    rle = 10.5 * (_WEPL + 7) * (2 * delay_ms + 1) ** -0.25
    listener = (ro - rle) / 2 + math.sqrt((ro - rle) ** 2 / 4 + 169)
    long_delay = 0.0
    if delay_ms > 100:
        x = math.log2(delay_ms / 100)
        long_delay = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return float(talker + listener + long_delay)


def rate(
    *,
    delay_ms: float,
    loss_percent: float,
    mean_burst_packets: float = 1.0,
    ie: float = G711_IE,
    bpl: float = G711_BPL_CONCEALED,
) -> Quality:
    """Estimate the quality of a path.

    Args:
        delay_ms: mouth-to-ear delay in one direction.
        loss_percent: lost and late packets.
        mean_burst_packets: mean length of a run of lost packets.
        ie: equipment impairment of the codec; 0 for G.711.
        bpl: robustness of the codec against loss.
    """
    ro, noise = _basic_signal_to_noise()
    # BurstR (G.107 7.5): observed burst length over that of independent loss, 1 / (1 - p).
    burst_ratio = max(1.0, mean_burst_packets * (1 - loss_percent / 100))
    ie_eff = ie + (95 - ie) * loss_percent / (loss_percent / burst_ratio + bpl)
    r = ro - _simultaneous(ro, noise, delay_ms) - _delayed(ro, noise, delay_ms) - ie_eff
    return Quality(round(r, 2), round(mos_of(r), 3))


def mos_of(r: float) -> float:
    """Return the MOS-CQE of a rating (G.107 annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
