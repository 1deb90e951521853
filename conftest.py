"""What all test suites share: order, a second try for tests on the real clock, how hypothesis looks."""

import hypothesis
import pytest

REAL_TIME_MARKERS = ("loopback", "peer")

# In `make test` the examples are the same each time and may take as long as a loaded machine needs;
# chance is for the long suite (make test-long), where a new finding stops nobody.
hypothesis.settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "chance", hypothesis.settings.get_profile("same"), derandomize=False
)
hypothesis.settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Calls in real time come first, and get a second try.

    They mostly wait, so two at once leave the cores idle enough; computing beside them would not. Such
    a call can still lose its core for a second on a shared machine: it is tried up to twice more (an R
    in the summary each time); tests of pure code never are.
    """
    real_time = [i for i in items if any(i.get_closest_marker(name) for name in REAL_TIME_MARKERS)]
    for item in real_time:
        item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))
    first = {item.path for item in real_time}
    items.sort(key=lambda item: item.path not in first)
