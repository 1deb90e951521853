"""Breaks a bot that runs: Python imports this file at the start of each process that finds it on its path.

``QA_BREAKAGE`` names the breakage. It takes place right after the module it changes has been loaded, so
that a process which never loads that module stays as it was.
"""

import importlib.machinery
import os
import sys

AFTER = {
    "jitter_buffer_off": "voicebot.edge.receive_path",
    "concealment_off": "voicebot.audio.concealment",
    "late_voices": "voicebot.worker.speaking",
}


class Breaker:
    """Finds the one module, has it loaded as ever, and breaks it."""

    def __init__(self, breakage):
        self._breakage = breakage

    def find_spec(self, name, path=None, target=None):
        if name != AFTER[self._breakage]:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_break(module):
            execute(module)
            from tests.qa import breakages

            getattr(breakages, self._breakage)()

        spec.loader.exec_module = execute_and_break
        return spec


if os.environ.get("QA_BREAKAGE"):
    sys.meta_path.insert(0, Breaker(os.environ["QA_BREAKAGE"]))
