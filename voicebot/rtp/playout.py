"""What the bot is about to say, and exactly how much of it has gone out.

    enqueue ──► [segments, oldest first] ──next_frame──► 20 ms µ-law, or silence
                 PLAYING ──pause──► fade ──► PAUSED ──resume──► PLAYING
                 any ──clear──► fade-out tail, then whatever the new generation brings

A sample counts as played when it leaves in a frame. Nothing is skipped, repeated or estimated.
"""

from collections import deque
from typing import Final

import msgspec

from voicebot.rtp.companding import ULAW_SILENCE, fade_ulaw
from voicebot.rtp.packet import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ

_SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1000
_SILENT_FRAME: Final = bytes([ULAW_SILENCE]) * FRAME_SAMPLES
_FADE_IN_SAMPLES: Final = 5 * _SAMPLES_PER_MS
_MAX_UTTERANCES: Final = 256
"""Progress is kept for the newest ones; older finished ones are forgotten."""
_MAX_REPORTS: Final = 1024


class PlayoutFrame(msgspec.Struct, frozen=True, gc=False):
    """What goes out in one 20 ms tick.

    Attributes:
        payload: 160 bytes µ-law.
        silence: Nothing of an utterance is in it.
        utterance: Id of the utterance that the frame's first voiced sample belongs to, or None.
        position_samples: Position of the frame's first sample in the outgoing stream (all ticks).
        utterance_position_samples: Position of that utterance at the frame's start.
    """

    payload: bytes
    silence: bool
    utterance: str | None
    position_samples: int
    utterance_position_samples: int = 0


class Played(msgspec.Struct, frozen=True, gc=False):
    """Progress of one utterance, each 100 ms and at its end."""

    utterance: str
    played_ms: float
    finished: bool


class Cleared(msgspec.Struct, frozen=True, gc=False):
    """What a clear did to one utterance; its fade-out counts as played."""

    utterance: str
    played_ms: float
    dropped_ms: float


class _Segment:
    """Audio of one utterance and generation that waits."""

    __slots__ = ("data", "generation", "offset", "utterance")

    def __init__(self, generation: int, utterance: str, data: bytes) -> None:
        self.generation = generation
        self.utterance = utterance
        self.data = bytearray(data)
        self.offset = 0

    def __len__(self) -> int:
        return len(self.data) - self.offset


class _Progress:
    """How far one utterance is."""

    __slots__ = ("closed", "ended", "generation", "played", "queued", "reported")

    def __init__(self) -> None:
        self.generation = 0
        self.played = 0
        self.queued = 0
        self.reported = 0
        self.ended = False
        self.closed = False


class UtteranceState(msgspec.Struct, frozen=True, gc=False):
    """Where one utterance stands.

    Attributes:
        utterance: Its id.
        played_ms: How much of it has gone out.
        complete: All its audio is here; no more will come.
        finished: All of it has gone out.
        received_samples: All its audio so far: gone out or waiting.
    """

    utterance: str
    played_ms: float
    complete: bool
    finished: bool
    received_samples: int = 0


