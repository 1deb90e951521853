"""A worker that dies at the very end of a call: the next one writes the record, if it is not there."""

import pytest

from voicebot.link.messages import Resume, Start, Stop
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.open_store import session_store
from voicebot.session.records import SessionEnding
from voicebot.worker.journal import CallJournal

STOP = Stop(reason="hung up", ended_by="caller")


def start(resume=None):
    return Start(call_id="c1", session_id="s1", edge="e1", resume=resume)


@pytest.mark.parametrize("died", ["before the end was stored", "before the record", "after the record"])
async def test_a_call_has_one_record(tmp_path, died):
    """The order is: end in the store, record in the file, goodbye to the edge."""
    records = CallDetailLog(tmp_path)
    store = session_store("", tmp_path)
    await store.start()
    first = CallJournal(store, records, "bank")
    await first.started(start())
    if died == "before the record":
        ending = SessionEnding(ended_at="2026-11-21T10:00:00.000Z", ended_by="caller", reason="hung up")
        await store.end_session("s1", ending, lease=0)
    elif died == "after the record":
        assert await first.ended("hung up", STOP)
    again = start(Resume(session_id="s1", lease=1))
    second = CallJournal(store, records, "bank")
    await second.started(again)
    await second.taken_over(again)
    assert await second.ended("hung up", STOP)
    (record,) = records.read()
    assert (record.session_id, record.reason, record.ended_by) == ("s1", "hung up", "caller")
    assert not await store.recent(open_only=True)
    await store.close()
