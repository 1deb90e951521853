"""Who waits, who takes whom, and that it all survives a restart."""

import concurrent.futures
import contextlib
import sqlite3
import time

import pytest

from voicebot.core.errors import SessionStoreError
from voicebot.handoff.context import HandoffContext
from voicebot.handoff.live_queue import queue_on_disk
from voicebot.handoff.queue import (
    DEFAULT_HANDLE_MS,
    Agent,
    Announce,
    CallerQueue,
    Entry,
    OfferCallback,
    Overflow,
    QueueRules,
)
from voicebot.handoff.queue_store import HandoffStore
from voicebot.worker.waiting_calls import WaitingCalls


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
    assert waiting.due(60_000) == [OfferCallback("h1")]
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


def test_a_file_that_is_no_database_is_a_store_error(tmp_path):
    (tmp_path / "handoffs.db").write_bytes(b"no database, but long enough to be read as one" * 50)
    with pytest.raises(SessionStoreError):
        HandoffStore(tmp_path)


def test_places_and_waits_come_from_the_record(tmp_path):
    """Per queue, priority first; the wait is known once three conversations and a colleague are."""
    store = HandoffStore(tmp_path)
    now_s = time.time()
    for number in range(3):
        store.join(context(f"old{number}", "gone"), priority="normal", now_s=0.0)
        store.claim(f"old{number}", "ann", now_s=now_s - 60)
        store.end(f"old{number}", "bridged", "done", 200)
    store.join(context("h1", "c1"), priority="normal", now_s=now_s - 4)
    store.join(context("h2", "c2"), priority="high", now_s=now_s - 3)
    store.join(context("h3", "c3", "fraud"), priority="normal", skills=["fraud"], now_s=now_s - 2)
    store.join(context("h4", "c4"), priority="normal", now_s=now_s - 1)
    store.claim("h4", "ann")
    store.set_agent(Agent("ann", "available", frozenset({"fraud"})))
    waiting, leaving = queue_on_disk(HandoffStore(tmp_path))
    places = {name: waiting.position(name) for name in ("h1", "h2", "h3", "h4")}
    assert places == {"h1": 2, "h2": 1, "h3": 1, "h4": None} and leaving == []
    assert waiting.agents() == [Agent("ann", "busy", frozenset({"fraud"}))]
    assert 110_000 <= waiting.estimated_wait_ms("h1") <= 130_000
    assert waiting.estimated_wait_ms("h3") == DEFAULT_HANDLE_MS


def test_who_declines_is_not_asked_again_even_after_a_restart(tmp_path):
    store = HandoffStore(tmp_path)
    store.join(context("h1"), priority="normal")
    store.set_agent(Agent("ann", "available"))
    store.set_agent(Agent("bob", "available"))
    assert store.claim("h1", "ann") and store.decline("h1", "ann")
    waiting, _ = queue_on_disk(HandoffStore(tmp_path))
    assert waiting.offers("ann") == [] and [e.handoff_id for e in waiting.offers("bob")] == ["h1"]
    store.talking("h1")
    assert not store.decline("h1", "bob") and not store.decline("h9", "bob")


def test_a_file_of_an_earlier_version_gets_its_new_columns(tmp_path):
    old = "CREATE TABLE handoffs (handoff_id TEXT PRIMARY KEY, queue TEXT, priority TEXT, state TEXT,"
    old += (
        " joined_s REAL, taken_by TEXT DEFAULT '', taken_s REAL, ended_s REAL, outcome TEXT DEFAULT '',"
    )
    old += " reason TEXT DEFAULT '', code INTEGER DEFAULT 0, note TEXT DEFAULT '', context TEXT)"
    with contextlib.closing(sqlite3.connect(tmp_path / "handoffs.db")) as db:
        db.execute(old)
    store = HandoffStore(tmp_path)
    store.join(context("h1"), priority="normal", skills=("fraud",))
    assert store.get("h1").skills == ("fraud",)


def told(commands):
    return [(call, c.command, c.position, c.uri) for call, c in commands]


def test_the_callers_of_a_worker_are_told_what_is_due(tmp_path):
    """Place, call back, overflow, each at its time; callers of other workers are not ours to tell."""
    store = HandoffStore(tmp_path)
    rules = QueueRules("general", callback_after_ms=50_000, overflow_after_ms=100_000, overflow="fraud")
    now_s = 1000
    # Of the time of day nothing is believed: it may have jumped since.
    store.join(context("h1", "c1"), priority="normal", now_s=9e9, now_boot_ms=1_000_000)
    store.join(context("h2", "c2"), priority="normal", now_s=0.0, now_boot_ms=1_000_000)
    waiting = WaitingCalls(store, lambda: (rules,), lambda: now_s * 1000)
    assert waiting.look({"h2": "c2"}) == []
    now_s += 30
    assert told(waiting.look({"h2": "c2"})) == [("c2", "place", 2, "")]
    now_s += 1
    assert waiting.look({"h2": "c2"}) == []
    now_s += 20
    assert told(waiting.look({"h2": "c2"})) == [("c2", "offer_callback", 0, "")]
    now_s += 28
    assert waiting.look({"h2": "c2"}) == []
    now_s += 22
    assert told(waiting.look({"h2": "c2"})) == [("c2", "overflow", 0, "fraud")]
    store.move("h2", "fraud", ("fraud",))
    assert store.get("h2").queue == "fraud" and store.get("h2").skills == ("fraud",)


def test_the_last_of_a_full_queue_overflows(tmp_path):
    store = HandoffStore(tmp_path)
    rules = QueueRules("general", max_waiting=1, overflow="fraud")
    store.join(context("h1", "c1"), priority="normal", now_boot_ms=10_000)
    store.join(context("h2", "c2"), priority="normal", now_boot_ms=11_000)
    waiting = WaitingCalls(store, lambda: (rules,), lambda: 12_000)
    assert told(waiting.look({"h1": "c1", "h2": "c2"})) == [("c2", "overflow", 0, "fraud")]
