"""WebSocket frames (RFC 6455 section 5) that hold a whole message, read and written quickly.

    chunk of the stream ─► split ─► whole text and binary messages
                             └────► everything else, frame by frame, for a full protocol machine

A link carries fifty frames a second each way, all of them whole messages. The general machine takes
them apart with a generator per field; for these two kinds that is most of what a message costs.
"""

import os
from dataclasses import dataclass
from typing import Final

TEXT: Final = 0x81  # FIN and opcode 1
BINARY: Final = 0x82  # FIN and opcode 2
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MASK_BYTES: Final = 4
_CONTROL: Final = 0x08
_MOST_CONTROL_BYTES: Final = 125
_MASKS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a part of the stream held.

    Attributes:
        messages: Whole messages from its beginning, in order.
        other: A whole frame of another kind that follows them; empty when there is none.
        rest: What comes after both: a frame whose end has not come yet, when ``other`` is empty.
    """

    messages: tuple[bytes, ...]
    other: bytes
    rest: bytes


def split(data: bytes, *, masked: bool, most_bytes: int) -> Chunk:
    """Take whole messages off the beginning of the stream.

    Args:
        data: The stream from the beginning of a frame.
        masked: Whether frames are to be masked: they come from a client.
        most_bytes: A longer frame breaks the rules and is not waited for: what is there of it becomes
            ``other``.
    """
    messages: list[bytes] = []
    at, end = 0, len(data)
    while end - at >= 2:
        kind, length = data[at], data[at + 1] & _LENGTH
        first = at + 2
        if length >= _LENGTH_16:
            first += 2 if length == _LENGTH_16 else 8
            if first > end:
                break
            length = int.from_bytes(data[at + 2 : first], "big")
        if length > (_MOST_CONTROL_BYTES if kind & _CONTROL else most_bytes):
            return Chunk(tuple(messages), data[at:], b"")
        is_masked = bool(data[at + 1] & _MASKED)
        if is_masked:
            first += _MASK_BYTES
        after = first + length
        if after > end:
            break
        if kind not in (TEXT, BINARY) or is_masked is not masked:
            return Chunk(tuple(messages), data[at:after], data[after:])
        payload = data[first:after]
        messages.append(_xor(payload, data[first - _MASK_BYTES : first]) if masked else payload)
        at = after
    return Chunk(tuple(messages), b"", data[at:])


class FrameWriter:
    """Writes frames of one end.

    Args:
        masks: Whether this end is the client: its frames are masked, each with random bytes of its own.
    """

    def __init__(self, *, masks: bool) -> None:
        self._masks = masks
        self._random = b""

    def write(self, data: bytes, *, text: bool) -> bytes:
        """One message as one frame."""
        length = len(data)
        flag = _MASKED if self._masks else 0
        kind = TEXT if text else BINARY
        if length < _LENGTH_16:
            head = bytes((kind, flag | length))
        elif length < 1 << 16:
            head = bytes((kind, flag | _LENGTH_16, length >> 8, length & 0xFF))
        else:
            head = bytes((kind, flag | _LENGTH_64)) + length.to_bytes(8, "big")
        if not self._masks:
            return head + data
        if not self._random:
            self._random = os.urandom(_MASK_BYTES * _MASKS_AT_ONCE)
        mask, self._random = self._random[:_MASK_BYTES], self._random[_MASK_BYTES:]
        return head + mask + _xor(data, mask)


def _xor(data: bytes, mask: bytes) -> bytes:
    length = len(data)
    key = (mask * (length // _MASK_BYTES + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
