"""The contract of every session store. A further store is added to the fixture's parameters."""

import asyncio

import pytest

from tests.unit.redis_server import running_redis
from voicebot.core.errors import StaleLeaseError
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.records import Effect, SessionEnding, SessionRecord, TurnRecord
from voicebot.session.sqlite_store import SqliteSessionStore

RECORD = SessionRecord(
    session_id="s1",
    call_id="c1",
    caller="100",
    started_at="2026-01-02T03:04:05.000Z",
    recording="c1.wav",
)
ENDING = SessionEnding(ended_at="2026-01-02T03:05:00.000Z", ended_by="caller", reason="bye")


class Clock:
    """Passes when told so."""

    def __init__(self):
        self.now_ms = 1_000_000

    def __call__(self):
        return self.now_ms

    async def pass_ms(self, passed_ms):
        self.now_ms += passed_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def redis_server():
    with running_redis() as server:
        yield server


async def redis_store(server, clock):
    """A store in an empty server, whose leases run out when the test's clock says so."""
    from voicebot.session.redis_store import RedisSessionStore

    admin = server.admin()
    admin.flushall()

    async def pass_ms(passed_ms):
        for key in admin.keys("*lease:*"):
            admin.hincrby(key, "until_ms", -passed_ms)

    clock.pass_ms = pass_ms
    return RedisSessionStore(server.url)


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.peer)])
async def store(request, tmp_path, clock):
    match request.param:
        case "memory":
            made = MemorySessionStore(clock)
        case "sqlite":
            made = SqliteSessionStore(tmp_path / "data" / "sessions.db", clock_ms=clock)
        case _:
            made = await redis_store(request.getfixturevalue("redis_server"), clock)
    await made.start()
    yield made
    await made.close()


def said(text, **more):
    return TurnRecord(who="caller", text=text, **more)


async def test_a_conversation_comes_back_as_it_was_written(store):
    """Record, turns in order, state and ending are loaded again."""
    await store.open_session(RECORD)
    turns = {
        0: TurnRecord(who="bot", text="Welcome.", at_ms=0),
        1: said("balance", at_ms=1200, intent="balance", slots={"account": "12345678"}, confidence=0.5),
    }
    for turn, record in reversed(turns.items()):
        await store.append_turn("s1", turn, record)
    await store.save_state("s1", b'{"step":"balance"}', version=2)
    await store.end_session("s1", ENDING)
    loaded = await store.load("s1")
    assert loaded.turns == turns
    assert list(loaded.turns) == [0, 1]
    assert (loaded.state, loaded.state_version) == (b'{"step":"balance"}', 2)
    assert (loaded.record.caller, loaded.record.ended_by, loaded.record.reason) == (
        "100",
        "caller",
        "bye",
    )


async def test_an_unknown_session_is_none(store):
    """No session is not an error."""
    assert await store.load("nobody") is None


async def test_writing_everything_twice_changes_nothing(store):
    """Each write is idempotent: a takeover may repeat it."""

    async def write():
        await store.open_session(RECORD)
        await store.append_turn("s1", 0, said("yes"))
        await store.save_state("s1", b"{}", version=1)
        await store.end_session("s1", ENDING)
        await store.add_effect(Effect(key="e1", session_id="s1", kind="tool"))

    await write()
    once = await store.load("s1")
    await write()
    assert await store.load("s1") == once


async def test_opening_again_fills_gaps_only(store):
    """What was known stays, what was empty is filled."""
    await store.open_session(RECORD)
    await store.open_session(
        SessionRecord(session_id="s1", call_id="c2", answered_at="2026-01-02T03:04:06.000Z")
    )
    record = (await store.load("s1")).record
    assert (record.call_id, record.answered_at) == ("c1", "2026-01-02T03:04:06.000Z")


async def test_a_turn_is_replaced_not_doubled(store):
    """The key is session and turn number."""
    await store.open_session(RECORD)
    await store.append_turn("s1", 0, said("yes"))
    await store.append_turn("s1", 0, said("yes please"))
    assert [t.text for t in (await store.load("s1")).turns.values()] == ["yes please"]


async def test_an_older_state_does_not_win(store):
    """A late write of an old state is ignored."""
    await store.open_session(RECORD)
    await store.save_state("s1", b"new", version=2)
    await store.save_state("s1", b"old", version=1)
    assert (await store.load("s1")).state == b"new"


