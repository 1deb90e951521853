"""The stereo recording of one call: 16-bit WAV at 8 kHz, caller left, bot right, on the RTP clock.

    caller(), bot() ─► bounded queue ─► thread, once a second ─► two-second window ─► file

The time line is the outgoing RTP stream, or the caller's own while nothing is sent. A caller frame's
place follows from its RTP timestamp, anchored at the outgoing position at which the first one arrived; a
late frame thus still lands where it was spoken. The header in the file is valid once a second: a crash
costs no more than that. When the disk is full the call goes on and the recording is marked partial.
"""

import asyncio
import os
import re
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from voicebot.audio.g711 import SAMPLE_RATE_HZ, decode_ulaw
from voicebot.core.errors import SessionStoreError

CALLER: Final = 0
BOT: Final = 1
HEADER_BYTES: Final = 44
FRAME_BYTES: Final = 4
SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1000
WINDOW_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
REANCHOR_SAMPLES: Final = 100 * SAMPLES_PER_MS
REANCHOR_FRAMES: Final = 25
SILENT_BOT_FRAMES: Final = 10
"""After so many caller frames without one of the bot (nothing is sent on hold) the caller leads."""
MAX_QUEUED: Final = 6000  # one minute of both sides: a disk that stalls for longer loses audio
FLUSH_S: Final = 1.0

_OWN_ID = re.compile(r"[a-z][0-9a-f]{6,32}")


class RecordingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth finding in the recording, ``at_ms`` from its beginning."""

    at_ms: int
    name: str


class RecordingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a recording; also the content of the JSON file beside it.

    ``partial``: audio is missing, or the process died before ``close`` (``complete`` is false then too).
    ``pauses_ms`` are pairs of beginning and end during which both sides are silent on purpose.
    """

    path: str
    call_id: str
    session_id: str = ""
    sip_call_id: str = ""
    started_at: str = ""
    sample_rate_hz: int = SAMPLE_RATE_HZ
    channels: tuple[str, str] = ("caller", "bot")
    duration_ms: int = 0
    pauses_ms: tuple[tuple[int, int], ...] = ()
    events: tuple[RecordingEvent, ...] = ()
    complete: bool = False
    partial: bool = True
    problem: str = ""
    dropped_frames: int = 0
    anchors: int = 0


@dataclass(slots=True)
class _CallerAnchor:
    """Where a caller timestamp lies in the outgoing stream."""

    timestamp: int | None = None
    position: int = 0
    off_frames: int = 0
    count: int = 0

    def place(self, timestamp: int, now: int) -> int:
        """Position of a frame that arrived when the outgoing stream was at ``now``."""
        if self.timestamp is None:
            return self._set(timestamp, now)
        position = self.position + timestamp - self.timestamp
        off = abs(position - now)
        self.off_frames = self.off_frames + 1 if off > REANCHOR_SAMPLES else 0
        # A burst after a stall is late but right; what stays off is a new clock or a jump.
        if self.off_frames >= REANCHOR_FRAMES or off > WINDOW_SAMPLES * 3 // 4:
            return self._set(timestamp, now)
        return position

    def _set(self, timestamp: int, now: int) -> int:
        self.timestamp, self.position = timestamp, now
        self.off_frames = 0
        self.count += 1
        return now


