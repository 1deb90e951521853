"""Taking back a turn that was committed too early.

A caller who goes on speaking before the answer has really been heard had not finished: the answer is
dropped, the dialogue goes back to where it stood, and the two parts are one turn. That is impossible
once something was done outside (a tool, a transfer): then the second part is a turn of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from voicebot.dialogue.actions import Listen

DialogueT = TypeVar("DialogueT")


@dataclass(frozen=True, slots=True)
class CommittedTurn(Generic[DialogueT]):
    """Where the call stood before a commit. ``dialogue`` is a twin from before it."""

    dialogue: DialogueT
    text: str
    listen: Listen
    timers_ms: Mapping[str, float]
    until_ms: float


class TurnMerge(Generic[DialogueT]):
    """Remembers the last commit for as long as it can be taken back.

    Args:
        window_ms: Speech so soon after the commit takes it back.
        heard_ms: With more of the answer heard the caller reacts to it.
    """

    def __init__(self, window_ms: int, heard_ms: int) -> None:
        self._window_ms = window_ms
        self._heard_ms = heard_ms
        self._last: CommittedTurn[DialogueT] | None = None
        self._prefix = ""
        self.cut_offs = 0

    def committed(
        self,
        dialogue: DialogueT,
        text: str,
        listen: Listen | None,
        timers_ms: Mapping[str, float],
        now_ms: float,
    ) -> None:
        """A turn with words was committed; ``dialogue`` is how it was before."""
        self._last = None
        if listen is not None and text:
            until_ms = now_ms + self._window_ms
            self._last = CommittedTurn(dialogue, text, listen, dict(timers_ms), until_ms)

    def acted(self) -> None:
        """Something was done that cannot be undone, or a key was pressed instead of going on."""
        self._last = None
        self._prefix = ""

    def goes_on(self, text: str) -> None:
        """The caller speaks again while the recogniser still works on this: both are one turn."""
        self._prefix = f"{self._prefix} {text}".strip()

    def take_back(self, now_ms: float, heard_ms: int) -> CommittedTurn[DialogueT] | None:
        """The caller speaks again: the commit to undo, or None when it stands.

        Args:
            now_ms: The time.
            heard_ms: How much of the answer has been heard.
        """
        last, self._last = self._last, None
        if last is None or now_ms > last.until_ms or heard_ms > self._heard_ms:
            return None
        self.cut_offs += 1
        self._prefix = last.text
        return last

    def joined(self, text: str) -> str:
        """The words of the turn with those that were committed too early before them."""
        prefix, self._prefix = self._prefix, ""
        return f"{prefix} {text}".strip()