async def test_the_first_ending_stays(store):
    """Two ends of a call do not overwrite each other."""
    await store.open_session(RECORD)
    await store.end_session("s1", ENDING)
    await store.end_session("s1", SessionEnding(ended_at="2027", ended_by="supervisor", reason="late"))
    assert (await store.load("s1")).record.ended_by == "caller"


async def test_a_replaced_worker_is_fenced(store):
    """After a write with lease 2, every kind of write with lease 1 is refused and changes nothing."""
    await store.open_session(RECORD, lease=1)
    await store.add_effect(Effect(key="e1", session_id="s1", kind="tool", lease=1))
    await store.append_turn("s1", 0, said("two"), lease=2)
    for stale in (
        store.open_session(RECORD, lease=1),
        store.append_turn("s1", 0, said("one"), lease=1),
        store.save_state("s1", b"one", version=9, lease=1),
        store.end_session("s1", ENDING, lease=1),
        store.add_effect(Effect(key="e2", session_id="s1", kind="tool", lease=1)),
        store.claim_effect("e1", "w1", lease=1),
    ):
        with pytest.raises(StaleLeaseError):
            await stale
    loaded = await store.load("s1")
    assert (loaded.turns[0].text, loaded.state, loaded.record.ended_at) == ("two", b"", "")
    assert [(e.key, e.state) for e in loaded.effects] == [("e1", "pending")]
    assert loaded.lease == 2


async def test_an_effect_happens_once(store):
    """Only one owner is granted; once done, everybody gets the outcome."""
    await store.open_session(RECORD)
    effect = Effect(key="e1", session_id="s1", kind="tool", payload=b'{"a":1}')
    assert await store.add_effect(effect)
    assert not await store.add_effect(effect)
    assert (await store.claim_effect("e1", "w1")).verdict == "granted"
    assert (await store.claim_effect("e1", "w2")).verdict == "busy"
    await store.finish_effect("e1", b'{"ok":true}')
    await store.finish_effect("e1", b'{"ok":false}')
    claim = await store.claim_effect("e1", "w2", lease=1)
    assert (claim.verdict, claim.effect.outcome, claim.effect.payload) == (
        "done",
        b'{"ok":true}',
        b'{"a":1}',
    )


async def test_an_effect_of_a_dead_worker_is_in_doubt(store):
    """The holder of a newer lease gets it, told that it may have happened; then the old one is out."""
    await store.open_session(RECORD)
    await store.add_effect(Effect(key="e1", session_id="s1", kind="transfer"))
    await store.claim_effect("e1", "w1", lease=1)
    claim = await store.claim_effect("e1", "w2", lease=2)
    assert (claim.verdict, claim.effect.owner, claim.effect.lease) == ("in_doubt", "w2", 2)
    with pytest.raises(StaleLeaseError):
        await store.claim_effect("e1", "w1", lease=1)


async def test_an_effect_that_was_never_planned_is_unknown(store):
    """Neither claim nor finish invents one."""
    assert (await store.claim_effect("e9", "w1")).verdict == "unknown"
    assert not await store.finish_effect("e9", b"{}")
    assert await store.add_effect(Effect(key="e9", session_id="s1", kind="tool"))
    assert await store.finish_effect("e9", b"{}")
    assert await store.finish_effect("e9", b"{}")


async def test_recent_sessions_come_newest_first(store):
    """Listing is by start, may be narrowed to a caller and to open sessions, and is limited."""
    for number, caller in enumerate(["100", "200", "100"]):
        await store.open_session(
            SessionRecord(
                session_id=f"s{number}",
                call_id=f"c{number}",
                caller=caller,
                started_at=f"2026-01-0{number + 1}T00:00:00.000Z",
            )
        )
    await store.end_session("s2", ENDING)

    async def ids(**how):
        return [r.session_id for r in await store.recent(**how)]

    assert await ids() == ["s2", "s1", "s0"]
    assert await ids(limit=1) == ["s2"]
    assert await ids(caller="100") == ["s2", "s0"]
    assert await ids(caller="100", open_only=True) == ["s0"]


