"""The prompt cache as a scraper sees it: bytes in memory, lookups by outcome."""

from voicebot.telemetry import metrics
from voicebot.tts.cache import CacheKey, PromptCache
from voicebot.worker.worker_gauges import CacheCounts


def lookups(outcome):
    return metrics.PROMPT_CACHE_LOOKUPS.labels(outcome)._value.get()


def test_bytes_and_hit_rate_reach_the_metrics():
    """Each look takes what came since the last one: a scrape never counts a lookup twice."""
    cache, counts = PromptCache(100), CacheCounts()
    before = lookups("hit"), lookups("miss")

    def sample():
        found = cache.stats()
        counts.take(found.hits, found.misses, found.size_bytes)

    key = CacheKey("one moment", "rms")
    assert cache.get(key) is None
    cache.put(key, bytes(60))
    sample()
    cache.get(key)
    cache.get(key)
    sample()
    sample()
    assert (lookups("hit") - before[0], lookups("miss") - before[1]) == (2, 1)
    assert metrics.PROMPT_CACHE_BYTES._value.get() == 60
    assert cache.stats().hit_rate == 2 / 3
