"""An edge died: its calls get their records, once, and nobody else's are touched."""

import os

from voicebot.handoff.callback_store import BROKE_OFF, CallbackStore
from voicebot.link.messages import Start
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.open_store import session_store
from voicebot.session.records import SessionRecord, TurnRecord, utc_text
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


async def test_a_call_back_that_broke_off_is_left_to_people(tmp_path):
    """All processes died while somebody who was called back talked to the bot: it does not stay "answered"."""
    callbacks = CallbackStore(tmp_path)
    for number, call_id in enumerate(("c0", "c1")):
        callbacks.ask(f"h{number}", f"+493012345{number}", "service")
        callback = callbacks.open()[number]
        assert callbacks.claim(callback, 100.0, 130.0)
        callbacks.answered(callback.callback_id, call_id)
    store = session_store("", tmp_path)
    await store.start()
    await store.open_session(SessionRecord(session_id="s0", call_id="c0", edge=EDGES[0]))
    await store.close()
    records = CallDetailLog(tmp_path)
    dead = DeadEdgeRecords(lambda: session_store("", tmp_path), records, callbacks.broke_off)
    assert await dead.close(EDGES) == 1
    broken, other = callbacks.open()
    assert (broken.state, broken.history[-1].outcome, other.state) == ("unclear", BROKE_OFF, "answered")
    assert callbacks.again(broken.callback_id, 200.0)
    assert callbacks.open()[0].state == "scheduled"


async def test_a_call_that_was_cut_off_yesterday_did_not_last_until_today(tmp_path):
    """The machine was off meanwhile; before, the call lasted a day, and its caller had just been cut off."""
    store = session_store("", tmp_path)
    await store.start()
    recording = tmp_path / "c1.wav"
    recording.write_bytes(b"RIFF")
    answered_s = 1_700_000_000
    os.utime(recording, (answered_s + 61, answered_s + 61))
    for call_id, path in (("c0", ""), ("c1", str(recording)), ("c2", str(tmp_path / "gone.wav"))):
        session = SessionRecord(
            session_id=f"s{call_id}",
            call_id=call_id,
            edge=EDGES[0],
            started_at=utc_text(answered_s),
            answered_at=utc_text(answered_s),
            recording=path,
        )
        await store.open_session(session)
        await store.append_turn(f"s{call_id}", 0, TurnRecord(who="bot", text="hello", at_ms=42_000))
    await store.close()
    records = CallDetailLog(tmp_path)
    dead = DeadEdgeRecords(
        lambda: session_store("", tmp_path), records, wall_clock_s=lambda: answered_s + 86_400
    )
    assert await dead.close(EDGES, seen=False) == 3
    assert {r.call_id: r.talk_ms for r in records.read()} == {"c0": 42_000, "c1": 61_000, "c2": 42_000}
