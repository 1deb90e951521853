"""A call that changes its worker: no tool is called twice, and the worker that was replaced falls silent."""

import asyncio

import msgspec
import pytest
import structlog

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.dialogue.actions import CallTool, StoreTurn
from voicebot.dialogue.events import ToolFinished
from voicebot.link.messages import Acknowledge, Answer, Resume, Start
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.memory_store import MemorySessionStore
from voicebot.worker.call_session import CallSession, Engines
from voicebot.worker.effects import CallState, LinkLost, Persist, SaveState, ToEdge
from voicebot.worker.journal import CallJournal

PAY = CallTool(request="r1", tool="pay", arguments={"pin": "4321"}, idempotency_key="s1:pay:1")
PAID = ToolFinished(request="r1", outcome="ok", values={"receipt": "7"})


def start(lease=0):
    resume = Resume(session_id="s1", lease=lease, silent=True) if lease else None
    return Start(call_id="c1", session_id="s1", edge="127.0.0.1:5060", resume=resume)


async def journal(store, folder, lease=0):
    made = CallJournal(store, CallDetailLog(folder), "bank", orphan_grace_s=0.05)
    await made.started(start(lease))
    return made


@pytest.fixture
async def store():
    made = MemorySessionStore()
    await made.start()
    yield made
    await made.close()


async def test_the_next_worker_is_told_what_came_of_the_tool(store, tmp_path):
    """Called, noted, then the worker dies: the answer comes out of the store; arguments are not kept."""
    first = await journal(store, tmp_path)
    assert await first.begin_tool(PAY, may_repeat=False) is None
    await first.finish_tool(PAY, PAID)
    second = await journal(store, tmp_path, lease=1)
    again = msgspec.structs.replace(PAY, request="r9")
    assert await second.begin_tool(again, may_repeat=False) == msgspec.structs.replace(
        PAID, request="r9"
    )
    (effect,) = (await store.load("s1")).effects
    assert b"4321" not in effect.payload


@pytest.mark.parametrize(("may_repeat", "outcome"), [(True, None), (False, "error")])
async def test_a_tool_that_may_have_been_called_is_repeated_only_when_that_is_harmless(
    store, tmp_path, may_repeat, outcome
):
    """The worker dies between the call and its answer."""
    first = await journal(store, tmp_path)
    await first.begin_tool(PAY, may_repeat=False)
    second = await journal(store, tmp_path, lease=1)
    known = await second.begin_tool(PAY, may_repeat=may_repeat)
    assert (known.outcome if known else None) == outcome
    with pytest.raises(StaleLeaseError):  # the first one wakes up
        await (await journal(store, tmp_path)).begin_tool(PAY, may_repeat=True)


class FakeLink:
    """Gives messages, then stays open until it is aborted."""

    def __init__(self, *messages):
        self.on_incoming = None
        self.messages = list(messages)
        self.sent = []
        self.aborted = asyncio.Event()

    @property
    def exhausted(self):
        return self.aborted.is_set() and not self.messages

    @property
    def waiting(self):
        return len(self.messages)

    def poll(self):
        return self.messages.pop(0) if self.messages else None

    async def send(self, message):
        if not self.aborted.is_set():
            self.sent.append(message)

    async def abort(self):
        self.aborted.set()


class OneTurn:
    """A core that answers the start with a turn, speech and a tool."""

    over = False
    listens_to_secret = False
    echo_return_loss_db = None

    def next_deadline_ms(self):
        return None

    def handle(self, item, now_ms):
        if isinstance(item, LinkLost):
            self.over = True
            return []
        if not isinstance(item, Start):
            return []
        turn = StoreTurn(turn=0, who="caller", text="pay it")
        return [Persist(turn), ToEdge(Answer(request="a")), PAY]


class LateStore(MemorySessionStore):
    """Takes a turn only when it is let."""

    def __init__(self):
        super().__init__()
        self.may_write = asyncio.Event()

    async def append_turn(self, *turn, **lease):
        await self.may_write.wait()
        await super().append_turn(*turn, **lease)


class OneTurnAcknowledged(OneTurn):
    """A core that tells the edge to forget what is stored, and goes on talking."""

    def handle(self, item, now_ms):
        if not isinstance(item, Start):
            return super().handle(item, now_ms)
        turn = StoreTurn(turn=0, who="caller", text="pay it")
        return [Persist(turn), ToEdge(Acknowledge(frame=7)), ToEdge(Answer(request="a"))]


