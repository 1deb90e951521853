"""The write-ahead log of an SQLite file that several processes open at once."""

import sqlite3
import time
from typing import Final

_RETRY_S: Final = 0.005


def enter_write_ahead_log(database: sqlite3.Connection, *, limit_s: float) -> None:
    """Switch to the write-ahead log, in turn with other processes that do so on the same new file.

    The switch raises a read lock to an exclusive one; two that try it together would wait for each
    other, so SQLite answers "locked" at once, whatever the busy timeout is. Waiting is ours to do.

    Args:
        database: A connection outside a transaction.
        limit_s: How long to wait for the others, s.

    Raises:
        sqlite3.Error: It stayed locked, or the file cannot be used.
    """
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if not busy or time.monotonic() > give_up_at:
                raise
        else:
            return
        time.sleep(_RETRY_S)
