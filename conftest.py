"""What all test suites share: a second try for tests on the real clock."""

import pytest

REAL_TIME_MARKERS = ("loopback", "peer")


def pytest_collection_modifyitems(items):
    """A call in real time can lose its core for a second on a shared machine.

    Such a test is tried once more (the summary shows an R for it); tests of pure code never are.
    """
    for item in items:
        if any(item.get_closest_marker(name) for name in REAL_TIME_MARKERS):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
