"""Time of one frame through the link, and its processor time, per dialect."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.client import LinkClient
from voicebot.link.connection import monotonic_us
from voicebot.link.messages import DIALECT_MEDIA_STREAMS, DIALECT_VOICEBOT_V1, Start
from voicebot.link.server import LinkServer, WorkerLink

FRAMES = 500
GAP_S = 0.004
LIMIT_MS = 0.3


async def _measure(dialect: str) -> tuple[list[float], float]:
    """One-way times in milliseconds; CPU per frame and answer, both ends, in microseconds."""
    one_way_ms: list[float] = []

    async def on_link(link: WorkerLink) -> None:
        while (message := await link.receive()) is not None:
            if isinstance(message, CallerAudio):
                one_way_ms.append((monotonic_us() - sent_us) / 1000)
                await link.send(BotAudio(0, "u1", message.payload))

    async with LinkServer("127.0.0.1", 0, on_link) as server:
        path = "media-streams" if dialect == DIALECT_MEDIA_STREAMS else ""
        link = await LinkClient([f"ws://127.0.0.1:{server.port}/{path}"], dialect).connect()
        link.send(Start(call_id="c0123456789ab", session_id="s1", answered=True))
        cpu_s = 0.0
        for n in range(FRAMES):
            begin_s = time.process_time()
            sent_us = monotonic_us()
            link.send(CallerAudio(n, n * 160, sent_us, 0, bytes(160)))
            while not isinstance(await link.receive(), BotAudio):
                pass
            cpu_s += time.process_time() - begin_s
            await asyncio.sleep(GAP_S)
        await link.close()
    return sorted(one_way_ms), cpu_s / FRAMES * 1e6


def main() -> None:
    """Measure, print, write var/bench/link.json."""
    rows: list[dict[str, Any]] = []
    for dialect in (DIALECT_VOICEBOT_V1, DIALECT_MEDIA_STREAMS):
        times_ms, cpu_us = asyncio.run(_measure(dialect))
        p50, p99 = times_ms[len(times_ms) // 2], times_ms[int(len(times_ms) * 0.99)]
        note = "both ends in one process, loopback"
        for figure, value, unit, limit in (
            ("one frame, one way, p50", p50, "ms", LIMIT_MS),
            ("one frame, one way, p99", p99, "ms", None),
            ("CPU of a frame and its answer, both ends", cpu_us, "us", None),
        ):
            rows.append(
                {
                    "target": "",
                    "figure": f"link {dialect}: {figure}",
                    "value": round(value, 3),
                    "unit": unit,
                    "limit": "" if limit is None else f"<= {limit}",
                    "ok": limit is None or value <= limit,
                    "note": note,
                }
            )
    for row in rows:
        print(f"{row['figure']:60} {row['value']:9} {row['unit']:4} {row['limit']}")
    out = Path("var/bench/link.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
