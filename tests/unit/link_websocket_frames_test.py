"""The quick way of whole WebSocket messages says the same as the full protocol of ``websockets``."""

import random

import pytest
from websockets.frames import Frame, Opcode

from voicebot.link.websocket_frames import FrameWriter, split

MOST = 100_000


def frame(data, opcode=Opcode.BINARY, *, fin=True, mask=False):
    return Frame(opcode, data, fin).serialize(mask=mask)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 200, 65_535, 65_536])
def test_what_is_written_is_a_frame_and_is_read_back(length, masked):
    """All three forms of the length; a client's frames are masked, each with other bytes."""
    data = random.Random(length).randbytes(length)
    writer = FrameWriter(masks=masked)
    for text in (False, True):
        written = writer.write(data, text=text)
        plain = frame(data, Opcode.TEXT if text else Opcode.BINARY)
        assert len(written) == len(plain) + (4 if masked else 0)
        assert written[0] == plain[0]
        if not masked:
            assert written == plain
        chunk = split(written, masked=masked, most_bytes=MOST)
        assert (chunk.messages, chunk.other, chunk.rest) == ((data,), b"", b"")
    if masked and length > 8:
        assert writer.write(data, text=False) != writer.write(data, text=False)


def test_a_masked_frame_of_the_library_is_read():
    data = bytes(range(200))
    assert split(frame(data, mask=True), masked=True, most_bytes=MOST).messages == (data,)


def test_a_stream_cut_anywhere_gives_the_same_messages():
    """What is not whole yet is the rest, whatever its first bytes say."""
    messages = [bytes([n]) * length for n, length in enumerate((0, 3, 125, 126, 1000, 70_000))]
    stream = b"".join(frame(m, mask=True) for m in messages)
    for at in [*range(12), 130, 140, 300, 1300, 20_000, len(stream) - 1]:
        first = split(stream[:at], masked=True, most_bytes=MOST)
        second = split(first.rest + stream[at:], masked=True, most_bytes=MOST)
        assert list(first.messages + second.messages) == messages
        assert (first.other, second.other, second.rest) == (b"", b"", b"")


@pytest.mark.parametrize(
    "other",
    [
        frame(b"x", Opcode.PING),
        frame(b"x" * 200, fin=False),
        frame(b"x" * 200, Opcode.CONT),
        frame(b"x", mask=True),  # of a server
        b"\xc2\x01x",  # a reserved bit
    ],
    ids=["ping", "fragment", "continuation", "masked", "reserved"],
)
def test_every_other_frame_is_handed_on_whole(other):
    """Between two messages; one that is not all there yet is waited for."""
    message = frame(b"m")
    chunk = split(message + other + message, masked=False, most_bytes=MOST)
    assert (chunk.messages, chunk.other, chunk.rest) == ((b"m",), other, message)
    chunk = split(message + other[:-1], masked=False, most_bytes=MOST)
    assert (chunk.messages, chunk.other, chunk.rest) == ((b"m",), b"", other[:-1])


def test_what_is_too_long_is_not_waited_for():
    """A message above the limit, and a control frame above 125 bytes, go on at once with what is there."""
    for head in (b"\x82\x7f" + (MOST + 1).to_bytes(8, "big"), b"\x89\x7e\x00\x7e"):
        chunk = split(head + b"abc", masked=False, most_bytes=MOST)
        assert (chunk.messages, chunk.other, chunk.rest) == ((), head + b"abc", b"")