async def test_purge_deletes_what_is_old_and_ended(store):
    """Retention leaves open and newer sessions; the recordings to delete are named."""
    for number in range(3):
        await store.open_session(
            SessionRecord(
                session_id=f"s{number}",
                call_id=f"c{number}",
                caller="1",
                recording=f"c{number}.wav",
                started_at=f"2026-01-0{number + 1}T00:00:00.000Z",
            )
        )
        await store.append_turn(f"s{number}", 0, said("x"))
    await store.add_effect(Effect(key="e0", session_id="s0", kind="tool"))
    await store.end_session("s0", ENDING)
    await store.end_session("s2", ENDING)
    assert (await store.purge()).sessions == ()
    purged = await store.purge(older_than="2026-01-03T00:00:00.000Z")
    assert (purged.sessions, purged.recordings) == (("s0",), ("c0.wav",))
    assert await store.load("s0") is None
    assert await store.add_effect(Effect(key="e0", session_id="s9", kind="tool"))
    assert len((await store.load("s1")).turns) == 1


async def test_a_caller_can_be_erased(store):
    """All of one caller goes, ended or not; others stay."""
    await store.open_session(RECORD)
    await store.open_session(SessionRecord(session_id="s2", call_id="c2", caller="200"))
    assert (await store.purge(caller="100")).sessions == ("s1",)
    assert [r.session_id for r in await store.recent()] == ["s2"]


async def test_a_lease_has_one_holder_until_it_runs_out(store, clock):
    """Somebody else waits for the end of the lease; what he then gets fences the old holder."""
    await store.open_session(RECORD)
    assert await store.acquire_lease("s1", "w1", 1000) == 1
    assert await store.acquire_lease("s1", "w2", 1000) is None
    await clock.pass_ms(900)
    assert await store.renew_lease("s1", "w1", 1, 1000)
    await clock.pass_ms(900)
    assert await store.acquire_lease("s1", "w2", 1000) is None
    await clock.pass_ms(200)
    assert await store.acquire_lease("s1", "w2", 60_000) == 2
    assert not await store.renew_lease("s1", "w1", 1, 1000)
    with pytest.raises(StaleLeaseError):
        await store.append_turn("s1", 0, said("late"), lease=1)
    await store.append_turn("s1", 0, said("now"), lease=2)
    assert await store.acquire_lease("s1", "w2", 1000) == 3


async def test_a_released_lease_is_free_at_once_and_still_fences(store):
    """Release lets the next one acquire; numbers never go back."""
    lease = await store.acquire_lease("s1", "w1", 60_000)
    await store.release_lease("s1", "w2", lease)
    assert await store.acquire_lease("s1", "w2", 1000) is None
    await store.release_lease("s1", "w1", lease)
    assert await store.acquire_lease("s1", "w2", 1000) == lease + 1


async def test_a_newer_writer_ends_a_lease(store):
    """A takeover that the edge numbered itself is no longer held by the one before."""
    assert await store.acquire_lease("s1", "w1", 60_000) == 1
    await store.append_turn("s1", 0, said("x"), lease=2)
    assert not await store.renew_lease("s1", "w1", 1, 60_000)
    assert await store.acquire_lease("s1", "supervisor", 1000) == 3


async def test_sessions_of_a_dead_edge_are_found(store):
    """The supervisor asks for the open sessions of one edge."""
    for number, edge in enumerate(("e1", "e2", "e1")):
        await store.open_session(SessionRecord(session_id=f"s{number}", call_id=f"c{number}", edge=edge))
    await store.end_session("s0", ENDING)
    assert [r.session_id for r in await store.recent(edge="e1", open_only=True)] == ["s2"]


async def test_hostile_text_is_stored_clean(store):
    """Control and bidi characters and lone surrogates are replaced, cards redacted, secrets hidden."""
    await store.open_session(SessionRecord(session_id="s1", call_id="c1", caller="1\x00\x1b[2J\ud800"))
    await store.append_turn("s1", 0, said("a\u202eb\ud83d my card is 4111 1111 1111 1111"))
    await store.append_turn("s1", 1, said("9876", slots={"pin": "9876"}, sensitive=True))
    loaded = await store.load("s1")
    assert loaded.record.caller == "1\ufffd\ufffd[2J\ufffd"
    assert loaded.turns[0].text == "a\ufffdb\ufffd my card is [card]"
    assert (loaded.turns[1].text, loaded.turns[1].slots) == ("[redacted]", {"pin": "[redacted]"})


async def test_many_writers_at_once(store):
    """Two hundred concurrent turns of ten sessions all arrive."""
    await asyncio.gather(
        *(
            store.open_session(SessionRecord(session_id=f"s{n}", call_id=f"c{n}", caller="1"))
            for n in range(10)
        )
    )
    await asyncio.gather(*(store.append_turn(f"s{n % 10}", n // 10, said(str(n))) for n in range(200)))
    for n in range(10):
        assert len((await store.load(f"s{n}")).turns) == 20
