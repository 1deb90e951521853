"""The command ``sip-test-harness``."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

# Each module adds its commands to the application.
from sip_test_harness.commands import call, network, people, qa, recognition, scenarios, suites
from sip_test_harness.commands.app import BAD_USAGE, FAILED, app
from sip_test_harness.errors import HarnessError, NetworkRefusedError, UsageError

__all__ = ["call", "main", "network", "people", "qa", "recognition", "scenarios", "suites"]


def main() -> None:
    """Run the command line; errors become one sentence and an exit code."""
    try:
        app()
    except (UsageError, NetworkRefusedError) as error:
        Console(stderr=True, soft_wrap=True).print(Text(f"error: {error}", style="bold red"))
        sys.exit(BAD_USAGE)
    except HarnessError as error:
        Console(stderr=True, soft_wrap=True).print(Text(f"failed: {error}", style="bold red"))
        sys.exit(FAILED)
