"""Who waits, who takes whom, and that it all survives a restart."""

import concurrent.futures
import time

import pytest

from voicebot.core.errors import SessionStoreError
from voicebot.handoff.context import HandoffContext
from voicebot.handoff.queue import (
    Agent,
    Announce,
    CallerQueue,
    Entry,
    OfferCallback,
    Overflow,
    QueueRules,
)
from voicebot.handoff.queue_store import HandoffStore
from voicebot.worker.call_watch import places_of


def queue(**rules):
    return CallerQueue(
        [QueueRules("general", **rules), QueueRules("fraud", skills=frozenset({"fraud"}))]
    )


def test_order_is_priority_then_arrival():
    waiting = queue()
    for number, priority in enumerate(["normal", "low", "high", "normal"]):
        waiting.join(Entry(f"h{number}", "general", float(number), priority))
    assert [e.handoff_id for e in waiting.waiting()] == ["h2", "h0", "h3", "h1"]
    assert waiting.position("h3") == 3
    waiting.leave("h2")
    assert waiting.position("h3") == 2 and waiting.position("h2") is None


def test_the_first_answer_wins():
    waiting = queue()
    waiting.join(Entry("h1", "general", 0.0))
    assert waiting.accept("h1", "ann") and not waiting.accept("h1", "bob")
    assert waiting.accept("h1", "ann")
    assert waiting.waiting() == []
    waiting.put_back("h1")
    assert waiting.accept("h1", "bob")


def test_offers_follow_status_skills_and_refusals():
    waiting = queue()
    waiting.join(Entry("h1", "fraud", 0.0))
    waiting.join(Entry("h2", "general", 1.0))
    waiting.agent(Agent("ann", "available", frozenset({"fraud"})))
    waiting.agent(Agent("bob", "available"))
    waiting.agent(Agent("cat", "away"))
    assert [e.handoff_id for e in waiting.offers("ann")] == ["h1", "h2"]
    assert [e.handoff_id for e in waiting.offers("bob")] == ["h2"]
    assert waiting.offers("cat") == [] and waiting.offers("nobody") == []
    waiting.decline("h2", "bob")
    assert waiting.offers("bob") == []


def test_the_wait_is_estimated_from_handling_time_and_people():
    waiting = queue()
    waiting.join(Entry("h1", "general", 0.0))
    waiting.join(Entry("h2", "general", 1.0))
    assert waiting.estimated_wait_ms("h1") is None
    waiting.agent(Agent("ann", "busy"))
    assert waiting.estimated_wait_ms("h2") == 360_000
    waiting.agent(Agent("bob", "available"))
    assert waiting.estimated_wait_ms("h1") == 0 and waiting.estimated_wait_ms("h2") == 90_000
    waiting.handled("general", 80_000)
    assert waiting.estimated_wait_ms("h2") == 80_000


def test_time_brings_announcements_a_call_back_and_overflow():
    waiting = queue(
        announce_every_ms=30_000, callback_after_ms=60_000, overflow_after_ms=90_000, overflow="fraud"
    )
    waiting.join(Entry("h1", "general", 0.0))
    assert waiting.due(29_999) == []
    assert waiting.due(30_000) == [Announce("h1", 1, None)]
    assert waiting.due(30_001) == []
    assert waiting.due(60_000) == [OfferCallback("h1"), Announce("h1", 1, None)]
    assert waiting.due(90_000) == [Overflow("h1", "fraud")]
    assert waiting.waiting() == []


def test_a_full_queue_overflows_at_once():
    waiting = queue(max_waiting=1)
    assert waiting.join(Entry("h1", "general", 0.0)) is None
    assert waiting.join(Entry("h1", "general", 0.0)) is None
    assert waiting.join(Entry("h2", "general", 0.0)) == Overflow("h2", "")


def context(handoff_id, call_id="c1", name="general"):
    return HandoffContext(handoff_id=handoff_id, call_id=call_id, queue=name, caller="+44", summary="s")


