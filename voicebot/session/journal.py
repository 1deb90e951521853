"""What could not be written to the store yet: a file of JSON lines, one per process.

An entry survives the death of the process as soon as ``append`` returns (a power cut may take it). The
owner holds a lock on its file; a file without a lock belongs to nobody alive and is adopted by the next
process that starts. Everybody may read: an owner that hangs keeps its lock, and what it has acknowledged
must not wait until it is killed.
"""

import fcntl
import os
from collections.abc import Container
from pathlib import Path
from typing import Final, Self

import msgspec

from voicebot.session.records import Effect, SessionEnding, SessionRecord, TurnRecord

READ_BYTES: Final = 262_144


class _Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="write"):
    pass


class OpenSession(_Entry, frozen=True, tag="open_session"):
    """``SessionStore.open_session``."""

    record: SessionRecord
    lease: int = 0


class AppendTurn(_Entry, frozen=True, tag="append_turn"):
    """``SessionStore.append_turn``."""

    session_id: str
    turn: int
    record: TurnRecord
    lease: int = 0


class SaveState(_Entry, frozen=True, tag="save_state"):
    """``SessionStore.save_state``."""

    session_id: str
    state: bytes
    version: int
    lease: int = 0


class EndSession(_Entry, frozen=True, tag="end_session"):
    """``SessionStore.end_session``."""

    session_id: str
    ending: SessionEnding
    lease: int = 0


class AddEffect(_Entry, frozen=True, tag="add_effect"):
    """``SessionStore.add_effect``."""

    effect: Effect


class ClaimEffect(_Entry, frozen=True, tag="claim_effect"):
    """``SessionStore.claim_effect``, granted without the store."""

    key: str
    owner: str
    lease: int = 0
    session_id: str = ""


class FinishEffect(_Entry, frozen=True, tag="finish_effect"):
    """``SessionStore.finish_effect``."""

    key: str
    outcome: bytes
    session_id: str = ""


Entry = OpenSession | AppendTurn | SaveState | EndSession | AddEffect | ClaimEffect | FinishEffect

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class Journal:
    """One locked journal file. Blocking: called on a thread.

    Args:
        path: The file.
        descriptor: Open and locked.

    Attributes:
        written_ns: When it was last written before it was opened, nanoseconds since 1970.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._offset = 0
        status = os.fstat(descriptor)
        self._end = status.st_size
        self.written_ns = status.st_mtime_ns

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new journal of this process.

        Raises:
            OSError: The folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"journal-{os.getpid()}-{os.urandom(4).hex()}.jsonl"
        unlocked = path.with_suffix(".new")
        descriptor = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(path)  # only now can another process find it
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, folder: Path) -> "list[Journal]":
        """The journals that dead processes left, oldest first; they are ours from now on."""
        found: list[Journal] = []
        for path in folder.glob("journal-*.jsonl"):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:  # somebody else has just finished with it
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            found.append(cls(path, descriptor))
        return sorted(found, key=lambda journal: journal.written_ns)

    @staticmethod
    def of_session(folder: Path, session_id: str, without: Container[Path] = frozenset()) -> list[Entry]:
        """What the journals of a folder hold of one session, oldest journal first.

        A file is emptied once all of it is in the store, so what is missing here is there.

        Args:
            folder: Where journals are.
            session_id: Of which session.
            without: Journals to leave out.

        Raises:
            OSError: A journal cannot be read.
        """
        found: list[tuple[int, list[Entry]]] = []
        for path in folder.glob("journal-*.jsonl"):
            if path in without:
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            with os.fdopen(descriptor, "rb") as file:
                written_ns = os.fstat(descriptor).st_mtime_ns
                found.append((written_ns, _entries_of(file.read(), session_id)))
        return [entry for _, entries in sorted(found, key=lambda f: f[0]) for entry in entries]

    @property
    def empty(self) -> bool:
        """Whether everything has been taken back."""
        return self._offset >= self._end

    def append(self, entry: Entry) -> None:
        """Write one entry.

        Raises:
            OSError: It could not be written; the file ends with the entry before.
        """
        line = _encode(entry) + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._descriptor, line[written:], self._end + written)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(line)

    def read(self) -> list[tuple[Entry | None, int]]:
        """The next entries, each with the offset after it; None for a line that is no entry."""
        data = os.pread(self._descriptor, READ_BYTES, self._offset)
        while b"\n" not in data and self._offset + len(data) < self._end:
            data += os.pread(self._descriptor, READ_BYTES, self._offset + len(data))
        if b"\n" not in data:  # the writer died in the middle of its last entry
            return [(None, self._end)] if data else []
        entries: list[tuple[Entry | None, int]] = []
        offset = self._offset
        for line in data[: data.rindex(b"\n") + 1].splitlines(keepends=True):
            offset += len(line)
            entries.append((_parse(line), offset))
        return entries

    def advance(self, offset: int) -> None:
        """Everything before ``offset`` is in the store now."""
        self._offset = offset
        if self.empty and self._end:
            os.ftruncate(self._descriptor, 0)
            self._offset = self._end = 0

    def close(self) -> None:
        """Let go of the file; it is deleted when nothing is left in it."""
        if self.empty:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _entries_of(data: bytes, session_id: str) -> list[Entry]:
    # A line without its end was not acknowledged.
    whole = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    named = session_id.encode()
    entries = (_parse(line) for line in whole if named in line)
    return [e for e in entries if e is not None and session_of(e) == session_id]


def session_of(entry: Entry) -> str:
    """Which session an entry belongs to; empty when its writer did not know."""
    match entry:
        case OpenSession():
            return entry.record.session_id
        case AddEffect():
            return entry.effect.session_id
        case _:
            return entry.session_id


def _parse(line: bytes) -> Entry | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
