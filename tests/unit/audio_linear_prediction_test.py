"""Linear prediction against scipy, which is where it came from; and that the edge does without scipy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, lfiltic

from voicebot.audio.linear_prediction import AllPoleFilter, predictor_of


@pytest.mark.parametrize("order", [1, 2, 16])
def test_the_predictor_solves_the_normal_equations(order):
    signal = np.random.default_rng(order).standard_normal(240).cumsum() * np.hanning(240)
    correlation = np.correlate(signal, signal, "full")[239 : 240 + order]
    correlation[0] *= 1.0001
    expected = np.concatenate(([1.0], -solve_toeplitz(correlation[:-1], correlation[1:])))
    assert predictor_of(correlation.tolist()) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("counts", [(160, 160), (1, 159, 7, 500), (40,) * 12, (0, 3)])
@pytest.mark.parametrize("poles", [(0.97, -0.95), (0.9,) * 3, (0.99j, -0.99j, 0.5), ()])
def test_blocks_of_any_length_are_the_same_as_sample_by_sample(counts, poles):
    random = np.random.default_rng(7)
    denominator = np.real(np.poly(poles)) if poles else np.ones(1)
    past = random.standard_normal(30)
    zi = lfiltic([1.0], denominator, past[::-1][: len(poles)]) if poles else None
    ours = AllPoleFilter(denominator, past)
    for count in counts:
        excitation = random.standard_normal(count)
        expected = excitation
        if poles and count:
            expected, zi = lfilter([1.0], denominator, excitation, zi=zi)
        assert ours.filter(excitation) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_edge_does_without_scipy():
    """There is one edge for every four calls, and scipy is 80 MB of it."""
    code = "import sys, voicebot.edge.main; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
