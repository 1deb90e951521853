"""The writes of one call: in order, waited for so long, none given up."""

import asyncio

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.worker.ordered_writes import OrderedWrites

LONG_S = 60


class Store:
    """Notes what was written; waits for `may_write`."""

    def __init__(self):
        self.written = []
        self.failures = []
        self.may_write = asyncio.Event()

    async def write(self, what):
        await self.may_write.wait()
        if isinstance(what, Exception):
            raise what
        self.written.append(what)

    async def failed(self, error):
        self.failures.append(error)


async def test_what_is_late_is_written_all_the_same_and_in_order():
    """A turn that the store did not take in time was cancelled once, and lost with the next takeover."""
    store = Store()
    writes = OrderedWrites(0.001, store.failed)
    assert not await writes.put(store.write(1))
    assert not await writes.put(store.write(2))
    store.may_write.set()
    await writes.put(store.write(3))
    await writes.settled()
    assert store.written == [1, 2, 3]


async def test_the_end_of_the_call_waits_for_what_is_late():
    """The session is closed behind its last turn, even when the call's own task is cancelled."""
    store = Store()
    writes = OrderedWrites(LONG_S, store.failed)
    call = asyncio.create_task(writes.put(store.write("last")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})
    store.may_write.set()
    await writes.settled()
    assert store.written == ["last"]


async def test_a_failure_is_told_before_the_call_goes_on():
    """Who was replaced falls silent before anything else of that turn happens."""
    store = Store()
    store.may_write.set()
    writes = OrderedWrites(LONG_S, store.failed)
    stale, full = StaleLeaseError("replaced"), SessionStoreError("full")
    assert await writes.put(store.write(stale))
    assert store.failures == [stale]
    assert await writes.put(store.write(full))
    assert store.failures == [stale, full]
    await writes.put(store.write("on"))
    assert store.written == ["on"]


async def test_what_follows_waits_for_what_is_late_and_holds_nobody_up():
    """The edge forgets what is acknowledged. Found by random kills: a late turn was lost with its worker."""
    store = Store()
    writes = OrderedWrites(0.001, store.failed)
    assert not writes.behind
    await writes.put(store.write("turn"))
    assert writes.behind

    async def acknowledge():
        store.written.append("acknowledged")

    writes.then(acknowledge())
    await asyncio.sleep(0.01)
    assert store.written == []
    store.may_write.set()
    await writes.settled()
    assert store.written == ["turn", "acknowledged"]
    assert not writes.behind
