"""Confidence intervals of measured shares."""

import math


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share, in percent."""
    if count == 0:
        return 0.0, 100.0
    z, share = 1.96, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
