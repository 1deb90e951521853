"""Offline replay: how much faster than real time one core goes, with fake engines and with the real ones.

    python -m tests.bench.offline [--calls 8]

CPU time of the bot and of the harness together: they take turns, so that one sweep keeps one core busy.
Start-up (models, voices) is left out, as a sweep pays for it once; the first call warms both up.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from sip_test_harness.offline_bot import OfflineBot
from sip_test_harness.offline_sweep import OfflinePlan, offline_row
from sip_test_harness.suite import read_suite
from tests.bench.rows import machine, row, write
from tests.loopback.bot_program import ROOT

FAKES = {
    "VOICEBOT_ASR__ENGINE": "fake",
    "VOICEBOT_ASR__FAKE_SCRIPT": "balance@1400",
    "VOICEBOT_TTS__ENGINE": "tone",
}
COMMAND = f"{shlex.quote(sys.executable)} -m voicebot.cli offline"


def cpu_s(pid):
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(calls):
    """Seconds of calls, seconds of CPU, seconds on the wall, and whether two runs were equal."""
    suite = read_suite(ROOT / "dialplans/qa/bank.yaml")
    plan = OfflinePlan(COMMAND, suite.target, suite.at)
    jobs = (suite.jobs() * calls)[:calls]
    with OfflineBot(COMMAND) as bot:
        first = [offline_row(bot, plan, job) for job in jobs[:3]]
        before_s, own_s, wall_s = cpu_s(bot.pid), time.process_time(), time.monotonic()
        rows = [offline_row(bot, plan, job) for job in jobs]
        spent_s = cpu_s(bot.pid) - before_s + time.process_time() - own_s
        return (
            sum(r.duration_ms for r in rows) / 1000,
            spent_s,
            time.monotonic() - wall_s,
            first == rows[:3],
        )


def rows_of(name, calls, limit):
    """Figures of one kind of engines."""
    call_s, spent_s, wall_s, equal = measured(calls)
    factor = call_s / spent_s
    return [
        row(
            f"offline, {name}: times real time per core",
            round(factor, 1),
            "x",
            limit=f">= {limit}",
            ok=factor >= limit,
            note=f"{call_s:.0f} s of calls, {spent_s:.1f} s of CPU, {wall_s:.1f} s on the wall",
        ),
        row(f"offline, {name}: the same calls again are equal", int(equal), "", limit="1", ok=equal),
    ]


def main():
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=8)
    calls = parser.parse_args().calls
    rows = [row("machine", machine(), "")]
    os.environ |= FAKES
    rows += rows_of("fake engines", calls, 20)
    for name in FAKES:
        del os.environ[name]
    rows += rows_of("real engines", calls, 3)
    write("offline", rows)


if __name__ == "__main__":
    main()
