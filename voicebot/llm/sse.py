"""Server-sent events out of bytes (WHATWG HTML, section 9.2), without I/O."""

from voicebot.core.errors import LanguageModelError

MAX_LINE_BYTES = 65_536


class SseParser:
    """Bytes in, the ``data`` of complete events out; comments, ids and retry times are dropped.

    An event counts only after its blank line: what a broken connection leaves behind is never given
    out, see ``pending``.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether an event has begun that is not complete."""
        return bool(self._data or self._buffer.strip())

    def feed(self, chunk: bytes) -> list[str]:
        """Take bytes, cut anywhere.

        Raises:
            LanguageModelError: A line of more than 64 KiB, or not UTF-8.
        """
        self._buffer += chunk
        if b"\n" not in chunk and b"\r" not in chunk:
            self._limit()
            return []
        *lines, self._buffer = self._buffer.replace(b"\r\n", b"\n").split(b"\n")
        self._limit()
        events = []
        for raw in lines:
            if not raw.strip(b"\r"):
                if self._data:
                    events.append("\n".join(self._data))
                    self._data = []
                continue
            try:
                line = raw.decode().rstrip("\r")
            except UnicodeDecodeError as error:
                raise LanguageModelError("the answer is not UTF-8") from error
            field, _, value = line.partition(":")
            if field == "data":
                self._data.append(value.removeprefix(" "))
        return events

    def _limit(self) -> None:
        if len(self._buffer) > MAX_LINE_BYTES:
            raise LanguageModelError(f"a line of more than {MAX_LINE_BYTES} bytes")
