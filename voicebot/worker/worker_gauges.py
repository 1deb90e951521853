"""What a worker has going on, sampled once a second: calls, queues, cache, how late its loop is."""

import asyncio
from collections.abc import Callable
from typing import Final

from voicebot.telemetry import metrics

SAMPLE_S: Final = 1.0


class CacheCounts:
    """The prompt cache counts from its start; metrics want what came since the last look."""

    def __init__(self) -> None:
        self._hits = 0
        self._misses = 0

    def take(self, hits: int, misses: int, size_bytes: int) -> None:
        """The cache's figures of this moment."""
        metrics.PROMPT_CACHE_LOOKUPS.labels("hit").inc(hits - self._hits)
        metrics.PROMPT_CACHE_LOOKUPS.labels("miss").inc(misses - self._misses)
        metrics.PROMPT_CACHE_BYTES.set(size_bytes)
        self._hits, self._misses = hits, misses


async def sample_for_ever(sample: Callable[[], None]) -> None:
    """Call ``sample`` once a second and meter how late the loop woke up for it."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + SAMPLE_S
        await asyncio.sleep(SAMPLE_S)
        metrics.LOOP_LATE_SECONDS.observe(max(0.0, loop.time() - due_s))
        sample()
