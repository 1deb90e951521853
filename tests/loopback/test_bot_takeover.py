"""`voicebot serve` with processes that die and hang: the call, its transcript and its tools stay whole."""

import pytest

from tests.bench.failover import random_kills
from tests.loopback.takeover_kit import (
    ORDERS,
    Booking,
    kill,
    ordering_call,
    problems,
    serving_pid,
    takeover_bot,
)
from tests.unit.redis_server import running_redis

pytestmark = [pytest.mark.loopback, pytest.mark.models]
KILLS = 200
QUICK = {"link__standby_workers": 4, "scale__hang_limit_s": 2}


@pytest.mark.timeout(300)
async def test_a_worker_killed_between_a_key_and_its_tool_leaves_no_trace(tmp_path):
    """Redis as the store. Its worker dies on the last key of the first order; nothing is lost or done twice."""
    with running_redis() as redis:
        async with Booking() as booking, takeover_bot(tmp_path, booking, store__url=redis.url) as bot:
            killed = []

            async def at_key(call):
                if not killed:
                    killed.append(serving_pid(bot, call.call_id))
                    kill(killed[0], "kill")

            call = await ordering_call(bot, ORDERS[:3], at_key=at_key)
            record = await bot.record_of(call.call_id, limit_s=30)
            assert problems(call, record, booking, record["session_id"]) == []
            assert record["workers"] >= 2
            assert len(bot.records()) == 1
            assert redis.admin().dbsize() > 0


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_two_hundred_random_kills(tmp_path):
    """Four calls at a time; every few seconds a worker is killed or stopped at a random moment."""
    async with Booking(delay_s=0.1) as booking, takeover_bot(tmp_path, booking, **QUICK) as bot:
        rows = await random_kills(bot, booking, KILLS, 20261121)
        assert [r["note"] for r in rows if not r["ok"]] == []
        assert len(bot.records()) == len({r["call_id"] for r in bot.records()})
