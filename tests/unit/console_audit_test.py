"""The console's audit log: kept as long as the calls, never losing an act, naming no caller."""

import json
import threading

import pytest

from voicebot.console.audit import FILE_NAME, AuditLog, erase_acts
from voicebot.core.errors import SessionStoreError
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.records import utc_text
from voicebot.session.retention import Erased, erase

DAY_S = 86_400.0


@pytest.fixture
def acts(tmp_path):
    """Acts of days 10, 50 and 99, a line that a full disk cut off, and one that is no act."""
    lines = [
        json.dumps({"at": utc_text(day * DAY_S), "who": "ann", "did": "hung up", "subject": f"c{day}"})
        for day in (10, 50, 99)
    ]
    (tmp_path / FILE_NAME).write_text("\n".join([*lines, "[1]", '{"at": "1970-01-0']))
    return tmp_path


def subjects(folder):
    return [act["subject"] for act in AuditLog(folder).last()]


async def test_what_is_too_old_goes_with_the_calls(acts):
    """By the same command and the same age; broken lines stay and spoil nothing."""
    erased = await erase(
        MemorySessionStore(),
        acts,
        older_than_s=45 * DAY_S,
        now_s=100 * DAY_S,
        also={"console_acts": erase_acts},
    )
    assert erased == Erased(0, 0, 0, others={"console_acts": 2})
    assert subjects(acts) == ["c99"]
    AuditLog(acts).write("bob", "hung up", "c100")
    assert subjects(acts) == ["c100", "c99"]
    assert (acts / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_who_listened_to_an_erased_caller_stays_known(acts):
    """Acts name calls by id: erasing a caller takes none of them, with an age or without."""
    assert erase_acts(acts, None, "+4930111") == 0
    assert erase_acts(acts, 9e9, "+4930111") == 0
    assert erase_acts(acts, None, None) == 0
    assert subjects(acts) == ["c99", "c50", "c10"]


def test_no_act_is_lost_while_the_file_is_purged(tmp_path):
    """Two consoles write while the daily timer rewrites the file again and again."""
    stop = threading.Event()

    def purge():
        while not stop.is_set():
            erase_acts(tmp_path, 10 * DAY_S, None)

    def write(who):
        log = AuditLog(tmp_path)
        for number in range(300):
            log.write(who, "hung up", f"c{number}")

    purging = threading.Thread(target=purge)
    writing = [threading.Thread(target=write, args=(who,)) for who in ("ann", "bob")]
    with pytest.MonkeyPatch.context() as patch:
        times = iter(range(10**9))
        # Each second act is from the year before: there is always something to purge.
        patch.setattr("time.time", lambda: (20 if next(times) % 2 else 5) * DAY_S)
        for thread in (purging, *writing):
            thread.start()
        for thread in writing:
            thread.join()
        stop.set()
        purging.join()
    erase_acts(tmp_path, 10 * DAY_S, None)
    assert len((tmp_path / FILE_NAME).read_bytes().splitlines()) == 300


def test_a_file_that_cannot_be_rewritten_is_said(tmp_path):
    """Not passed over: what should be gone is still there."""
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(SessionStoreError, match="audit log"):
        erase_acts(tmp_path, 9e9, None)
    assert erase_acts(tmp_path / "elsewhere", 9e9, None) == 0
