"""A worker that dies at the very end of a call: the next one writes the record, if it is not there."""

import msgspec
import pytest

from voicebot.core.errors import SessionStoreError
from voicebot.link.messages import Resume, Start, Stop
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.open_store import session_store
from voicebot.session.records import SessionEnding
from voicebot.worker.journal import CallJournal


class LateStore(MemorySessionStore):
    """Does not tell of the takeover: the first look comes too early, or is not answered."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    async def load(self, session_id):
        stored = await super().load(session_id)
        if self.how == "looked too early":
            return msgspec.structs.replace(stored, lease=0)
        if self.how == "did not answer":
            self.how = ""
            raise SessionStoreError("slow")
        return stored


@pytest.mark.parametrize("how", ["looked too early", "did not answer"])
async def test_a_call_that_lives_elsewhere_gets_no_record_of_a_lost_edge(tmp_path, how):
    """An overloaded machine breaks a link, and the takeover is late: its record is the next worker's to write."""
    store = LateStore(how)
    await store.start()
    records = CallDetailLog(tmp_path)
    first = CallJournal(store, records, "bank", orphan_grace_s=0.0)
    await first.started(start())
    second = CallJournal(store, records, "bank")
    await second.started(start(Resume(session_id="s1", lease=1)))
    assert not await first.ended("edge lost", None)
    assert await second.ended("hung up", STOP)
    assert [record.reason for record in records.read()] == ["hung up"]
    await store.close()


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
