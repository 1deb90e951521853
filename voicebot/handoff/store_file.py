"""The SQLite file of handoffs and call backs, in WAL mode, shared by workers and console."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from voicebot.core.errors import SessionStoreError
from voicebot.session.write_ahead_log import enter_write_ahead_log

FILE_NAME: Final = "handoffs.db"
BUSY_TIMEOUT_S: Final = 1.0
CREATION_LIMIT_S: Final = 5.0
"""Workers and console open the file of a new installation at the same moment."""


class HandoffFile:
    """One view of the file.

    Args:
        folder: The data directory.

    Attributes:
        tables: What the view needs, as ``CREATE … IF NOT EXISTS``.
        added: Table, column and type of what files of an earlier version lack.

    Raises:
        SessionStoreError: The file cannot be used.
    """

    tables: ClassVar[str] = ""
    added: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._connection(CREATION_LIMIT_S) as db:
                enter_write_ahead_log(db, limit_s=CREATION_LIMIT_S)
                db.executescript(self.tables)
                db.execute("BEGIN IMMEDIATE")  # else two see that a column is missing, and both add it
                for table, column, kind in self.added:
                    there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
                    if column not in there:
                        db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            self._path.chmod(0o600)
        except OSError as error:
            raise SessionStoreError(f"handoffs: {error}") from error

    @contextlib.contextmanager
    def _connection(self, wait_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=wait_s)
        except sqlite3.Error as error:
            raise SessionStoreError(f"handoffs: {error}") from error
        try:
            with db:
                yield db
        except sqlite3.Error as error:
            raise SessionStoreError(f"handoffs: {error}") from error
        finally:
            db.close()