class PlayoutQueue:
    """The playout queue of one call leg: µ-law in messages of any length, 20 ms frames out.

    Args:
        max_queued_ms: Above it the oldest audio is dropped and counted.
        progress_interval_ms: How often :class:`Played` is reported.
    """

    def __init__(self, *, max_queued_ms: int = 60_000, progress_interval_ms: int = 100) -> None:
        if max_queued_ms < FRAME_MS or progress_interval_ms < FRAME_MS:
            raise ValueError("max_queued_ms and progress_interval_ms must be at least one frame")
        self._max_queued = max_queued_ms * _SAMPLES_PER_MS
        self._progress_interval = progress_interval_ms * _SAMPLES_PER_MS
        self._segments: deque[_Segment] = deque()
        self._queued = 0
        self._dropped = 0
        self._generation = 0
        self._utterances: dict[str, _Progress] = {}
        self._reports: deque[Played] = deque(maxlen=_MAX_REPORTS)
        self._position = 0
        self._paused = False
        self._ramp_position = 0
        self._ramp_length = 0
        self._fade_in_left = 0
        self._voiced = False
        self._tail = b""
        self._tail_utterance: str | None = None

    def enqueue(self, generation: int, utterance: str, payload: bytes) -> bool:
        """Append audio of an utterance; False when its generation was cleared already."""
        if generation < self._generation:
            self._dropped += len(payload)
            return False
        if not payload:
            self._progress(utterance)
            return True
        known = self._utterances.get(utterance)
        if known is not None and known.closed:
            del self._utterances[utterance]  # the name is used again, and its end will be waited for
        progress = self._progress(utterance)
        last = self._segments[-1] if self._segments else None
        if last and last.utterance == utterance and last.generation == generation:
            last.data += payload
        else:
            self._segments.append(_Segment(generation, utterance, payload))
        progress.generation = generation
        progress.queued += len(payload)
        self._queued += len(payload)
        if self._queued > self._max_queued:
            self._drop_oldest(self._queued - self._max_queued)
        return True

    def end_of_utterance(self, utterance: str) -> None:
        """No more audio comes for it: report ``finished`` once the last sample has gone out.

        An utterance of which nothing was ever enqueued is finished at once, with 0 ms played.
        """
        progress = self._progress(utterance)
        progress.ended = True
        self._close_if_done(utterance, progress)

    def pause(self, ramp_ms: int = 20) -> None:
        """Fade out over ``ramp_ms`` and keep the rest for :meth:`resume`."""
        if self._paused:
            return
        self._paused = True
        self._ramp_position = 0
        self._ramp_length = ramp_ms * _SAMPLES_PER_MS if self._voiced else 0

    def resume(self) -> None:
        """Go on with the first sample that has not gone out; none is skipped or repeated."""
        if self._paused:
            self._paused = False
            self._fade_in_left = _FADE_IN_SAMPLES if self._segments else 0

    def clear(self, generation: int, ramp_ms: int = 5) -> list[Cleared]:
        """Fade out over ``ramp_ms``, drop the rest, refuse lower generations from now on.

        Audio of ``generation`` or above that is queued already stays. Returns one entry per
        utterance that had audio waiting, in playing order, and for one that was begun and had run
        dry: what was heard of it matters just as much.
        """
        self._generation = max(self._generation, generation)
        waiting = {s.utterance for s in self._segments if s.generation < self._generation}
        begun = [
            utterance
            for utterance, progress in self._utterances.items()
            if utterance in waiting
            or (progress.played and not progress.closed and progress.generation < self._generation)
        ]
        self._cut_tail(ramp_ms)
        cleared = []
        for utterance in begun:
            progress = self._utterances[utterance]
            dropped = 0
            for segment in self._segments:
                if segment.utterance == utterance and segment.generation < self._generation:
                    dropped += len(segment)
            progress.queued -= dropped
            progress.closed = progress.closed or progress.queued == 0
            self._queued -= dropped
            self._dropped += dropped
            cleared.append(
                Cleared(utterance, progress.played / _SAMPLES_PER_MS, dropped / _SAMPLES_PER_MS)
            )
        self._segments = deque(s for s in self._segments if s.generation >= self._generation)
        self._paused = False
        self._fade_in_left = 0
        return cleared

    def next_frame(self) -> PlayoutFrame:
        """The frame of this tick; call it once per 20 ms."""
        position = self._position
        self._position += FRAME_SAMPLES
        utterance = None
        utterance_position = 0
        payload = b""
        if self._tail:
            payload = self._tail[:FRAME_SAMPLES]
            self._tail = self._tail[FRAME_SAMPLES:]
            utterance = self._tail_utterance
            if utterance is not None and utterance in self._utterances:
                left = len(payload) + len(self._tail)
                utterance_position = self._utterances[utterance].played - left
        wanted = FRAME_SAMPLES - len(payload)
        if self._paused:
            wanted = min(wanted, self._ramp_length - self._ramp_position)
        if wanted > 0 and self._segments:
            if utterance is None:
                utterance = self._segments[0].utterance
                utterance_position = self._utterances[utterance].played
            payload += self._shape(self._take(wanted))
        self._voiced = len(payload) == FRAME_SAMPLES and not self._paused
        if not payload:
            return PlayoutFrame(_SILENT_FRAME, True, None, position)
        if len(payload) < FRAME_SAMPLES:
            payload += _SILENT_FRAME[len(payload) :]
        return PlayoutFrame(payload, False, utterance, position, utterance_position)

    def take_played(self) -> list[Played]:
        """Progress since the last call, oldest first."""
        reports = list(self._reports)
        self._reports.clear()
        return reports

    @property
    def queued_ms(self) -> float:
        """Audio that waits, without what has gone out."""
        return self._queued / _SAMPLES_PER_MS

    @property
    def paused(self) -> bool:
        """Whether playout is paused."""
        return self._paused

    @property
    def dropped_ms(self) -> float:
        """Audio dropped because the queue was full or its generation cleared."""
        return self._dropped / _SAMPLES_PER_MS

    @property
    def position_samples(self) -> int:
        """Position of the next frame in the outgoing stream."""
        return self._position

    def played_ms(self, utterance: str) -> float:
        """How much of an utterance has gone out; 0 for an unknown one."""
        progress = self._utterances.get(utterance)
        return progress.played / _SAMPLES_PER_MS if progress else 0.0

    def utterances(self) -> list[UtteranceState]:
        """The utterances that are remembered, in the order of their first audio."""
        return [
            UtteranceState(
                name, p.played / _SAMPLES_PER_MS, p.ended, p.closed, received_samples=p.played + p.queued
            )
            for name, p in self._utterances.items()
        ]

    def _progress(self, utterance: str) -> _Progress:
        progress = self._utterances.get(utterance)
        if progress is None:
            if len(self._utterances) >= _MAX_UTTERANCES:
                self._forget_one()
            progress = self._utterances[utterance] = _Progress()
        return progress

    def _forget_one(self) -> None:
        for name, progress in self._utterances.items():
            if progress.queued == 0:
                del self._utterances[name]
                return

    def _take(self, count: int) -> bytes:
        """Up to ``count`` samples off the front; they count as played."""
        taken = b""
        while count and self._segments:
            segment = self._segments[0]
            part = bytes(segment.data[segment.offset : segment.offset + count])
            segment.offset += len(part)
            count -= len(part)
            taken += part
            if not len(segment):
                self._segments.popleft()
            elif segment.offset > 4 * SAMPLE_RATE_HZ:
                del segment.data[: segment.offset]
                segment.offset = 0
            self._queued -= len(part)
            progress = self._utterances[segment.utterance]
            progress.queued -= len(part)
            progress.played += len(part)
            if progress.played - progress.reported >= self._progress_interval:
                progress.reported = progress.played // self._progress_interval
                progress.reported *= self._progress_interval
                self._report(segment.utterance, progress, finished=False)
            self._close_if_done(segment.utterance, progress)
        return taken

    def _shape(self, taken: bytes) -> bytes:
        if self._paused:
            start = self._ramp_position
            self._ramp_position += len(taken)
            return fade_ulaw(taken, start, self._ramp_length)
        if self._fade_in_left:
            start = _FADE_IN_SAMPLES - self._fade_in_left
            self._fade_in_left = max(0, self._fade_in_left - len(taken))
            return fade_ulaw(taken, start, _FADE_IN_SAMPLES, rising=True)
        return taken

    def _cut_tail(self, ramp_ms: int) -> None:
        """Take the fade-out off the queue if it is sounding: a hard edge would click."""
        if not self._segments or self._segments[0].generation >= self._generation:
            return
        if self._paused:
            length = self._ramp_length - self._ramp_position
        else:
            length = ramp_ms * _SAMPLES_PER_MS if self._voiced else 0
        if length <= 0:
            return
        old = sum(len(s) for s in self._segments if s.generation < self._generation)
        self._tail_utterance = self._segments[0].utterance
        taken = self._take(min(length, old))
        if self._paused:
            self._tail = fade_ulaw(taken, self._ramp_position, self._ramp_length)
        else:
            self._tail = fade_ulaw(taken, 0, len(taken))

    def _drop_oldest(self, count: int) -> None:
        self._dropped += count
        self._queued -= count
        while count:
            segment = self._segments[0]
            part = min(count, len(segment))
            segment.offset += part
            count -= part
            progress = self._utterances[segment.utterance]
            progress.queued -= part
            if not len(segment):
                self._segments.popleft()
                self._close_if_done(segment.utterance, progress)
            else:
                del segment.data[: segment.offset]
                segment.offset = 0

    def _close_if_done(self, utterance: str, progress: _Progress) -> None:
        if progress.ended and not progress.closed and progress.queued == 0:
            progress.closed = True
            self._report(utterance, progress, finished=True)

    def _report(self, utterance: str, progress: _Progress, *, finished: bool) -> None:
        self._reports.append(Played(utterance, progress.played / _SAMPLES_PER_MS, finished))
