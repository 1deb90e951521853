"""A bot on virtual time, as a child process that speaks the offline protocol on its pipes.

    S start ─► A answered      T packets of 20 ms ─► F what the caller hears      H hang up ─► E record

Lock step: nothing happens between an answer and the next question, so that a call depends on nothing
but what it was told. ``docs/qa.md`` has the protocol for bots that we do not know.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from sip_test_harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

PROTOCOL: Final = 1
START_LIMIT_S: Final = 180.0
"""A bot may have models to load, on a busy machine."""
ANSWER_LIMIT_S: Final = 60.0
MAX_MESSAGE_BYTES: Final = 64_000_000
FRAME_BYTES: Final = 160
_HEAD: Final = struct.Struct("!Ic")
_PACKET: Final = struct.Struct("!IH")


class OfflineBotError(HarnessError):
    """The bot's process broke off, did not answer, or refused a message."""


@dataclass(frozen=True)
class OfflineEnd:
    """How the bot saw the call: its record, what it heard (mu-law), and whom it transferred to."""

    record: dict[str, Any]
    heard: bytes
    transferred_to: str = ""


class OfflineBot:
    """The child process.

    Args:
        command: what starts it, as ``voicebot offline --config bank.yaml``.

    Raises:
        UsageError: the command cannot be started.
        OfflineBotError: it says nothing, or speaks another protocol.
    """

    def __init__(self, command: str) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command, no shell
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except (OSError, ValueError, IndexError) as error:
            raise UsageError(f"cannot start {command!r}: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._write = self._process.stdin.fileno()
        self._read = self._process.stdout.fileno()
        self.pid = self._process.pid
        self._buffer = bytearray()
        try:
            self.description = _checked(*self._receive(START_LIMIT_S))
        except OfflineBotError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def begin(self, start: dict[str, Any]) -> int:
        """Call the bot; returns the SIP status of its answer."""
        self._send(b"S", json.dumps(start).encode())
        kind, content = self._receive(ANSWER_LIMIT_S)
        return int(_json(self._expected(kind, content, b"A")).get("status", 0))

    def tick(self, packets: Sequence[tuple[int, bytes]]) -> bytes | OfflineEnd:
        """Let 20 ms pass.

        Args:
            packets: microseconds into them, and the RTP datagram; in order of time.

        Returns:
            160 bytes of mu-law that the caller hears next, or the end when the bot hung up.
        """
        content = b"".join(_PACKET.pack(at_us, len(data)) + data for at_us, data in packets)
        self._send(b"T", content)
        kind, content = self._receive(ANSWER_LIMIT_S)
        if kind == b"E":
            return _end(content)
        frame = self._expected(kind, content, b"F")
        if len(frame) != FRAME_BYTES:
            raise OfflineBotError(f"a frame of {len(frame)} bytes")
        return frame

    def hang_up(self) -> OfflineEnd:
        """End the call."""
        self._send(b"H", b"")
        kind, content = self._receive(ANSWER_LIMIT_S)
        return _end(self._expected(kind, content, b"E"))

    def close(self) -> None:
        """End the process: it leaves when its input is closed."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @staticmethod
    def _expected(kind: bytes, content: bytes, wanted: bytes) -> bytes:
        if kind == b"X":
            raise OfflineBotError(f"the bot: {_json(content).get('error')}")
        if kind != wanted:
            raise OfflineBotError(f"the bot answered {kind!r}, not {wanted!r}")
        return content

    def _send(self, kind: bytes, content: bytes) -> None:
        data = memoryview(_HEAD.pack(len(content) + 1, kind) + content)
        try:
            while data:
                data = data[os.write(self._write, data) :]
        except OSError as error:
            raise OfflineBotError(f"the bot's process is gone ({error})") from error

    def _receive(self, limit_s: float) -> tuple[bytes, bytes]:
        while True:
            if len(self._buffer) >= _HEAD.size:
                length, kind = _HEAD.unpack_from(self._buffer)
                if not 1 <= length <= MAX_MESSAGE_BYTES:
                    raise OfflineBotError(f"the bot sent a message of {length} bytes")
                size = _HEAD.size + length - 1
                if len(self._buffer) >= size:
                    content = bytes(self._buffer[_HEAD.size : size])
                    del self._buffer[:size]
                    return kind, content
            if not select.select([self._read], [], [], limit_s)[0]:
                self._process.kill()
                raise OfflineBotError(f"the bot did not answer within {limit_s:g} s")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise OfflineBotError("the bot's process ended; its own output says why")
            self._buffer += data


def _json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise OfflineBotError(f"the bot sent no JSON ({error})") from error
    if not isinstance(value, dict):
        raise OfflineBotError("the bot sent no JSON object")
    return value


def _checked(kind: bytes, content: bytes) -> str:
    """Return how the bot describes itself, when it speaks our protocol."""
    about = _json(content) if kind == b"R" else {}
    if about.get("protocol") != PROTOCOL:
        raise OfflineBotError(f"it does not speak protocol {PROTOCOL}: {about}")
    return str(about.get("bot", ""))


def _end(content: bytes) -> OfflineEnd:
    value = _json(content)
    try:
        heard = base64.b64decode(str(value.get("heard", "")))
    except ValueError as error:
        raise OfflineBotError(f"the bot's audio is no base64 ({error})") from error
    record = value.get("record")
    return OfflineEnd(
        record if isinstance(record, dict) else {}, heard, str(value.get("transferred_to") or "")
    )
