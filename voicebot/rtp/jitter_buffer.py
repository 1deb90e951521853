"""The adaptive jitter buffer: packets in any order in, 20 ms frames in order out.

    insert ─► MediaTimeline (position) ─► DelayEstimator (target) ─► cells of 20 ms ─► read

A cell is *due* at its media time plus the target delay. Reading it:

    cell complete       paced: when due        eager: at once
    cell missing, later audio here, no sequence number missing      DTX, nothing to wait for
    cell missing, later audio here, sequence numbers missing        LOST when due
    nothing here at all                        paced: when due  eager: after a grace time; the first
                                               three LOST if speech broke off, then DTX

Raising the delay leaves a pause before the next frame; lowering it brings quiet frames closer
together, and one quiet frame in each 20 ms gained is left out (``accelerated_frames``).
"""

from collections import OrderedDict, deque
from typing import Final

from voicebot.rtp.companding import is_quiet
from voicebot.rtp.delay_estimator import DelayEstimator
from voicebot.rtp.frame_cells import Cell, FrameCells
from voicebot.rtp.jitter_frames import (
    FrameKind,
    InsertResult,
    JitterBufferStats,
    JitterFrame,
    ReadMode,
)
from voicebot.rtp.packet import (
    COMFORT_NOISE,
    FRAME_MS,
    FRAME_SAMPLES,
    FRAME_US,
    PCMA,
    PCMU,
    RtpPacket,
)
from voicebot.rtp.timeline import MediaTimeline

__all__ = [
    "FrameKind",
    "InsertResult",
    "JitterBuffer",
    "JitterBufferStats",
    "JitterFrame",
    "ReadMode",
]

_MAX_PAYLOAD_BYTES: Final = 800
"""100 ms of G.711."""
_SEEN: Final = 1024
_STALL_GRACE_US: Final = 200_000
"""Eager: a stall of the network shorter than this loses nothing, for nobody hears the wait."""
_DTX_GRACE_US: Final = 60_000
"""The same for a sender known to pause: then silence is the likelier cause."""
_UNDERRUN_LOST_FRAMES: Final = 3
_LOUD_PATIENCE_FRAMES: Final = 75
"""A delay that should fall by a frame waits 1.5 s for a quiet frame to leave out …"""
_LOUD_INTERVAL_FRAMES: Final = 10
"""… and then leaves out a loud one in each ten."""


