"""Retention and erasure: what is deleted, and what is never touched."""

import os

import pytest

from voicebot.session.call_detail_record import CallDetailLog, CallDetailRecord
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.records import SessionEnding, SessionRecord, utc_text
from voicebot.session.retention import Erased, erase

DAY_S = 86_400.0
NOW_S = 100 * DAY_S


@pytest.fixture
async def store(tmp_path):
    """Three calls of two callers on days 10, 50 and 99; a fourth of day 10 is still going on."""
    store = MemorySessionStore()
    (tmp_path / "recordings").mkdir()
    for number, (day, caller) in enumerate([(10, "100"), (50, "200"), (99, "100"), (10, "300")]):
        name = f"c{number:012x}"
        path = tmp_path / "recordings" / f"{name}.wav"
        at = utc_text(day * DAY_S)
        for file in (path, path.with_suffix(".json")):
            file.write_bytes(b"x")
            written_s = NOW_S if caller == "300" else day * DAY_S
            os.utime(file, (written_s, written_s))
        await store.open_session(
            SessionRecord(
                session_id=f"s{number}",
                call_id=name,
                caller=caller,
                started_at=at,
                recording=str(path),
            )
        )
        if caller != "300":
            await store.end_session(f"s{number}", SessionEnding(ended_at=at, ended_by="caller"))
            await CallDetailLog(tmp_path, sync=False).append(
                CallDetailRecord(
                    call_id=name,
                    session_id=f"s{number}",
                    caller=caller,
                    ended_at=at,
                    recording=str(path),
                )
            )
    return store


def kept(folder):
    return sorted(int(p.stem[1:], 16) for p in (folder / "recordings").glob("c*.wav"))


async def test_what_is_too_old_goes_everywhere(store, tmp_path):
    """Session, call record, recording and the file beside it; a call under way stays."""
    erased = await erase(store, tmp_path, older_than_s=30 * DAY_S, now_s=NOW_S)
    assert erased == Erased(sessions=2, call_records=2, recordings=2)
    assert sorted(r.session_id for r in await store.recent()) == ["s2", "s3"]
    assert [r.session_id for r in CallDetailLog(tmp_path).read()] == ["s2"]
    assert kept(tmp_path) == [2, 3]
    assert not (tmp_path / "recordings" / "c000000000000.json").exists()


async def test_a_caller_is_erased_at_any_age(store, tmp_path):
    """All of one caller, nothing of others."""
    assert await erase(store, tmp_path, caller="100") == Erased(2, 2, 2)
    assert kept(tmp_path) == [1, 3]


async def test_with_both_only_what_meets_both(store, tmp_path):
    """The old call of one caller."""
    erased = await erase(store, tmp_path, older_than_s=30 * DAY_S, caller="100", now_s=NOW_S)
    assert erased == Erased(1, 1, 1)
    assert kept(tmp_path) == [1, 2, 3]


async def test_with_neither_nothing_happens(store, tmp_path):
    """A call without a condition is a mistake, not a wish."""
    assert await erase(store, tmp_path) == Erased(0, 0, 0)
    assert kept(tmp_path) == [0, 1, 2, 3]


async def test_only_our_own_files_are_deleted(tmp_path):
    """Names from records cannot lead outside the folder; other files and links stay."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    outside = tmp_path / "c0123456789ab.wav"
    outside.write_bytes(b"x")
    (folder / "c0123456789ab.wav").symlink_to(outside)
    (folder / "notes.txt").write_bytes(b"x")
    os.utime(folder / "notes.txt", (0, 0))
    store = MemorySessionStore()
    await store.open_session(
        SessionRecord(
            session_id="s1",
            call_id="c1",
            caller="1",
            recording=f"{folder}/../c0123456789ab.wav",
            started_at="1970",
            ended_at="1970",
        )
    )
    assert (await erase(store, tmp_path, older_than_s=1, now_s=NOW_S)).recordings == 0
    assert outside.exists()
    assert (folder / "notes.txt").exists()


async def test_recordings_without_a_record_go_by_their_age(tmp_path):
    """What a crash left behind is found too."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "c0123456789ab.wav").write_bytes(b"x")
    os.utime(folder / "c0123456789ab.wav", (0, 0))
    erased = await erase(MemorySessionStore(), tmp_path, older_than_s=DAY_S, now_s=NOW_S)
    assert erased == Erased(0, 0, 1)
