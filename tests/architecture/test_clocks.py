"""Time of day is for people; whatever waits or measures uses the monotonic clock."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WALL_CLOCK = re.compile(
    r"\btime\.time(?:_ns)?\b|datetime\.now\b|\bdatetime\.datetime\.now\b|\bdt\.datetime\.now\b"
)
# Times of day that are shown, stored, signed or compared with other times of day: none of them is waited for.
SHOWN = {
    "voicebot/console": "sessions and bans of people, the audit log",
    "voicebot/handoff": "the queue's record, signatures, tokens",
    "voicebot/session": "records and their age",
    "voicebot/supervise/records.py": "the record of a call whose edge died",
    "voicebot/worker/journal.py": "the call record",
    "voicebot/worker/call_traces.py": "spans are compared with those of other machines",
    "voicebot/worker/call_watch.py": "signatures of webhooks",
    "voicebot/worker/callback_caller.py": "when a call back is due, as its record has it",
    "voicebot/worker/plan_shelf.py": "opening hours of the dialplan",
    "voicebot/dialogue": "opening hours, dates that callers name",
    "voicebot/edge/call_leg.py": "the recording's date",
    "voicebot/edge/media_session.py": "NTP time in RTCP, by definition wall-clock time",
    "voicebot/support_bundle.py": "the name of the bundle",
}


def test_timers_use_the_monotonic_clock_only():
    """A jump of the wall clock by an hour fires no timer: nothing that waits reads it."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "voicebot").rglob("*.py")
        if WALL_CLOCK.search(path.read_text())
    }
    assert {user for user in users if not any(user.startswith(known) for known in SHOWN)} == set()


def test_no_reliability_line_names_a_test_that_does_not_exist():
    """docs/reliability.md: every path::name is there."""
    page = (ROOT / "docs/reliability.md").read_text()
    named = re.findall(r"`((?:tests|sip-test-harness)/[\w/.-]+\.py)::(\w+)`", page)
    assert len(named) >= 37
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert not missing
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert numbers == list(range(1, 38))
