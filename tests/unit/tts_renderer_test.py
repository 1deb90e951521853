import threading
import time

import numpy as np
import pytest

from voicebot.audio.g711 import decode_ulaw
from voicebot.audio.narrowband import VoiceProfile
from voicebot.core.errors import SynthesisError
from voicebot.tts.cache import PromptCache
from voicebot.tts.protocol import NEUTRAL
from voicebot.tts.renderer import ShapedVoice, SpeechRenderer
from voicebot.tts.tone import ToneVoice, render_tone, tone_length_ms

FLAT = VoiceProfile(0.0, (), ())


class Scripted:
    """A voice that does what a function says and remembers what it was given."""

    def __init__(self, name, act, sample_rate_hz=8000):
        self.name, self._act, self.sample_rate_hz = name, act, sample_rate_hz
        self.texts = []

    def synthesize(self, text, sink, prosody=NEUTRAL):
        self.texts.append(text)
        self.prosody = prosody
        self._act(text, sink)


def speak(_text, sink):
    sink(render_tone(300))


def crash(_text, _sink):
    raise OSError("engine died")


def crash_midway(_text, sink):
    sink(render_tone(100))
    raise OSError("engine died")


def empty(_text, _sink):
    pass


def silent(_text, sink):
    sink(np.zeros(8000, np.int16))


def nan(_text, sink):
    sink(np.full(800, np.nan))


def hang(_text, _sink):
    threading.Event().wait(5)


def hang_midway(_text, sink):
    sink(render_tone(100))
    threading.Event().wait(5)


def ten_times_slow(_text, sink):
    for _ in range(50):
        if not sink(render_tone(20)):
            return
        threading.Event().wait(0.2)


def renderer(*voices, order=None, **options):
    shelf = {v.name: ShapedVoice(v, FLAT) for v in voices}
    return SpeechRenderer(shelf, order or [v.name for v in voices], **options)


def test_a_sentence_becomes_mulaw_of_its_length():
    """A tone of 300 ms arrives as 300 ms (and a few ms of filter tail) of audible mu-law."""
    audio = decode_ulaw(b"".join(renderer(Scripted("a", speak)).render("Hello.")))
    assert 2400 <= audio.size <= 2400 + 160
    assert np.abs(audio).max() > 5000


def test_engines_get_words_sentence_by_sentence():
    """Digits never reach the engine; each sentence is a call of its own."""
    voice = Scripted("a", speak)
    b"".join(renderer(voice).render("You owe $5. Pay by 3pm!"))
    assert voice.texts == ["You owe five dollars.", "Pay by three o'clock p m!"]


@pytest.mark.parametrize("text", ["", " ... ", "😀", "---"])
def test_text_without_a_word_is_silent_and_no_error(text):
    """Nothing to say is not a failure."""
    assert list(renderer(Scripted("a", crash)).render(text)) == []


@pytest.mark.parametrize(
    "fault", [crash, crash_midway, empty, silent, nan, hang, hang_midway, ten_times_slow]
)
def test_each_fault_is_covered_by_the_next_voice(fault):
    """Whatever the first voice does, the second one speaks the sentence."""
    second = Scripted("b", speak)
    audio = decode_ulaw(
        b"".join(renderer(Scripted("a", fault), second, deadline_ms=200).render("Hello."))
    )
    assert second.texts == ["Hello."]
    assert audio.size >= 2400


def test_only_the_failing_sentence_is_repeated():
    """The second voice goes on where the first one failed and keeps the rest."""

    def fail_on_second(text, sink):
        (crash if text.startswith("Two") else speak)(text, sink)

    first, second = Scripted("a", fail_on_second), Scripted("b", speak)
    b"".join(renderer(first, second).render("One. Two. Three."))
    assert (first.texts, second.texts) == (["One.", "Two."], ["Two.", "Three."])


def test_when_every_voice_fails_a_tone_is_heard_and_an_error_raised():
    """Never dead air, and the caller of the renderer learns of it."""
    pieces = []
    with pytest.raises(SynthesisError, match="every voice failed"):
        pieces.extend(renderer(Scripted("a", crash), Scripted("b", empty)).render("Hello."))
    # extend keeps what came before the error
    assert sum(map(len, pieces)) == 2400


def test_a_voice_that_hung_is_left_alone_afterwards():
    """The second utterance does not wait for the hung voice again, until it has rested."""
    now = [100.0]
    first, second = Scripted("a", hang), Scripted("b", speak)
    speech = renderer(first, second, deadline_ms=100, clock=lambda: now[0] + time.monotonic())
    b"".join(speech.render("One."))
    b"".join(speech.render("Two."))
    assert first.texts == ["One."]
    now[0] += 60
    b"".join(speech.render("Three."))
    assert first.texts == ["One.", "Three."]


