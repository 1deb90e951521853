"""What is wrong with a plan although every part of it is well formed.

Errors make a plan unusable or dangerous, warnings are probably not meant. ``check`` prints both.
"""

from pathlib import Path

from voicebot.dialogue.findings import Finding
from voicebot.dialogue.loader import read_dialplan
from voicebot.dialogue.part_checks import PartChecks


def check_dialplan(source: Path | str, *, file: str | None = None) -> list[Finding]:
    """Every mistake in the order of the file; empty for a good plan."""
    read = read_dialplan(source, file=file)
    findings = [Finding("error", p) for p in read.problems]
    if read.plan is not None and read.located is not None:
        findings += _Checker(read.plan.source, read.located).check()
    unique = {(f.error.line, f.error.column, f.error.message): f for f in findings}
    return sorted(unique.values(), key=lambda f: (f.error.line or 0, f.error.column or 0))


class _Checker(PartChecks):
    """Everything that is checked."""

    def check(self) -> list[Finding]:
        """Run every check."""
        self._check_reachable_flows()
        self._check_dead_steps()
        self._check_silent_loops()
        self._check_falling_off()
        self._check_menus()
        self._check_globals()
        self._check_dead_ends()
        self._check_names()
        self._check_secrets()
        self._check_requirements()
        self._check_tools()
        self._check_unused()
        self._check_hours()
        self._check_routes()
        self._check_queues()
        self._check_keys()
        self._check_voices()
        self._check_tests()
        return self._findings