async def test_the_edge_keeps_what_a_slow_store_has_not_taken_yet(tmp_path, monkeypatch):
    """The call goes on meanwhile; the acknowledgement follows the write, however late that is."""
    monkeypatch.setattr("voicebot.worker.call_session.STORE_LIMIT_S", 0.001)
    store = LateStore()
    await store.start()
    link = FakeLink(start())
    own = CallJournal(store, CallDetailLog(tmp_path), "bank", orphan_grace_s=0.05)
    engines = Engines(recognise=None, speak=None, call_tool=None, ask_router=None)
    session = CallSession(link, OneTurnAcknowledged(), engines, own, restore=None)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(session.run())
        while not link.sent:
            await asyncio.sleep(0.001)
        assert [type(m) for m in link.sent] == [Answer]
        store.may_write.set()
        while len(link.sent) < 2:
            await asyncio.sleep(0.001)
        assert [type(m) for m in link.sent] == [Answer, Acknowledge]
        assert len((await store.load("s1")).turns) == 1
        link.aborted.set()
        link.on_incoming()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_worker_that_was_replaced_neither_speaks_nor_calls(store, tmp_path, replaced):
    """It hung for a moment, the edge went to another worker, it wakes up in the middle of a turn."""
    called = []

    async def call_tool(call, said):
        called.append(call.tool)
        link.aborted.set()
        return PAID

    link = FakeLink(start())
    engines = Engines(recognise=None, speak=None, call_tool=call_tool, ask_router=None)
    own = CallJournal(store, CallDetailLog(tmp_path), "bank", orphan_grace_s=0.05)
    if replaced:
        await journal(store, tmp_path, lease=1)
    session = CallSession(link, OneTurn(), engines, own, restore=None)
    async with asyncio.timeout(5):
        await session.run()
    assert called == ([] if replaced else ["pay"])
    assert bool(link.sent) is not replaced
    records = list(CallDetailLog(tmp_path).read())
    assert [r.reason for r in records] == ([] if replaced else ["worker stopped"])
    assert (await store.load("s1")).turns == ({} if replaced else (await store.load("s1")).turns)


class StumblesOverASecret(OneTurn):
    """A fault of ours, with what the caller keyed in among its words."""

    def handle(self, item, now_ms):
        passcode = "8642x"
        return [int(passcode)]


async def test_a_crash_dump_tells_where_and_nothing_of_the_caller(store, tmp_path):
    """The log names the line and the kind of error; the words of the error quote a passcode."""
    engines = Engines(recognise=None, speak=None, call_tool=None, ask_router=None)
    own = CallJournal(store, CallDetailLog(tmp_path), "bank", orphan_grace_s=0.05)
    session = CallSession(FakeLink(start()), StumblesOverASecret(), engines, own, restore=None)
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(5):
            await session.run()
    (failed,) = [line for line in lines if line["event"] == "call_failed"]
    assert failed["error"] == "ValueError"
    assert "in handle" in failed["exception"]
    assert "8642" not in repr(lines)
    assert [r.reason for r in CallDetailLog(tmp_path).read()] == ["internal error"]


async def test_a_worker_that_only_hung_still_says_what_came_of_its_tool(store, tmp_path):
    """Replaced while the tool was being called: its successor waits for the outcome instead of guessing."""
    first = await journal(store, tmp_path)
    await first.begin_tool(PAY, may_repeat=False)
    second = await journal(store, tmp_path, lease=1)
    waiting = asyncio.create_task(second.begin_tool(PAY, may_repeat=False))
    await asyncio.sleep(0)
    await first.finish_tool(PAY, PAID)
    assert await waiting == PAID


class StarvedStore(MemorySessionStore):
    """Does not answer in time at first, as on a machine that has no time."""

    refusals = 3

    async def load(self, session_id):
        if self.refusals:
            self.refusals -= 1
            raise SessionStoreError("planted: does not answer")
        return await super().load(session_id)


async def test_a_call_does_not_begin_anew_because_the_store_is_slow(tmp_path):
    """Found by random kills: one late answer of the store, and the conversation was thrown away."""
    store = StarvedStore()
    first = await journal(store, tmp_path)
    await first.state(SaveState(1, CallState(conversation={"turns": 1})))
    second = await journal(store, tmp_path, lease=1)
    state = await second.taken_over(start(1))
    assert state is not None
    assert state.conversation == {"turns": 1}


async def test_a_store_that_stays_away_begins_the_call_anew(tmp_path, monkeypatch):
    """The caller is not kept waiting for ever."""
    monkeypatch.setattr("voicebot.worker.journal.TAKE_OVER_LIMIT_S", 0.0)
    second = await journal(StarvedStore(), tmp_path, lease=1)
    assert await second.taken_over(start(1)) is None
