"""An edge died: its calls get their records, once, and nobody else's are touched."""

from voicebot.link.messages import Start
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.open_store import session_store
from voicebot.session.records import TurnRecord
from voicebot.supervise.records import DeadEdgeRecords
from voicebot.worker.journal import CallJournal

EDGES = ("127.0.0.1:5070", "127.0.0.1:5071")


async def test_the_calls_of_a_dead_edge_are_closed_at_once_and_once(tmp_path):
    """The worker, which looks a little later, finds the call ended and writes no second record."""
    records = CallDetailLog(tmp_path)
    store = session_store("", tmp_path)
    await store.start()
    journals = []
    for number, edge in enumerate((EDGES[0], EDGES[0], EDGES[1])):
        start = Start(call_id=f"c{number}", session_id=f"s{number}", edge=edge, recording="a.wav")
        journal = CallJournal(store, records, "bank", orphan_grace_s=0.1)
        await journal.started(start)
        await store.append_turn(f"s{number}", 0, TurnRecord(who="bot", text="hello"))
        journals.append(journal)
    dead = DeadEdgeRecords(lambda: session_store("", tmp_path), records)
    assert await dead.close(EDGES[:1]) == 2
    assert await dead.close(EDGES[:1]) == 0
    for journal in journals[:2]:
        await journal.ended("edge lost", None)
    found = {r.call_id: r for r in records.read()}
    assert set(found) == {"c0", "c1"}
    assert {(r.reason, r.ended_by, r.turns, r.recording_partial) for r in found.values()} == {
        ("edge died", "supervisor", 1, True)
    }
    assert [r.call_id for r in await store.recent(open_only=True)] == ["c2"]
    await journals[2].ended("edge lost", None)  # no supervisor: the worker closes it after its grace
    assert [r.reason for r in records.read()].count("edge lost") == 1
    await store.close()
