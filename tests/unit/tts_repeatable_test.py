"""The same text gives the same samples, also while other threads draw from the C library's numbers."""

import ctypes
import threading
import time

import numpy as np

from voicebot.tts.repeatable import RepeatableVoice

LIBRARY = ctypes.CDLL(None)
TEXTS = [f"sentence {n}" for n in range(6)]


class DrawingVoice:
    """Draws its sound as Flite does its noise, and lets the other threads in between."""

    name, sample_rate_hz = "drawing", 8000

    def synthesize(self, text, sink, prosody=None):
        for _ in range(20):
            sink(np.array([LIBRARY.rand() % 1000], np.int16))
            time.sleep(0)


def spoken(voice, text):
    pieces = []
    voice.synthesize(text, lambda samples: pieces.append(int(samples[0])) or True)
    return pieces


def test_sentences_spoken_at_the_same_time_sound_as_if_alone():
    voice = RepeatableVoice(DrawingVoice())
    alone = {text: spoken(voice, text) for text in TEXTS}
    assert len({tuple(sound) for sound in alone.values()}) == len(TEXTS)
    together = {}
    threads = [
        threading.Thread(target=lambda text=text: together.update({text: spoken(voice, text)}))
        for text in TEXTS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_sink_that_waits_for_another_sentence_does_not_block_it():
    voice = RepeatableVoice(DrawingVoice())
    other_spoken = threading.Event()
    first = threading.Thread(
        target=voice.synthesize, args=("a", lambda _: other_spoken.wait(20)), daemon=True
    )
    first.start()
    assert len(spoken(voice, "b")) == 20
    other_spoken.set()
    first.join(20)
    assert not first.is_alive()


def test_a_sink_that_says_stop_gets_no_more():
    got = []
    RepeatableVoice(DrawingVoice()).synthesize("a", lambda samples: bool(got.append(samples)))
    assert len(got) == 1
