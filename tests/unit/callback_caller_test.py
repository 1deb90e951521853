"""Call backs: asked for once, placed at most once a try, bounded, and what became of them is written down."""

import asyncio
import contextlib
import sqlite3

import pytest

from voicebot.config.settings import HandoffSettings
from voicebot.core.errors import OverloadError
from voicebot.handoff.callback_store import SHOWN_AFTER_S, CallbackStore
from voicebot.handoff.callbacks import callback_of
from voicebot.handoff.context import HandoffContext
from voicebot.handoff.queue import Agent
from voicebot.handoff.queue_store import HandoffStore
from voicebot.link.messages import NO_CALL_SLOT, Result, Start
from voicebot.worker.callback_caller import ANSWER_GRACE_S, CallbackCaller
from voicebot.worker.handoff_call import HandoffRules, QueueTarget

NUMBER = "+442071838750"
NOW_S = 1_000_000.0
SETTINGS = HandoffSettings(
    callback_trunk="trunk.example", callback_tries=2, callback_retry_s=60, callback_ring_s=20
)


class World:
    """One worker on virtual time: the edge answers from a list."""

    def __init__(self, folder, answers=(), settings=SETTINGS, closed=False, refuse=""):
        self.now_s = NOW_S
        self.answers = list(answers)
        self.orders = []
        self.store = CallbackStore(folder)
        self.queue = HandoffStore(folder)
        self.rules = HandoffRules(
            settings,
            (QueueTarget("general", ("sip:2000@127.0.0.1",), closed=closed, skills=("cards",)),),
            may_call=lambda uri: refuse,
            may_call_back=lambda number: number == NUMBER,
        )
        self.caller = CallbackCaller(
            folder, settings, lambda: self.rules, lambda: (), self.originate, lambda: self.now_s
        )

    async def originate(self, order):
        self.orders.append(order)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def look(self, after_s=0.0):
        self.now_s += after_s
        await self.caller.look()
        (callback,) = self.store.listed(self.now_s)
        return callback


def ask(world, number=NUMBER):
    context = HandoffContext(handoff_id="h1", call_id="c1", called="bank", queue="general")
    world.queue.join(context, priority="normal")
    world.queue.end("h1", "returned", "asked to be called back", 0)
    world.store.ask("h1", number, "general", due_s=NOW_S + 20)
    world.store.ask("h1", number, "general", due_s=NOW_S)


def busy(code=486):
    return Result(request="", ok=False, code=code, reason="Busy Here")


async def test_the_order_names_who_where_and_how_long(tmp_path):
    world = World(tmp_path, [Start(call_id="c2", session_id="s2")])
    ask(world)
    assert (await world.look()).state == "scheduled" and not world.orders  # he has just hung up
    callback = await world.look(21)
    (order,) = world.orders
    assert (order.uri, order.caller, order.called) == (f"sip:{NUMBER}@trunk.example", NUMBER, "bank")
    assert (order.queue, order.timeout_s) == ("general", 20)
    assert callback_of(order.request) == callback.callback_id
    assert (callback.state, callback.call_id, callback.tries) == ("answered", "c2", 1)
    await world.look(1000)
    assert len(world.orders) == 1


@pytest.mark.parametrize(
    ("code", "outcome"), [(486, "busy"), (603, "declined"), (480, "no answer"), (487, "no answer")]
)
async def test_tries_are_bounded_and_apart(tmp_path, code, outcome):
    world = World(tmp_path, [busy(code), busy(code)])
    ask(world)
    first = await world.look(21)
    assert (first.state, first.history[-1].outcome) == ("scheduled", outcome)
    assert first.due_s == NOW_S + 81
    await world.look(59)
    assert len(world.orders) == 1
    second = await world.look(1)
    assert (second.state, len(second.history)) == ("given_up", 2)
    await world.look(10_000)
    assert len(world.orders) == 2
    assert world.orders[0].request != world.orders[1].request


async def test_a_number_that_does_not_exist_is_not_tried_again(tmp_path):
    world = World(tmp_path, [busy(404)])
    ask(world)
    assert (await world.look(21)).state == "given_up"


async def test_a_full_edge_costs_no_try(tmp_path):
    """Neither does having no edge at all: nothing was sent."""
    full = Result(request="", ok=False, code=503, reason=NO_CALL_SLOT)
    world = World(tmp_path, [full, OverloadError("none"), busy()])
    ask(world)
    for _ in range(2):
        callback = await world.look(21)
        assert (callback.state, callback.tries, callback.history) == ("scheduled", 0, ())
    assert (await world.look(21)).tries == 1