class JitterBuffer:
    """One receive stream of G.711 and comfort noise. See the module's picture.

    Args:
        mode: How it is read; a leg that is heard by two kinds of readers has two buffers.
        telephone_event_payload_type: As agreed in the SDP.
        initial_delay_ms: Playout delay until the first packets have taught a better one.
        max_delay_ms: Bound of the adaptive delay.
        capacity_ms: Audio held at most; above it the oldest is dropped.
    """

    def __init__(
        self,
        mode: ReadMode = ReadMode.EAGER,
        *,
        telephone_event_payload_type: int | None = 101,
        initial_delay_ms: int = 40,
        max_delay_ms: int = 400,
        capacity_ms: int = 1000,
    ) -> None:
        self._eager = mode is ReadMode.EAGER
        self._event_payload_type = telephone_event_payload_type
        self._max_delay_us = max_delay_ms * 1000
        self._capacity_cells = capacity_ms // FRAME_MS
        self._timeline = MediaTimeline(max_late_us=max_delay_ms * 1000)
        self._estimator = DelayEstimator(
            initial_delay_us=initial_delay_ms * 1000, max_delay_us=max_delay_ms * 1000
        )
        self._cells = FrameCells()
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._events: deque[tuple[int, int]] = deque(maxlen=256)
        self._started = False
        self._released = False
        self._next_cell = 0
        self._delay_us = 0
        self._slip_us = 0
        self._loud_frames = 0
        self._last_epoch = 0
        self._last_sequence = 0
        self._newest = (0, 0)
        self._last_timestamp = 0
        self._last_kind = FrameKind.DTX
        self._last_payload: bytes = b""
        self._payload_type = PCMU
        self._packet_cells = 1.0
        self._gap_lost_frames = 0
        self._underrun_frames = 0
        self._sender_pauses = False
        self._in_noise = False
        self._between_audio = False
        self._accepted = 0
        self._duplicate = 0
        self._late = 0
        self._overflow = 0
        self._resynced = 0
        self._lost_frames = 0
        self._dtx_frames = 0
        self._accelerated_frames = 0

    def insert(self, packet: RtpPacket, arrival_us: int) -> InsertResult:
        """Take one accepted packet; follow it with :meth:`read` in eager mode."""
        payload_type = packet.payload_type
        size = len(packet.payload)
        if payload_type == COMFORT_NOISE:
            duration = 0
        elif payload_type in (PCMU, PCMA) and 0 < size <= _MAX_PAYLOAD_BYTES:
            duration = size
        else:
            self._note_sequence(packet)
            is_event = payload_type == self._event_payload_type
            return InsertResult.NOT_AUDIO if is_event else InsertResult.UNUSABLE
        estimator = self._estimator
        placement = self._timeline.place(
            packet,
            duration,
            arrival_us,
            fastest_us=estimator.fastest_us,
            median_us=estimator.median_us,
        )
        if placement is None:
            return InsertResult.UNCONFIRMED
        key = (placement.epoch, placement.sequence)
        if key in self._seen:
            self._duplicate += 1
            return InsertResult.DUPLICATE
        self._seen[key] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)

        position = placement.position
        first_cell = position // FRAME_SAMPLES
        last_cell = (position + max(duration, 1) - 1) // FRAME_SAMPLES
        target_us = estimator.add(arrival_us - first_cell * FRAME_US, arrival_us)
        if not self._started:
            self._started = True
            self._next_cell = first_cell
            self._delay_us = target_us
            self._last_epoch = placement.epoch
            self._last_sequence = placement.sequence - 1
        elif self._eager:
            self._delay_us = target_us
        elif target_us > self._delay_us:
            # Each full frame of a rise has shown itself as a pause, and is not owed any more.
            self._slip_us = (self._slip_us + self._delay_us - target_us) % FRAME_US
            self._delay_us = target_us
        self._delay_us = min(self._delay_us, estimator.fastest_us + self._max_delay_us)
        if not self._released and first_cell < self._next_cell:
            # Overtaken at the very start: nothing has been read yet, so begin earlier.
            self._next_cell = first_cell
            self._last_sequence = min(self._last_sequence, placement.sequence - 1)
        if last_cell < self._next_cell:
            self._late += 1
            return InsertResult.LATE
        self._between_audio = False
        if not duration:
            self._sender_pauses = True
        else:
            self._payload_type = payload_type
            self._packet_cells = max(1.0, duration / FRAME_SAMPLES)
        if not self._cells.store(packet, placement, arrival_us, from_cell=self._next_cell):
            self._duplicate += 1
            return InsertResult.DUPLICATE
        self._newest = max(self._newest, key)
        self._accepted += 1
        if placement.resynced:
            self._resynced += 1
        if len(self._cells) > self._capacity_cells:
            self._drop_oldest()
            return InsertResult.OVERFLOW
        return InsertResult.RESYNCED if placement.resynced else InsertResult.ACCEPTED

    def read(self, now_us: int) -> list[JitterFrame]:
        """All frames that may leave at ``now_us``, in order; call it each tick and after an insert.

        A reader that stayed away gets at most ``capacity_ms`` of silence at once.
        """
        frames: list[JitterFrame] = []
        if not self._started:
            return frames
        while True:
            due_us = self._next_cell * FRAME_US + self._delay_us
            cell = self._cells.get(self._next_cell)
            if cell is not None and cell.filled >= FRAME_SAMPLES and self._eager:
                frames.append(self._release(cell, now_us))
                continue
            if cell is not None:
                if due_us > now_us:
                    return frames
                if not self._accelerate(cell.kind, bytes(cell.payload)):
                    frames.append(self._release(cell, now_us if self._eager else due_us))
                continue
            following = self._cells.first
            behind = None if following is None else self._cells.get(following)
            if behind is None:
                if due_us + self._grace_us() > now_us:
                    return frames
                kind = self._underrun_kind()
            else:
                kind = self._gap_kind(behind)
                if due_us > now_us and not (self._eager and kind is FrameKind.DTX):
                    return frames
            excess = self._excess_cells(kind, following, due_us, now_us)
            if excess > 0:
                self._next_cell += excess
                self._last_timestamp += excess * FRAME_SAMPLES
                continue
            if kind is FrameKind.LOST or not self._accelerate(kind, b""):
                frames.append(self._conceal(kind, now_us if self._eager else due_us))

    @property
    def next_due_us(self) -> int | None:
        """When :meth:`read` will next return a frame if nothing arrives; None when not started."""
        if not self._started:
            return None
        due_us = self._next_cell * FRAME_US + self._delay_us
        return due_us if self._cells else due_us + self._grace_us()

    @property
    def target_delay_ms(self) -> float:
        """Present playout delay above the fastest recent packet."""
        return (self._delay_us - self._estimator.fastest_us) / 1000 if self._started else 0.0

    @property
    def buffered_ms(self) -> int:
        """Audio that waits."""
        return len(self._cells) * FRAME_MS

    def stats(self) -> JitterBufferStats:
        """The counters as they stand."""
        return JitterBufferStats(
            accepted=self._accepted,
            duplicate=self._duplicate,
            late=self._late,
            overflow=self._overflow,
            resynced=self._resynced,
            lost_frames=self._lost_frames,
            dtx_frames=self._dtx_frames,
            accelerated_frames=self._accelerated_frames,
            target_delay_ms=self.target_delay_ms,
            buffered_ms=self.buffered_ms,
        )

    def _note_sequence(self, packet: RtpPacket) -> None:
        """Its sequence number is taken by something else than audio: that is no loss."""
        known = self._timeline.extended_sequence(packet)
        if known is not None and known not in self._events:
            self._events.append(known)
            self._between_audio = known > self._newest

    def _release(self, cell: Cell, release_us: int) -> JitterFrame:
        index = self._next_cell
        self._cells.pop(index)
        payload = bytes(cell.payload)
        if cell.kind is FrameKind.SPEECH and self._last_kind is FrameKind.DTX and self._released:
            self._note_pause(cell)
        frame = JitterFrame(
            cell.kind,
            cell.timestamp,
            index * FRAME_SAMPLES,
            payload,
            cell.payload_type,
            cell.arrival_us,
            self._added_delay_ms(index, release_us),
            max(0, FRAME_SAMPLES - cell.filled),
        )
        self._last_epoch = cell.epoch
        self._last_sequence = cell.sequence
        self._last_timestamp = cell.timestamp
        self._last_payload = payload
        self._in_noise = cell.kind is FrameKind.COMFORT_NOISE
        self._gap_lost_frames = 0
        self._underrun_frames = 0
        self._went_out(cell.kind)
        return frame

    def _conceal(self, kind: FrameKind, release_us: int) -> JitterFrame:
        index = self._next_cell
        self._last_timestamp += FRAME_SAMPLES
        if kind is FrameKind.LOST:
            self._lost_frames += 1
            self._gap_lost_frames += 1
        else:
            self._dtx_frames += 1
        if not self._cells:
            self._underrun_frames += 1
        frame = JitterFrame(
            kind,
            self._last_timestamp,
            index * FRAME_SAMPLES,
            b"",
            self._payload_type,
            release_us,
            self._added_delay_ms(index, release_us),
        )
        self._went_out(kind)
        return frame

    def _went_out(self, kind: FrameKind) -> None:
        self._next_cell += 1
        self._released = True
        self._last_kind = kind

    def _added_delay_ms(self, index: int, release_us: int) -> float:
        return max(0, release_us - index * FRAME_US - self._estimator.fastest_us) / 1000

    def _grace_us(self) -> int:
        if not self._eager or self._in_noise or self._between_audio:
            return 0
        return _DTX_GRACE_US if self._sender_pauses else _STALL_GRACE_US

    def _underrun_kind(self) -> FrameKind:
        broke_off = (
            not self._sender_pauses
            and not self._between_audio
            and self._underrun_frames < _UNDERRUN_LOST_FRAMES
            and not is_quiet(self._last_payload, self._payload_type)
        )
        return FrameKind.LOST if broke_off else FrameKind.DTX

    def _missing_packets(self, cell: Cell) -> int:
        """Audio packets between the last released one and the one of ``cell`` that never came."""
        if cell.epoch != self._last_epoch:
            return 0
        events = sum(
            epoch == cell.epoch and self._last_sequence < sequence < cell.sequence
            for epoch, sequence in self._events
        )
        return cell.sequence - self._last_sequence - 1 - events

    def _gap_kind(self, cell: Cell) -> FrameKind:
        missing = self._missing_packets(cell)
        if missing > 0 and self._gap_lost_frames < missing * self._packet_cells:
            return FrameKind.LOST
        return FrameKind.DTX

    def _note_pause(self, cell: Cell) -> None:
        if self._missing_packets(cell) == 0 and cell.epoch == self._last_epoch:
            self._sender_pauses = True

    def _excess_cells(self, kind: FrameKind, following: int | None, due_us: int, now_us: int) -> int:
        """Silent cells to skip, so that a long absence of the reader is not made up for."""
        count = (now_us - due_us) // FRAME_US
        if following is not None:
            gap = following - self._next_cell
            count = gap if self._eager and kind is FrameKind.DTX else min(count, gap)
        return count - self._capacity_cells

    def _accelerate(self, kind: FrameKind, payload: bytes) -> bool:
        """Bring the delay down to the target where nobody hears it; True to leave the frame out."""
        target_us = self._estimator.target_us
        if self._eager or target_us is None:
            return False
        excess_us = self._delay_us - target_us
        if excess_us <= 0:
            return False
        quiet = kind is not FrameKind.SPEECH or is_quiet(payload, self._payload_type)
        if not quiet:
            self._loud_frames += 1
            if excess_us < FRAME_US or self._loud_frames < _LOUD_PATIENCE_FRAMES:
                return False
            self._loud_frames -= _LOUD_INTERVAL_FRAMES
        else:
            self._loud_frames = 0
        gain_us = min(excess_us, FRAME_US)
        self._delay_us -= gain_us
        self._slip_us += gain_us
        if self._slip_us < FRAME_US or kind is FrameKind.COMFORT_NOISE:
            return False
        self._slip_us -= FRAME_US
        self._accelerated_frames += 1
        cell = self._cells.pop(self._next_cell)
        if cell is not None:
            self._last_epoch = cell.epoch
            self._last_sequence = cell.sequence
            self._last_timestamp = cell.timestamp
            self._last_payload = payload
        else:
            self._last_timestamp += FRAME_SAMPLES
        self._next_cell += 1
        return True

    def _drop_oldest(self) -> None:
        while len(self._cells) > self._capacity_cells:
            index = self._cells.first
            cell = None if index is None else self._cells.pop(index)
            if index is None or cell is None:
                return
            self._next_cell = max(self._next_cell, index + 1)
            self._last_epoch = cell.epoch
            self._last_sequence = cell.sequence
            self._last_timestamp = cell.timestamp
            self._overflow += 1
