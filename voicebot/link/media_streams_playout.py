"""What a call side that reports only marks has probably played by now.

The dialect does not say how far playing has come. Audio is played in order and in real time, so the
first byte of a piece leaves when it has arrived and everything before it has been played.
"""

from dataclasses import dataclass, field

US_PER_SAMPLE = 125


@dataclass(slots=True)
class _Sent:
    pieces: list[tuple[int, int]] = field(default_factory=list)  # begin and end, microseconds
    ended: bool = False

    def played_us(self, now_us: int) -> int:
        return sum(min(max(now_us - begin, 0), end - begin) for begin, end in self.pieces)

    @property
    def length_us(self) -> int:
        return sum(end - begin for begin, end in self.pieces)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one utterance has come."""

    utterance: str
    played_ms: int
    length_ms: int


class PlayoutEstimate:
    """Follows what was sent; ``now_us`` is a monotonic clock."""

    def __init__(self) -> None:
        self._sent: dict[str, _Sent] = {}
        self._free_us = 0

    @property
    def done_us(self) -> int:
        """When all that was sent will have been played."""
        return self._free_us

    def add(self, utterance: str, samples: int, now_us: int) -> None:
        """Audio of an utterance was sent."""
        sent = self._sent.setdefault(utterance, _Sent())
        begin_us = max(now_us, self._free_us)
        self._free_us = begin_us + samples * US_PER_SAMPLE
        if sent.pieces and sent.pieces[-1][1] == begin_us:
            begin_us = sent.pieces.pop()[0]
        sent.pieces.append((begin_us, self._free_us))

    def end(self, utterance: str) -> None:
        """No more audio of it will come."""
        self._sent.setdefault(utterance, _Sent()).ended = True

    def playing(self, now_us: int) -> Progress | None:
        """The utterance that is being played."""
        for utterance, sent in self._sent.items():
            if sent.played_us(now_us) < sent.length_us:
                return self._progress(utterance, sent, now_us)
        return None

    def finish(self, utterance: str) -> Progress | None:
        """Its mark came back: all of it was played. None when it is not known (cleared meanwhile)."""
        sent = self._sent.pop(utterance, None)
        if sent is None:
            return None
        return Progress(utterance, sent.length_us // 1000, sent.length_us // 1000)

    def overdue(self, now_us: int, grace_us: int) -> list[str]:
        """Ended utterances whose mark should have come back by now."""
        return [
            utterance
            for utterance, sent in self._sent.items()
            if sent.ended and now_us > (sent.pieces[-1][1] if sent.pieces else 0) + grace_us
        ]

    def clear(self, now_us: int) -> list[Progress]:
        """All is thrown away; returns how far each utterance had come."""
        cleared = [self._progress(name, sent, now_us) for name, sent in self._sent.items()]
        self._sent.clear()
        self._free_us = now_us
        return cleared

    @staticmethod
    def _progress(utterance: str, sent: _Sent, now_us: int) -> Progress:
        return Progress(utterance, sent.played_us(now_us) // 1000, sent.length_us // 1000)
