"""The time of day jumps by an hour, forth and back, under a live call: nobody notices.

All processes of the bot get a C library call in front of theirs (``jumping_clock.c``), so that what the SIP
library, SQLite and Python ask for is moved alike.
"""

import asyncio
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sip_test_harness import Caller, CallerOptions
from tests.loopback.bot_program import running_bot

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio]

SOURCE = Path(__file__).with_name("jumping_clock.c")
HOUR_S = 3600


class JumpingClock:
    """The time of day that programs started from now on see."""

    def __init__(self, folder, monkeypatch):
        library = folder / "jumping_clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._offset = folder / "offset"
        self.off_by(0)
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("JUMPING_CLOCK", str(self._offset))

    def off_by(self, seconds):
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


@pytest.mark.timeout(240)
async def test_the_wall_clock_jumps_by_an_hour(tmp_path, monkeypatch):
    """One call: greeting, a jump ahead, an answer, a jump back, an answer; one worker serves it all."""
    clock = JumpingClock(tmp_path, monkeypatch)
    async with running_bot(
        tmp_path / "data",
        asr__engine="fake",
        tts__engine="tone",
        link__heartbeat_limit_ms=5000,  # far below an hour: a machine without time is no jump
    ) as bot:
        monkeypatch.undo()  # the callers are outside
        async with Caller(bot.uri, CallerOptions(limit_s=90)) as call:
            await call.invite()
            await call.wait_bot_audible(10)
            clock.off_by(HOUR_S)
            await call.press("1")  # a key cuts the prompt
            await call.wait_bot_audible(15, since_ns=call.last_said_ns)
            clock.off_by(-HOUR_S)
            await asyncio.sleep(1)  # more than any heartbeat, lease or watch
            await call.press("12345678")
            await call.wait_bot_audible(15, since_ns=call.last_said_ns)
        record = await bot.record_of(call.call_id, limit_s=15)
        assert (record["ended_by"], record["workers"]) == ("caller", 1)
        texts = [line["text"] for line in record["transcript"] if line["who"] == "caller"]
        assert texts == ["1", "12345678"], texts
        assert 0 < record["talk_ms"] < 80_000
        began, ended = (datetime.fromisoformat(record[f"{name}_at"]) for name in ("started", "ended"))
        assert (began - ended).total_seconds() > HOUR_S / 2  # the clock was moved, and back
        assert (datetime.now(UTC) - ended).total_seconds() > HOUR_S / 2
        for event in ("child_died", "worker_lost", "session_store_degraded", "call_failed", "no_worker"):
            assert not bot.events(event), event
