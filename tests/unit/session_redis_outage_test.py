"""Redis down, slow, read-only (reliability line 26): the call goes on, nothing is lost."""

import asyncio
import signal

import pytest

from tests.unit.redis_server import running_redis
from voicebot.core.errors import SessionStoreError
from voicebot.session.journalled_store import JournalledSessionStore
from voicebot.session.records import SessionRecord, TurnRecord

pytestmark = pytest.mark.peer


@pytest.fixture
def server():
    # "everysec" puts writes off for up to 2 s while the disk is slow: what it confirmed then dies with it.
    with running_redis("--appendonly", "yes", "--appendfsync", "no") as running:
        yield running


@pytest.fixture
async def store(server, tmp_path):
    from voicebot.session.redis_store import RedisSessionStore

    made = JournalledSessionStore(RedisSessionStore(server.url), tmp_path)
    await made.start()
    await made.open_session(SessionRecord(session_id="s1", call_id="c1"))
    yield made
    await made.close()


async def write(store, numbers):
    for n in numbers:
        await store.append_turn("s1", n, TurnRecord(who="caller", text=str(n)))


async def recovered(store):
    async with asyncio.timeout(20):
        while store.degraded:
            await asyncio.sleep(0.02)


async def all_there(store):
    await recovered(store)
    loaded = await store.load("s1")
    assert [t.text for t in loaded.turns.values()] == [str(n) for n in range(20)]
    assert store.statistics.lost_writes == 0


async def test_redis_dies_and_comes_back(store, server):
    """Kill -9 in mid-call: later turns wait in the journal and are written after the restart."""
    await write(store, range(5))
    server.kill()
    await write(store, range(5, 15))
    assert store.degraded
    with pytest.raises(SessionStoreError):
        await store.load("s1")
    await asyncio.to_thread(server.start)
    await write(store, range(15, 20))
    await all_there(store)


async def test_redis_stands_still(store, server):
    """SIGSTOP: the first turn waits its 35 ms, the others do not."""
    await write(store, range(5))
    server.signal(signal.SIGSTOP)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await write(store, range(5, 20))
    took_s = loop.time() - began
    server.signal(signal.SIGCONT)
    assert took_s < 1.0  # 15 turns; each alone would have waited for its limit
    await all_there(store)


async def test_redis_is_read_only(store, server):
    """A replica without its master refuses writes; once it is master again they arrive."""
    await write(store, range(5))
    server.admin().replicaof("127.0.0.1", "1")
    await write(store, range(5, 20))
    assert store.degraded
    server.admin().replicaof("NO", "ONE")
    await all_there(store)


async def test_redis_is_full(store, server):
    """Maxmemory with noeviction refuses writes and throws nothing away."""
    await write(store, range(5))
    server.admin().config_set("maxmemory", 1)
    await write(store, range(5, 20))
    assert store.degraded
    server.admin().config_set("maxmemory", 0)
    await all_there(store)


async def test_a_write_that_no_replica_confirms_is_journalled(server, tmp_path):
    """With replicas=1 and none there, a write does not count as done."""
    from voicebot.session.redis_store import RedisSessionStore

    store = RedisSessionStore(server.url, replicas=1)
    waiting = asyncio.create_task(store.open_session(SessionRecord(session_id="s1", call_id="c1")))
    with pytest.raises(SessionStoreError):
        await asyncio.wait_for(waiting, 10)
    await store.close()


async def test_credentials_stay_out_of_errors(server):
    """A wrong password is refused; what is told of it does not contain it."""
    from voicebot.session.redis_store import RedisSessionStore

    server.admin().config_set("requirepass", "right-secret")
    store = RedisSessionStore(f"{server.url}?password=canary-secret")
    with pytest.raises(SessionStoreError) as caught:
        await store.start()
    assert "canary" not in str(caught.value)
    await store.close()