def test_cancelling_ends_the_iteration_and_stops_the_engine():
    """The sink answers False at the next chunk; nothing is cached."""
    stopped = threading.Event()

    def endless(_text, sink):
        while sink(render_tone(20)):
            threading.Event().wait(0.001)
        stopped.set()

    cancel = [False]
    speech = renderer(Scripted("a", endless), cache=PromptCache(10_000))
    pieces = []
    for piece in speech.render("Hello.", cancelled=lambda: cancel[0]):
        pieces.append(piece)
        cancel[0] = True
    assert len(pieces) == 1
    assert stopped.wait(5)
    assert speech.cache_stats().entries == 0


def test_the_second_time_comes_from_the_cache():
    """Same bytes, no engine call, one hit; case of the voice and text matter."""
    voice, other = Scripted("a", speak), Scripted("b", speak)
    speech = renderer(voice, other, cache=PromptCache(100_000))
    first = b"".join(speech.render("You owe $5."))
    assert b"".join(speech.render("You owe five dollars.")) == first
    assert len(voice.texts) == 1
    b"".join(speech.render("You owe $5.", voice="b"))
    assert (len(other.texts), speech.cache_stats().hits) == (1, 1)


def test_audio_of_a_stand_in_voice_is_not_cached_under_the_first_ones_name():
    """After a failure the right voice is tried again."""
    speech = renderer(Scripted("a", crash), Scripted("b", speak), cache=PromptCache(100_000))
    b"".join(speech.render("Hello."))
    assert speech.cache_stats().entries == 0


def test_an_unknown_voice_falls_back_to_the_default():
    """A dialplan that names a missing voice still speaks."""
    voice = Scripted("a", speak)
    assert b"".join(renderer(voice).render("Hello.", voice="nobody"))
    assert voice.texts == ["Hello."]


def test_alaw_is_another_law_of_the_same_samples():
    """Decoded A-law is within A-law's step of decoded mu-law."""
    from voicebot.audio.g711 import decode_alaw

    u = decode_ulaw(b"".join(renderer(Scripted("a", speak)).render("Hello.")))
    a = decode_alaw(b"".join(renderer(Scripted("a", speak), law="alaw").render("Hello.")))
    assert np.abs(u.astype(int) - a).max() <= 1024


def test_the_tone_voice_is_as_long_as_its_text():
    """60 ms per character and not below 200 ms."""
    chunks = []
    ToneVoice().synthesize("Hello there.", lambda s: chunks.append(s) is None)
    assert sum(c.size for c in chunks) == 8 * tone_length_ms("Hello there.") == 8 * 720


@pytest.mark.parametrize("fault", [crash, empty, silent, nan, hang])
def test_something_is_audible_within_the_deadline(fault):
    """The second voice is heard whatever the first one does; the bench holds the 700 ms, here is slack."""
    speech = renderer(Scripted("a", fault), Scripted("b", speak), deadline_ms=700)
    asked_s = time.monotonic()
    next(speech.render("Hello."))
    assert time.monotonic() - asked_s < 2.0


def test_a_voice_that_dies_midway_leaves_no_long_silence():
    """From the end of what was heard to the next voice: no 5 s of hanging; the bench holds the 700 ms."""
    speech = renderer(Scripted("a", hang_midway), Scripted("b", speak), deadline_ms=700)
    arrived_s, sizes = [], []
    for piece in speech.render("Hello."):
        arrived_s.append(time.monotonic())
        sizes.append(len(piece))
    second = next(i for i in range(1, len(sizes)) if arrived_s[i] - arrived_s[i - 1] > 0.1)
    assert arrived_s[second] - (arrived_s[0] + sum(sizes[:second]) / 8000) < 2.0


def test_a_break_is_mulaw_silence_of_its_length():
    """SSML breaks are inserted, so every engine behaves alike."""
    voice = Scripted("a", speak)
    text = '<speak>One.<break time="500ms"/>Two.</speak>'
    pieces = list(renderer(voice).render(text))
    assert b"\xff" * 4000 in pieces
    assert voice.texts == ["One.", "Two."]


def test_a_kept_prompt_replaces_the_tone_when_every_voice_fails():
    """Words that were rendered while a voice still spoke."""
    broken = [False]

    def sometimes(_text, sink):
        (crash if broken[0] else speak)(_text, sink)

    speech = renderer(Scripted("a", sometimes))
    speech.keep_last_resort("I am sorry.")
    kept = b"".join(speech.render("I am sorry."))
    broken[0] = True
    pieces = []
    with pytest.raises(SynthesisError, match="every voice failed"):
        pieces.extend(speech.render("Hello."))
    assert b"".join(pieces) == kept
