"""Workers that die or hang at random: every turn once, every tool once, the replaced one falls silent."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time

import pytest

from voicebot.session.open_store import session_store

TURNS = 60
STALE = 3

_WORKER = (
    f"TURNS, STALE = {TURNS}, {STALE}"
    """
import asyncio, os, sys
from pathlib import Path
from voicebot.core.errors import StaleLeaseError
from voicebot.session.open_store import session_store
from voicebot.session.records import Effect, SessionRecord, TurnRecord

folder, lease = Path(sys.argv[1]), int(sys.argv[2])
owner = f"w{lease}"

def tool(key):
    "A tool of another house that knows its idempotency keys."
    log = os.open(folder / "tool.log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    if key not in os.pread(log, 1 << 20, 0).decode().split():
        os.write(log, (key + "\\n").encode())
    os.close(log)

async def main():
    store = session_store("", folder)
    await store.start()
    await store.open_session(SessionRecord(session_id="s1", call_id="c1"), lease=lease)
    loaded = await store.load("s1")
    for n in range(len(loaded.turns), TURNS):
        key = f"tool-{n}"
        await store.add_effect(Effect(key=key, session_id="s1", kind="tool", lease=lease))
        if (await store.claim_effect(key, owner, lease=lease)).verdict in ("granted", "in_doubt"):
            tool(key)
            await store.finish_effect(key, b"1")
        await store.append_turn("s1", n, TurnRecord(who="caller", text=f"turn {n}"), lease=lease)
        print(n, flush=True)
        await asyncio.sleep(0.004)
    await store.close()

try:
    asyncio.run(main())
except StaleLeaseError:
    sys.exit(STALE)
"""
)


class WorkerProcess:
    def __init__(self, folder, lease):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(folder), str(lease)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begins(self):
        """Wait for its first turn, over what it logs before; False when it ends without one."""
        return any(line.strip().isdigit() for line in iter(self.process.stdout.readline, ""))

    def acknowledged(self):
        """Turns that it has told to be safe, once it is gone."""
        out, _ = self.process.communicate(timeout=30)
        return [int(line) for line in out.splitlines() if line.isdigit()]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


async def stored_turns(folder):
    store = session_store("", folder)
    await store.start()
    while store.degraded:
        await asyncio.sleep(0.01)
    loaded = await store.load("s1")
    await store.close()
    return loaded


def run_workers(folder, chance, cleanup):
    """Let workers follow each other; returns the turns that were acknowledged by any of them."""
    acknowledged = set()
    hung = []
    for lease in range(1, 13):
        worker = WorkerProcess(folder, lease)
        cleanup.callback(worker.end)
        if not worker.begins():  # nothing was left to do
            break
        time.sleep(chance.uniform(0.0, 0.05))
        if chance.random() < 0.5:
            worker.process.send_signal(signal.SIGKILL)
            acknowledged |= {*worker.acknowledged()}
        else:
            worker.process.send_signal(signal.SIGSTOP)
            hung.append(worker)
    last = WorkerProcess(folder, 99)
    cleanup.callback(last.end)
    acknowledged |= {*last.acknowledged()}
    for worker in hung:  # they wake up, long replaced
        worker.process.send_signal(signal.SIGCONT)
        acknowledged |= {*worker.acknowledged()}
        assert worker.process.returncode in (STALE, 0)
    return acknowledged


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_and_hangs_lose_nothing_and_repeat_nothing(tmp_path, seed):
    """Up to twelve workers in a row, killed or stopped at random moments of their turns."""
    chance = random.Random(seed)
    with contextlib.ExitStack() as cleanup:
        acknowledged = run_workers(tmp_path, chance, cleanup)
    loaded = asyncio.run(stored_turns(tmp_path))
    assert [t.text for t in loaded.turns.values()] == [f"turn {n}" for n in range(TURNS)]
    assert acknowledged <= {*loaded.turns}
    assert loaded.lease == 99
    calls = (tmp_path / "tool.log").read_text().split()
    assert sorted(calls) == sorted(f"tool-{n}" for n in range(TURNS))
    assert {e.state for e in loaded.effects} == {"done"}
