"""Packets of any length cut into the 20 ms cells of the media timeline."""

from voicebot.rtp.companding import silence_code
from voicebot.rtp.jitter_frames import FrameKind
from voicebot.rtp.packet import COMFORT_NOISE, FRAME_SAMPLES, PCMU, RtpPacket
from voicebot.rtp.timeline import Placement


class Cell:
    """20 ms of the timeline, complete or in part.

    Attributes:
        kind: Speech or comfort noise.
        epoch: Sequence number space of the packet.
        sequence: Extended sequence number of the newest packet in it.
        timestamp: Extended RTP timestamp of its first sample.
        payload: 160 codec bytes, silence where nothing is known, or the noise description.
        payload_type: Codec of the payload.
        filled: Samples that are known; 160 when it is complete.
        arrival_us: Arrival of the newest packet in it.
    """

    __slots__ = (
        "arrival_us",
        "epoch",
        "filled",
        "kind",
        "payload",
        "payload_type",
        "sequence",
        "timestamp",
    )

    def __init__(self, kind: FrameKind, placement: Placement, timestamp: int, payload_type: int) -> None:
        self.kind = kind
        self.epoch = placement.epoch
        self.sequence = placement.sequence
        self.timestamp = timestamp
        self.payload: bytes | bytearray = b""
        self.payload_type = payload_type
        self.filled = FRAME_SAMPLES
        self.arrival_us = 0


class FrameCells:
    """The cells that wait, by their index on the timeline (position / 160)."""

    __slots__ = ("_cells", "_codec")

    def __init__(self) -> None:
        self._cells: dict[int, Cell] = {}
        self._codec = PCMU

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def first(self) -> int | None:
        """Index of the oldest cell."""
        return min(self._cells) if self._cells else None

    def get(self, index: int) -> Cell | None:
        """The cell at an index, if anything of it is known."""
        return self._cells.get(index)

    def pop(self, index: int) -> Cell | None:
        """Take the cell at an index out."""
        return self._cells.pop(index, None)

    def store(self, packet: RtpPacket, placement: Placement, arrival_us: int, *, from_cell: int) -> bool:
        """Cut a packet into cells; those before ``from_cell`` have gone.

        Returns:
            False when all that it brings is here already.
        """
        cells = self._cells
        first_cell, offset = divmod(placement.position, FRAME_SAMPLES)
        payload = packet.payload
        if packet.payload_type == COMFORT_NOISE:
            if first_cell in cells:
                return False
            noise = Cell(FrameKind.COMFORT_NOISE, placement, placement.timestamp - offset, self._codec)
            noise.payload = payload
            noise.arrival_us = arrival_us
            cells[first_cell] = noise
            return True
        self._codec = packet.payload_type
        last_cell = (placement.position + len(payload) - 1) // FRAME_SAMPLES
        stored = False
        for index in range(max(first_cell, from_cell), last_cell + 1):
            start = (index - first_cell) * FRAME_SAMPLES - offset
            part = payload[max(start, 0) : start + FRAME_SAMPLES]
            cell = cells.get(index)
            # Speech that starts where noise was announced is worth more.
            if cell is None or cell.kind is FrameKind.COMFORT_NOISE:
                cell = Cell(
                    FrameKind.SPEECH, placement, placement.timestamp + start, packet.payload_type
                )
                cells[index] = cell
                if len(part) == FRAME_SAMPLES:
                    cell.payload = part
                    cell.arrival_us = arrival_us
                    stored = True
                    continue
                cell.payload = bytearray([silence_code(packet.payload_type)]) * FRAME_SAMPLES
                cell.filled = 0
            elif cell.filled >= FRAME_SAMPLES:
                continue
            stored = True
            place = max(-start, 0)
            assert isinstance(cell.payload, bytearray)  # complete cells were skipped above
            cell.payload[place : place + len(part)] = part
            cell.filled += len(part)
            cell.sequence = max(cell.sequence, placement.sequence)
            cell.arrival_us = arrival_us
        return stored
