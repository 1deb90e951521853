"""What a call side that reports only marks has probably played by now.

The dialect does not say how far playing has come. Audio is played in order and in real time, so the
first byte of a piece leaves when it has arrived and everything before it has been played. Nor does it
know a pause: what was not played is thrown away at the call side, and sent again to go on.
"""

from dataclasses import dataclass, field

US_PER_SAMPLE = 125


@dataclass(slots=True)
class _Sent:
    audio: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[int, int]] = field(default_factory=list)  # begin and end, microseconds
    ended: bool = False

    def played_us(self, now_us: int) -> int:
        return sum(min(max(now_us - begin, 0), end - begin) for begin, end in self.pieces)

    @property
    def length_us(self) -> int:
        return len(self.audio) * US_PER_SAMPLE

    def stop(self, now_us: int) -> None:
        """Nothing after this moment is played."""
        self.pieces = [(begin, min(end, now_us)) for begin, end in self.pieces if begin < now_us]


@dataclass(frozen=True, slots=True)
class Unplayed:
    """What is left of an utterance."""

    utterance: str
    audio: bytes
    ended: bool


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
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether nothing is played until ``resume``."""
        return self._paused

    @property
    def done_us(self) -> int:
        """When all that was sent will have been played."""
        return self._free_us

    def add(self, utterance: str, audio: bytes, now_us: int) -> None:
        """Mu-law of an utterance was sent, or is kept back while it is paused."""
        sent = self._sent.setdefault(utterance, _Sent())
        sent.audio += audio
        if not self._paused:
            self._schedule(sent, len(audio), now_us)

    def _schedule(self, sent: _Sent, samples: int, now_us: int) -> None:
        begin_us = max(now_us, self._free_us)
        self._free_us = begin_us + samples * US_PER_SAMPLE
        if sent.pieces and sent.pieces[-1][1] == begin_us:
            begin_us = sent.pieces.pop()[0]
        sent.pieces.append((begin_us, self._free_us))

    def pause(self, now_us: int) -> None:
        """Playing stops here."""
        self._paused = True
        self._free_us = now_us
        for sent in self._sent.values():
            sent.stop(now_us)

    def resume(self, now_us: int) -> list[Unplayed]:
        """Playing goes on; returns what has to be sent again, in order."""
        self._paused = False
        self._free_us = now_us
        unplayed = []
        for utterance, sent in self._sent.items():
            rest = bytes(sent.audio[sent.played_us(now_us) // US_PER_SAMPLE :])
            if rest:
                self._schedule(sent, len(rest), now_us)
            unplayed.append(Unplayed(utterance, rest, sent.ended))
        return unplayed

    def end(self, utterance: str) -> None:
        """No more audio of it will come."""
        self._sent.setdefault(utterance, _Sent()).ended = True

    def playing(self, now_us: int) -> Progress | None:
        """The utterance that is being played."""
        if self._paused:
            return None
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
        if self._paused:
            return []
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
        self._paused = False
        return cleared

    @staticmethod
    def _progress(utterance: str, sent: _Sent, now_us: int) -> Progress:
        return Progress(utterance, sent.played_us(now_us) // 1000, sent.length_us // 1000)
