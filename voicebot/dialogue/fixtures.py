"""Sample answers for tools that have no server: a table in the dialplan, nothing outside."""

from collections.abc import Mapping

from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.events import JsonValue, ToolFinished
from voicebot.dialogue.model import Dialplan


class FixtureTools:
    """Answers ``CallTool`` out of the plan's ``fixtures``."""

    def __init__(self, plan: Dialplan) -> None:
        self._plan = plan

    def knows(self, tool: str) -> bool:
        """Whether ``tool`` is answered by a fixture (and not by a server)."""
        return tool in self._plan.tools and self._plan.tools[tool].fixture is not None

    def run(self, call: CallTool) -> ToolFinished:
        """The first row whose ``when`` fits; without any, the tool says ``denied``."""
        fixture = self._plan.tools[call.tool].fixture
        for row in self._plan.fixtures.get(fixture or "", []):
            if _fits(row.when, call.arguments):
                return ToolFinished(request=call.request, outcome=row.outcome, values=dict(row.values))
        return ToolFinished(request=call.request, outcome="denied")


def _fits(when: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> bool:
    return all(arguments.get(name) == value for name, value in when.items())