@dataclass(slots=True)
class _File:
    """The WAV file and the window of samples that may still change. Used by one thread at a time."""

    descriptor: int
    window: NDArray[np.int16] = field(
        default_factory=lambda: np.zeros((WINDOW_SAMPLES, 2), dtype=np.int16)
    )
    base: int = 0
    end: int = 0
    late_frames: int = 0

    def place(self, channel: int, position: int, payload: bytes) -> None:
        """Put mu-law audio at its place; may write what leaves the window."""
        stop = position + len(payload)
        if position < self.base:
            self.late_frames += 1
            return
        if stop > self.base + WINDOW_SAMPLES:
            self.write_until(stop - WINDOW_SAMPLES // 2)
        self.window[position - self.base : stop - self.base, channel] = decode_ulaw(payload)
        self.end = max(self.end, stop)

    def extend(self, end: int) -> None:
        """Let the recording be at least this long; what is not placed is silence."""
        if end > self.base + WINDOW_SAMPLES:
            self.write_until(end - WINDOW_SAMPLES // 2)
        self.end = max(self.end, end)

    def write_until(self, position: int) -> None:
        """Write the window up to ``position`` and the header that fits."""
        while self.base < position:
            count = min(position - self.base, WINDOW_SAMPLES)
            _write_all(
                self.descriptor,
                self.window[:count].astype("<i2").tobytes(),
                HEADER_BYTES + self.base * FRAME_BYTES,
            )
            self.window[:-count] = self.window[count:]
            self.window[WINDOW_SAMPLES - count :] = 0
            self.base += count
        self.write_header()

    def write_header(self) -> None:
        """Make the header fit what has been written."""
        _write_all(self.descriptor, wav_header(self.base), 0)


class CallRecorder:
    """Records one call; ``start`` makes one. All methods but ``close`` return at once.

    Attributes:
        path: The WAV file.
    """

    def __init__(self, path: Path, descriptor: int, summary: RecordingSummary) -> None:
        self.path = path
        self._summary = summary
        self._file = _File(descriptor)
        self._queue: deque[tuple[int, int, bytes]] = deque()
        self._position = 0
        self._caller_end = 0
        self._frames_since_bot = 0
        self._anchor = _CallerAnchor()
        self._dropped = 0
        self._problem = ""
        self._paused_since: int | None = None
        self._pauses: list[tuple[int, int]] = []
        self._events: list[RecordingEvent] = []
        self._stop = threading.Event()
        self._closed: RecordingSummary | None = None
        self._thread = threading.Thread(target=self._run, name=f"recorder {path.stem}", daemon=True)
        self._thread.start()

    @classmethod
    def start(
        cls,
        folder: Path,
        call_id: str,
        *,
        session_id: str = "",
        sip_call_id: str = "",
        started_at: str = "",
    ) -> "CallRecorder":
        """Create ``<call_id>.wav`` and ``<call_id>.json`` in ``folder``, for their owner's eyes only.

        Args:
            folder: Made when missing.
            call_id: An id of our own (``core.ids``): anything else is refused, it names the file.
            session_id: For the JSON file.
            sip_call_id: For the JSON file; may be anything.
            started_at: Time of day, for the JSON file.

        Raises:
            SessionStoreError: The id is not ours, or the file cannot be created.
        """
        if not _OWN_ID.fullmatch(call_id):
            raise SessionStoreError(f"{call_id!r} is no call id of ours and names no file")
        path = folder / f"{call_id}.wav"
        summary = RecordingSummary(
            path=path.name,
            call_id=call_id,
            session_id=session_id,
            sip_call_id=sip_call_id,
            started_at=started_at,
        )
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise SessionStoreError(f"recording {path.name}: {error}") from error
        return cls(path, descriptor, summary)

    @property
    def partial(self) -> bool:
        """Whether audio is missing already (disk full, queue overflow)."""
        return bool(self._problem or self._dropped)

    @property
    def paused(self) -> bool:
        """Both sides are silent in the recording while this is true."""
        return self._paused_since is not None

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused and self._paused_since is None:
            self._paused_since = self._position
        elif not paused and self._paused_since is not None:
            self._pauses.append((self._paused_since, self._position))
            self._paused_since = None

    def bot(self, ulaw: bytes, position_samples: int | None = None) -> None:
        """What has just been sent to the caller: mu-law at 8 kHz.

        Args:
            ulaw: The audio, usually 20 ms.
            position_samples: Its place in the outgoing stream; right after the piece before when None.
        """
        position = self._position if position_samples is None else position_samples
        self._put(BOT, position, ulaw)
        self._frames_since_bot = 0
        self._position = max(self._position, position + len(ulaw))

    def caller(self, ulaw: bytes, rtp_timestamp: int | None = None) -> None:
        """What the caller has just said: mu-law at 8 kHz, usually 20 ms.

        Args:
            ulaw: The audio.
            rtp_timestamp: Extended RTP timestamp of its first sample; None when unknown: it is then
                taken to follow the piece before.
        """
        timestamp = self._caller_end if rtp_timestamp is None else rtp_timestamp
        self._caller_end = timestamp + len(ulaw)
        position = self._anchor.place(timestamp, self._position)
        if position >= 0:
            self._put(CALLER, position, ulaw)
        self._frames_since_bot += 1
        if self._frames_since_bot > SILENT_BOT_FRAMES:
            self._position = max(self._position, position + len(ulaw))

    def note(self, name: str) -> None:
        """Remember an event at this place of the recording."""
        self._events.append(RecordingEvent(at_ms=self._position // SAMPLES_PER_MS, name=name))

    async def close(self) -> RecordingSummary:
        """Write the rest and the JSON file; a second call returns the same summary."""
        if self._closed is None:
            self.paused = False
            self._stop.set()
            await asyncio.to_thread(self._thread.join)
            assert self._closed is not None
        return self._closed

    def _put(self, channel: int, position: int, ulaw: bytes) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._dropped += 1
            return
        self._queue.append((channel, position, b"" if self.paused else ulaw))

    # ------------------------------------------------------------------ the recorder's own thread

    def _run(self) -> None:
        self._attempt(self._file.write_header)
        self._write_summary(self._summary)
        while not self._stop.wait(FLUSH_S):
            self._attempt(self._flush)
        self._attempt(self._flush)
        self._attempt(self._finish)
        closed = msgspec.structs.replace(
            self._summary,
            duration_ms=self._file.base // SAMPLES_PER_MS,
            pauses_ms=tuple((a // SAMPLES_PER_MS, b // SAMPLES_PER_MS) for a, b in self._pauses),
            events=tuple(self._events),
            complete=True,
            partial=self.partial,
            problem=self._problem,
            dropped_frames=self._dropped + self._file.late_frames,
            anchors=self._anchor.count,
        )
        self._write_summary(closed)
        os.close(self._file.descriptor)
        self._closed = closed

    def _flush(self) -> None:
        while self._queue:
            channel, position, ulaw = self._queue.popleft()
            if ulaw:
                self._file.place(channel, position, ulaw)
            else:
                self._file.extend(position)
        self._file.write_until(self._file.end - WINDOW_SAMPLES // 2)

    def _finish(self) -> None:
        self._file.extend(self._position)
        self._file.write_until(self._file.end)
        os.fdatasync(self._file.descriptor)

    def _attempt(self, write: Callable[[], None]) -> None:
        if self._problem:
            self._queue.clear()
            return
        try:
            write()
        except OSError as error:
            self._problem = error.strerror or str(error)
            self._cut_to_what_was_written()

    def _cut_to_what_was_written(self) -> None:
        try:
            os.ftruncate(self._file.descriptor, HEADER_BYTES + self._file.base * FRAME_BYTES)
            self._file.write_header()
        except OSError:
            return  # the header of a second ago is in the file and valid

    def _write_summary(self, summary: RecordingSummary) -> None:
        try:
            write_private(self.path.with_suffix(".json"), msgspec.json.encode(summary) + b"\n")
        except OSError as error:
            self._problem = self._problem or error.strerror or str(error)


def wav_header(samples: int) -> bytes:
    """The 44 bytes before ``samples`` stereo samples (RIFF WAVE, PCM, 16 bit, 8 kHz)."""
    data_bytes = samples * FRAME_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16, 1, 2, SAMPLE_RATE_HZ),
        *(SAMPLE_RATE_HZ * FRAME_BYTES, FRAME_BYTES, 16, b"data", data_bytes),
    )


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner only."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        _write_all(descriptor, content, 0)
    finally:
        os.close(descriptor)
    beside.rename(path)


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
