"""What all test suites share: a second try for tests on the real clock."""

import pytest

REAL_TIME_MARKERS = ("loopback", "peer")


def pytest_collection_modifyitems(items):
    """A call in real time can lose its core for a second on a shared machine.

    Such a test is tried up to twice more (an R in the summary each time); tests of pure code never are.
    """
    for item in items:
        if any(item.get_closest_marker(name) for name in REAL_TIME_MARKERS):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))
