"""How long a turn waits for its commit: SQLite, healthy, locked by another process, and full."""

import asyncio
import importlib.util
import json
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from voicebot.session.journalled_store import JournalledSessionStore
from voicebot.session.records import SessionRecord, TurnRecord
from voicebot.session.sqlite_store import SqliteSessionStore

TURN = TurnRecord(who="caller", text="what is the balance of my account", intent="balance")
LOCKED_S = 5.0
LIMIT_MS = 50.0


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def _healthy(store: JournalledSessionStore) -> list[float]:
    took_ms = []
    for n in range(1000):
        began = time.perf_counter()
        await store.append_turn("s1", n, TURN)
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


async def _locked(store: JournalledSessionStore, path: Path) -> tuple[list[float], int]:
    """A write every 50 ms while another connection holds the lock; returns how many are stored then."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    took_ms: list[float] = []
    end = time.monotonic() + LOCKED_S
    while time.monotonic() < end:
        began = time.perf_counter()
        await store.append_turn("s2", len(took_ms), TURN)
        took_ms.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.05)
    other.execute("COMMIT")
    other.close()
    while store.degraded:
        await asyncio.sleep(0.01)
    stored = await store.load("s2")
    return took_ms, len(stored.turns) if stored else 0


async def _measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sessions.db"
        store = JournalledSessionStore(SqliteSessionStore(path), Path(name))
        await store.start()
        await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
        await store.open_session(SessionRecord(session_id="s2", call_id="c2"))
        healthy = await _healthy(store)
        locked, stored = await _locked(store, path)
        await store.close()
    worst = max(locked)
    return [
        _row("commit of a turn, awaited, p50", _quantile(healthy, 0.5), "ms", "", ok=True),
        _row("commit of a turn, awaited, p99", _quantile(healthy, 0.99), "ms", "", ok=True),
        _row("turn while locked for 5 s, p50", _quantile(locked, 0.5), "ms", "", ok=True),
        _row("turn while locked for 5 s, worst", worst, "ms", "<= 50", ok=worst <= LIMIT_MS),
        _row("turns lost by the lock", len(locked) - stored, "turns", "0", ok=len(locked) == stored),
    ]


async def _redis() -> list[dict[str, Any]]:
    """Commits of Redis with the log synced each second; nothing where it is not installed."""
    if shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None:
        return []
    from tests.unit.redis_server import running_redis
    from voicebot.session.redis_store import RedisSessionStore

    with running_redis("--appendonly", "yes") as server, tempfile.TemporaryDirectory() as name:
        store = JournalledSessionStore(RedisSessionStore(server.url), Path(name))
        await store.start()
        await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
        took_ms = await _healthy(store)
        server.kill()
        away_ms = await _healthy(store)
        await store.close()
    note = "Redis 7, AOF everysec, Unix socket, no replica; killed for the last figure"
    rows = [
        _row("Redis: commit of a turn, p50", _quantile(took_ms, 0.5), "ms", "", ok=True),
        _row("Redis: commit of a turn, p99", _quantile(took_ms, 0.99), "ms", "", ok=True),
        _row(
            "turn while Redis is dead, worst",
            max(away_ms),
            "ms",
            "<= 50",
            ok=max(away_ms) <= LIMIT_MS,
        ),
    ]
    return [{**row, "note": note} for row in rows]


def _row(figure: str, value: float, unit: str, limit: str, *, ok: bool) -> dict[str, Any]:
    return {
        "target": "",
        "figure": figure,
        "value": round(value, 3),
        "unit": unit,
        "limit": limit,
        "ok": ok,
        "note": "SQLite WAL, synchronous NORMAL, journal behind it; reliability lines 25",
    }


def main() -> None:
    """Measure, print, write var/bench/session_store.json."""
    rows = asyncio.run(_measure()) + asyncio.run(_redis())
    for row in rows:
        print(f"{row['figure']:40} {row['value']:9} {row['unit']:6} {row['limit']}")
    out = Path("var/bench/session_store.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
