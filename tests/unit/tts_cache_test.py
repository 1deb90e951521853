import threading

import pytest

from voicebot.audio.narrowband import VoiceProfile
from voicebot.tts.cache import CacheKey, PromptCache
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS
from voicebot.tts.renderer import ShapedVoice, SpeechRenderer
from voicebot.tts.tone import render_tone
from voicebot.tts.warming import FixedPrompt, PromptWarmer, WarmingProgress

KEY = CacheKey("hello", "rms", "profile")


class Counting:
    sample_rate_hz = 8000

    def __init__(self, name="a"):
        self.name, self.calls = name, []

    def synthesize(self, text, sink, prosody=NEUTRAL):
        self.calls.append((text, prosody))
        if "bad" in text:
            raise OSError("cannot say that")
        sink(render_tone(200))


def renderer(voice, cache):
    return SpeechRenderer(
        {voice.name: ShapedVoice(voice, VoiceProfile(0.0, (), ()))}, [voice.name], cache=cache
    )


def test_the_least_recently_used_goes_first():
    """The limit holds in bytes; an entry beyond it is not kept."""
    cache = PromptCache(250)
    for name in "ab":
        cache.put(CacheKey(name, "v"), b"x" * 100)
    cache.get(CacheKey("a", "v"))
    cache.put(CacheKey("c", "v"), b"x" * 100)
    cache.put(CacheKey("d", "v"), b"x" * 300)
    assert [cache.get(CacheKey(n, "v")) is not None for n in "abcd"] == [True, False, True, False]
    stats = cache.stats()
    assert (stats.entries, stats.size_bytes, stats.hits, stats.misses) == (2, 200, 3, 2)
    assert stats.hit_rate == 0.6
    assert PromptCache(1).stats().hit_rate == 0.0


def test_putting_an_entry_again_counts_its_bytes_once():
    """Replacing is not adding."""
    cache = PromptCache(1000)
    cache.put(KEY, b"x" * 300)
    cache.put(KEY, b"y" * 200)
    assert cache.stats().size_bytes == 200
    assert cache.get(KEY) == b"y" * 200


def test_persistent_prompts_survive_a_restart(tmp_path):
    """Another cache over the same directory finds the audio; what was not persistent is gone."""
    cache = PromptCache(1000, tmp_path / "prompts")
    cache.put(KEY, b"fixed", persist=True)
    cache.put(CacheKey("your balance", "rms"), b"private")
    again = PromptCache(1000, tmp_path / "prompts")
    assert again.get(KEY) == b"fixed"
    assert again.get(CacheKey("your balance", "rms")) is None
    assert len(list((tmp_path / "prompts").iterdir())) == 1


@pytest.mark.parametrize(
    "other", [CacheKey("hallo", "rms", "profile"), CacheKey("hello", "slt", "profile"),
              CacheKey("hello", "rms", "recalibrated"), CacheKey("hello", "rms", "profile", "alaw"),
              CacheKey("hello", "rms", "profile", "ulaw", 99)]
)  # fmt: skip
def test_words_voice_profile_law_and_chain_version_are_the_key(tmp_path, other):
    """Nothing old is played after any of them changed."""
    PromptCache(1000, tmp_path).put(KEY, b"fixed", persist=True)
    assert PromptCache(1000, tmp_path).get(other) is None


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 32, b"\0" * 40])
def test_a_damaged_file_is_a_miss(tmp_path, damage):
    """A torn write or an edited file is rendered again, never played."""
    PromptCache(1000, tmp_path).put(KEY, b"fixed", persist=True)
    next(tmp_path.iterdir()).write_bytes(damage)
    assert PromptCache(1000, tmp_path).get(KEY) is None


def test_a_directory_that_cannot_be_written_costs_nothing_but_the_file(tmp_path):
    """Speaking goes on from memory."""
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    cache = PromptCache(1000, blocker / "prompts")
    cache.put(KEY, b"fixed", persist=True)
    assert cache.get(KEY) == b"fixed"


def test_warming_renders_in_the_background_and_tells_how_far_it_is(tmp_path):
    """Every prompt counts, failing ones too; the next start speaks without the engine."""
    prompts = [FixedPrompt("One."), FixedPrompt("bad"), FixedPrompt("Two.", voice="/calm")]
    seen = []
    warmer = PromptWarmer(
        renderer(Counting(), PromptCache(10_000, tmp_path)), prompts, seen.append
    ).start()
    assert warmer.wait(10)
    assert seen == [WarmingProgress(1, 0, 3), WarmingProgress(1, 1, 3), WarmingProgress(2, 1, 3)]
    second = Counting()
    after_restart = renderer(second, PromptCache(10_000, tmp_path))
    assert b"".join(after_restart.render("One."))
    assert b"".join(after_restart.render("Two.", voice="/calm"))
    assert second.calls == []


def test_warming_waits_for_callers_and_can_be_stopped():
    """While an utterance is being rendered nothing is warmed."""
    release = threading.Event()

    class Slow(Counting):
        def synthesize(self, text, sink, prosody=NEUTRAL):
            sink(render_tone(400))
            release.wait(10)
            super().synthesize(text, sink, prosody)

    voice = Slow()
    speech = renderer(voice, PromptCache(10_000))
    pieces = speech.render("A caller waits.")
    next(pieces)
    warmer = PromptWarmer(speech, [FixedPrompt("One.")]).start()
    assert not warmer.wait(0.1)
    warmer.stop()
    assert warmer.wait(10)
    release.set()
    pieces.close()
    assert [text for text, _ in voice.calls if text == "One."] == []


def test_a_preset_behind_the_voice_reaches_the_engine():
    """rms/calm is voice and prosody; each preset is another cache entry."""
    voice = Counting()
    speech = renderer(voice, PromptCache(10_000))
    for name in (None, "a/calm", "/calm", "a/unheard-of"):
        b"".join(speech.render("Hello.", voice=name))
    assert [p for _, p in voice.calls] == [NEUTRAL, PROSODY_PRESETS["calm"]]
    assert speech.cache_stats().hits == 2
