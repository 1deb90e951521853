"""How a caller speaks, besides what is said: in a hurry, hesitating, or louder than before.

    words of the turn ─► urgent words, hesitation words ─┐
                                                         ├─► Manner, for priority, wording and speed
    level of the turn ─► against this caller's earlier turns ┘

No guess about feelings: three plain facts that a dialplan may act on.
"""

from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Final

import msgspec

from voicebot.config.settings import TurnSettings

_TURNS_KEPT: Final = 8
_HESITATING: Final = frozenset(["um", "uh", "er", "erm", "hmm", "hm"])


class Manner(msgspec.Struct, frozen=True):
    """Of one turn.

    Attributes:
        urgent: A word that cannot wait was said.
        hesitant: A good part of the words were hesitation.
        loud: Much louder than this caller's turns before, or as loud as the line can be.
    """

    urgent: bool = False
    hesitant: bool = False
    loud: bool = False


CALM: Final = Manner()


class CallerManner:
    """Listens to one caller's turns.

    Args:
        settings: Words and thresholds.
    """

    def __init__(self, settings: TurnSettings) -> None:
        self._settings = settings
        self._urgent = tuple(tuple(phrase.split()) for phrase in settings.urgent_phrases)
        self._levels_dbov: deque[float] = deque(maxlen=_TURNS_KEPT)

    def of(self, text: str, level_dbov: float | None) -> Manner:
        """The manner of a turn, which is not remembered by this.

        Args:
            text: Its words, lower case.
            level_dbov: Mean level of its voice; None when nothing was measured.
        """
        words = text.split()
        hesitations = sum(word in _HESITATING for word in words)
        share = hesitations / len(words) if words else 0.0
        return Manner(
            urgent=any(phrase in _phrases(words, len(phrase)) for phrase in self._urgent),
            hesitant=hesitations > 0 and share >= self._settings.hesitant_share,
            loud=level_dbov is not None and self._is_loud(level_dbov),
        )

    def ended(self, level_dbov: float | None) -> None:
        """A turn is over; its level counts for the next ones."""
        if level_dbov is not None:
            self._levels_dbov.append(level_dbov)

    @property
    def typical_dbov(self) -> float | None:
        """Median level of the caller's turns so far; None before the first."""
        return median(self._levels_dbov) if self._levels_dbov else None

    def _is_loud(self, level_dbov: float) -> bool:
        settings = self._settings
        if level_dbov >= settings.shout_dbov:
            return True
        if not self._levels_dbov:
            return False
        return level_dbov >= median(self._levels_dbov) + settings.shout_above_own_db


def _phrases(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words) - length + 1))
