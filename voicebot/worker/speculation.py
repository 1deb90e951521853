"""Working ahead: at a likely end of turn the answer is prepared, and held until the turn is committed.

    partial, then silence ─► a twin of the dialogue hears it ─► its first words are rendered (cache)
                                                            └─► its question to the router is asked
    commit, same text ─► hit: the answer is there          other text ─► waste, forgotten

A twin decides without being asked to do anything: no turn is stored, no tool runs, nothing is said
before the commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from voicebot.dialogue.actions import Action, AskRouter, CallTool, Speak, TransferCall
from voicebot.worker.effects import AskAhead, Effect, RenderAhead


@dataclass(slots=True)
class SpeculationCounts:
    """Since the start of the call."""

    launches: int = 0
    hits: int = 0
    turns: int = 0


class Speculator:
    """Decides when to work ahead; one per call.

    Args:
        max_launches: Per turn.
    """

    def __init__(self, max_launches: int) -> None:
        self._max_launches = max_launches
        self._texts: list[str] = []
        self.counts = SpeculationCounts()

    def wants(self, text: str) -> bool:
        """Whether an answer to this text is worth preparing now."""
        new = bool(text) and text not in self._texts
        return new and len(self._texts) < self._max_launches

    def launch(self, text: str, actions: Iterable[Action]) -> list[Effect]:
        """Prepare what a twin of the dialogue would do: its first words, or what it would ask."""
        self._texts.append(text)
        self.counts.launches += 1
        effects: list[Effect] = []
        for action in actions:
            if isinstance(action, Speak):
                effects.append(RenderAhead(action.text, action.delivery))
            elif isinstance(action, AskRouter):
                effects.append(AskAhead(action))
            if isinstance(action, AskRouter | CallTool | TransferCall):
                break  # what follows depends on an answer that nobody has
        return effects

    def committed(self, text: str) -> str:
        """The turn is over with this text: ``hit``, ``miss``, or ``none`` when nothing was prepared."""
        launched, self._texts = self._texts, []
        self.counts.turns += 1
        if not launched:
            return "none"
        self.counts.hits += text in launched
        return "hit" if text in launched else "miss"

    def dropped(self) -> None:
        """The turn did not count."""
        self._texts = []