def test_what_waits_survives_a_restart_in_order(tmp_path):
    """Another object over the same file, as after a restart, sees the same queue."""
    store = HandoffStore(tmp_path)
    store.join(context("h1"), priority="normal", now_s=100.0)
    store.join(context("h2"), priority="high", now_s=200.0)
    store.join(context("h1"), priority="normal", now_s=300.0)
    again = HandoffStore(tmp_path)
    assert [(r.handoff_id, r.joined_s) for r in again.rows(open_only=True)] == [
        ("h2", 200.0),
        ("h1", 100.0),
    ]
    assert again.get("h1").context == context("h1")
    assert again.get("none") is None


def test_two_processes_that_claim_get_one_yes(tmp_path):
    """Ten claims at the same time by ten connections: one wins."""
    HandoffStore(tmp_path).join(context("h1"), priority="normal")
    stores = [HandoffStore(tmp_path) for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        won = list(pool.map(lambda n: stores[n].claim("h1", f"a{n}"), range(10)))
    assert sum(won) == 1
    row = stores[0].get("h1")
    assert row.state == "taken" and row.taken_by == f"a{won.index(True)}"


def test_a_row_goes_through_its_states_and_the_first_outcome_stays(tmp_path):
    store = HandoffStore(tmp_path)
    store.join(context("h1"), priority="normal", now_s=10.0)
    assert (
        store.claim("h1", "ann", now_s=40.0)
        and store.put_back("h1")
        and store.claim("h1", "bob", now_s=50.0)
    )
    assert store.get("h1").waited_s(999.0) == 40.0
    assert store.note("h1", "ask for the address") and not store.note("h9", "x")
    store.talking("h1")
    assert not store.put_back("h1")
    store.end("h1", "bridged", "colleague hung up", 200)
    store.end("h1", "failed", "late", 500)
    row = store.get("h1")
    assert (row.state, row.outcome, row.code, row.note) == (
        "over",
        "bridged",
        200,
        "ask for the address",
    )
    assert store.rows(open_only=True) == [] and len(store.rows()) == 1


def test_after_a_crash_entries_of_dead_calls_are_closed(tmp_path):
    """No queue entry leaks."""
    store = HandoffStore(tmp_path)
    store.join(context("h1", "c1"), priority="normal")
    store.join(context("h2", "c2"), priority="normal")
    assert store.close_open(frozenset({"c2"})) == 1
    assert store.end_call("c9") == 0
    assert [r.handoff_id for r in store.rows(open_only=True)] == ["h2"]
    assert store.end_call("c2") == 1 and store.rows(open_only=True) == []


def test_a_call_back_is_asked_once_and_done_once(tmp_path):
    store = HandoffStore(tmp_path)
    store.ask_callback("h1", "+442071838750", "general")
    store.ask_callback("h1", "+442071838750", "general")
    (entry,) = store.callbacks()
    assert store.callback_done(entry.callback_id, "ann") and not store.callback_done(
        entry.callback_id, "bob"
    )
    assert store.callbacks() == []


def test_a_file_that_is_no_database_is_a_store_error(tmp_path):
    (tmp_path / "handoffs.db").write_bytes(b"no database, but long enough to be read as one" * 50)
    with pytest.raises(SessionStoreError):
        HandoffStore(tmp_path)


def test_places_and_waits_come_from_the_record(tmp_path):
    """Per queue, priority first; the wait is known once three conversations are."""
    store = HandoffStore(tmp_path)
    for number in range(3):
        store.join(context(f"old{number}", "gone"), priority="normal", now_s=0.0)
        store.claim(f"old{number}", "ann", now_s=time.time() - 60)
        store.end(f"old{number}", "bridged", "done", 200)
    store.join(context("h1", "c1"), priority="normal", now_s=1.0)
    store.join(context("h2", "c2"), priority="high", now_s=2.0)
    store.join(context("h3", "c3", "fraud"), priority="normal", now_s=3.0)
    store.join(context("h4", "c4"), priority="normal", now_s=4.0)
    store.claim("h4", "ann")
    places = places_of(store)
    assert {call: place for call, (place, _) in places.items()} == {"c2": 1, "c1": 2, "c3": 1}
    assert 58 <= places["c2"][1] <= 65 and places["c3"][1] is None