async def test_nobody_is_called_twice_after_a_crash(tmp_path):
    """The worker dies while it rings: the try is unclear, and only a person may order another one."""
    world = World(tmp_path, [asyncio.CancelledError()])
    ask(world)
    with pytest.raises(asyncio.CancelledError):
        await world.look(21)
    after = World(tmp_path, [busy()])
    after.now_s = world.now_s
    assert (await after.look()).state == "calling"
    assert (await after.look(20 + ANSWER_GRACE_S + 1)).state == "unclear"
    assert (await after.look(10_000)).state == "unclear" and not after.orders
    assert after.store.again(1, after.now_s)
    assert (await after.look()).history[-1].outcome == "busy"
    assert len(after.orders) == 1 and after.orders[0].request != world.orders[0].request


async def test_an_outcome_that_nobody_knows_is_unclear(tmp_path):
    world = World(tmp_path, [None])
    ask(world)
    assert (await world.look(21)).state == "unclear"
    await world.look(10_000)
    assert len(world.orders) == 1


async def test_of_two_workers_one_calls(tmp_path):
    world, other = World(tmp_path, [busy()]), World(tmp_path)
    ask(world)
    read = world.store.open()[0]
    assert world.store.claim(read, NOW_S + 21, NOW_S + 60)
    assert not other.store.claim(read, NOW_S + 21, NOW_S + 60)
    await other.look(22)
    assert not other.orders


async def test_the_rules_of_now_count(tmp_path):
    """A number of a country that is no longer allowed, a host that is not, a queue that is closed."""
    for world, state in (
        (World(tmp_path / "a"), "given_up"),
        (World(tmp_path / "b", refuse="the host is not on the list"), "given_up"),
        (World(tmp_path / "c", closed=True), "scheduled"),
    ):
        ask(world, "+8816000" if world.store._path.parent.name == "a" else NUMBER)
        assert (await world.look(21)).state == state
        assert not world.orders


async def test_with_colleagues_at_the_console_it_waits_for_a_free_one(tmp_path):
    """One who is able, available, and has nobody else waiting; "Call now" does not ask."""
    settings = SETTINGS.model_copy(update={"agents": "console"})
    world = World(tmp_path, [busy(), busy()], settings)
    ask(world)
    await world.look(21)
    world.queue.set_agent(Agent("bob", "available", frozenset()))
    world.queue.set_agent(Agent("ann", "busy", frozenset({"cards"})))
    await world.look()
    assert not world.orders
    world.queue.set_agent(Agent("ann", "available", frozenset({"cards"})))
    waiting = HandoffContext(handoff_id="h2", call_id="c2", queue="general")
    world.queue.join(waiting, priority="normal")
    await world.look()
    assert not world.orders
    world.queue.end("h2", "bridged", "", 200)
    await world.look()
    assert len(world.orders) == 1
    world.queue.set_agent(Agent("ann", "away", frozenset({"cards"})))
    assert world.store.again(1, world.now_s)
    await world.look()
    assert len(world.orders) == 2


def test_done_once_and_shown_for_a_day(tmp_path):
    store = CallbackStore(tmp_path)
    store.ask("h1", NUMBER, "general")
    (callback,) = store.open()
    assert store.done(callback.callback_id, "ann") and not store.done(callback.callback_id, "bob")
    assert store.open() == [] and not store.again(callback.callback_id, NOW_S)
    (done,) = store.listed(callback.asked_s + 60)
    assert (done.state, done.done_by) == ("done", "ann")
    assert store.listed(callback.asked_s + SHOWN_AFTER_S + 60) == []


def test_a_file_of_an_earlier_version_gets_its_new_columns(tmp_path):
    old = "CREATE TABLE callbacks (callback_id INTEGER PRIMARY KEY, handoff_id TEXT NOT NULL,"
    old += " number TEXT NOT NULL, queue TEXT NOT NULL, asked_s REAL NOT NULL, done_s REAL,"
    old += " done_by TEXT NOT NULL DEFAULT '')"
    with contextlib.closing(sqlite3.connect(tmp_path / "handoffs.db")) as db:
        db.execute(old)
        db.execute(
            "INSERT INTO callbacks (handoff_id, number, queue, asked_s) VALUES ('h', '1', 'q', 1)"
        )
        db.commit()
    assert [c.state for c in CallbackStore(tmp_path).open()] == ["scheduled"]
