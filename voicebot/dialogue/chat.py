"""A telephone call typed in a terminal, whose turns can be taken back, changed and played again."""

import datetime as dt
from collections.abc import Sequence

from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.state import CallFacts
from voicebot.dialogue.text_call import TextCall

HELP = (
    "words: say them · #12 presses keys · empty line: silence · /undo · /edit N words · /list · /slots"
)


class Chat:
    """One typed call.

    Args:
        plan: The program; its fixtures answer the tools.
        called: Called number.
        now: Wall clock of the call.
        caller: Caller's number.
        trunk: Address that the call comes from.

    Raises:
        LookupError: No route for this number.
    """

    def __init__(
        self,
        plan: CompiledDialplan,
        called: str,
        now: dt.datetime,
        *,
        caller: str = "",
        trunk: str = "",
    ) -> None:
        self._plan = plan
        self._facts = CallFacts(session_id="chat", called=called, now=now, caller=caller, trunk=trunk)
        self._typed: list[str] = []
        self._call, self._script = self._play([])

    @property
    def over(self) -> bool:
        """Whether the call has ended or left the bot."""
        return bool(self._call.ended or self._call.transfers)

    def greeting(self) -> list[str]:
        """What the bot says first."""
        return self._script[:]

    def enter(self, line: str) -> list[str]:
        """One typed line; the lines to show."""
        command, _, rest = line.partition(" ")
        match command:
            case "/help":
                return [HELP]
            case "/list":
                return [f"{n} {t or '(silence)'}" for n, t in enumerate(self._typed, 1)] or [
                    "nothing yet"
                ]
            case "/slots":
                state = self._call.conversation.snapshot()
                return [f"{n} = {v!r}" for n, v in {**state["slots"], **state["variables"]}.items()]
            case "/undo":
                return self._replay(self._typed[:-1])
            case "/edit":
                number, _, words = rest.partition(" ")
                if not number.isdigit() or not 1 <= int(number) <= len(self._typed):
                    return ["/edit needs the number of a turn; /list shows them"]
                changed = [*self._typed]
                changed[int(number) - 1] = words
                return self._replay(changed)
            case _ if command.startswith("/"):
                return [f"no command {command}: {HELP}"]
        self._typed.append(line)
        return self._shown(_act(self._call, line))

    def hang_up(self) -> None:
        """The caller hangs up."""
        self._call.hang_up()

    def _replay(self, typed: Sequence[str]) -> list[str]:
        self._typed = list(typed)
        self._call, script = self._play(self._typed)
        return script

    def _play(self, typed: Sequence[str]) -> tuple[TextCall, list[str]]:
        call = TextCall(Conversation(self._plan, self._facts), FixtureTools(self._plan.source).run)
        self._call = call
        script = self._shown(call.start())
        for line in typed:
            if call.ended or call.transfers:
                break
            script.append(f"you> {line}")
            script += self._shown(_act(call, line))
        return call, script

    def _shown(self, heard: Sequence[str]) -> list[str]:
        lines = [f"bot> {text}" for text in heard]
        if self._call.transfers:
            transfer = self._call.transfers[-1]
            lines.append(f"[transfer to {transfer.uri}: {transfer.reason}]")
        elif self._call.ended:
            lines.append(f"[the bot hangs up: {self._call.ended}]")
        return lines


def _act(call: TextCall, line: str) -> list[str]:
    if not line:
        return call.wait()
    return call.press(line[1:]) if line.startswith("#") else call.say(line)
