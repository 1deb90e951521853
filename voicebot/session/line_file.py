"""A file of JSON lines that several processes append to and that a purge rewrites.

A line is written with one ``write`` under a file lock; a line that a full disk cut off is fenced by a
line break and does not spoil the next one. A purge puts a new file in the place of the old one under the
same lock, and who waited for the lock opens the new one: no line is lost, whoever appends meanwhile.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def append_line(path: Path, line: bytes, *, sync: bool) -> None:
    """Write one line; the folder and the file are made when missing.

    Args:
        path: The file; a symbolic link is not followed.
        line: Without its line break.
        sync: Wait for the disk (fdatasync).

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _open_locked(path)
    line += b"\n"
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            line = b"\n" + line
        while line:
            line = line[os.write(descriptor, line) :]
        if sync:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def delete_lines(path: Path, is_due: Callable[[bytes], bool]) -> int:
    """Delete the lines that ``is_due`` names and return how many; the others stay as they are.

    Args:
        path: The file; nothing happens when there is none.
        is_due: Gets a line with its line break.

    Raises:
        OSError: The file cannot be read or rewritten; nothing was deleted then.
    """
    if not path.exists():
        return 0
    descriptor = _open_locked(path)
    try:
        kept: list[bytes] = []
        gone = 0
        with path.open("rb") as file:
            for line in file:
                if is_due(line):
                    gone += 1
                else:
                    kept.append(line)
        if gone:
            beside = path.with_name(path.name + ".new")
            beside.unlink(missing_ok=True)
            new = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(new, "wb") as file:
                file.writelines(kept)
                file.flush()
                os.fsync(new)
            beside.rename(path)
        return gone
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(path, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # a purge put another file in its place meanwhile
