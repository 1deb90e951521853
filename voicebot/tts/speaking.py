"""One segment being spoken on a thread of its own, and the clock that tells whether it is in time."""

import queue
import threading
from collections.abc import Callable
from typing import Final

import numpy as np

from voicebot.audio.g711 import SAMPLE_RATE_HZ
from voicebot.audio.narrowband import NarrowbandChain, VoiceProfile
from voicebot.core.errors import SynthesisError
from voicebot.tts.protocol import Samples, Voice
from voicebot.tts.speaking_slots import SpeakingSlots
from voicebot.tts.speech_plan import Segment

_SMALL_PIECES: Final = 5
_BATCH_MS: Final = 80
_AHEAD_S: Final = 0.3
_START_GRACE_S: Final = 0.7
"""A first word may be this late before it goes ahead of those who are speaking: a gap is worse."""


class SpeakingJob:
    """Pieces arrive in `pieces`, shaped for the line; None ends them, an exception failed them.

    The thread is a daemon: C code that hangs can only be left behind, and must not keep us alive.

    Args:
        voice: Who speaks.
        profile: How it is shaped.
        segment: What is said.
        slots: Who may compute.
        playing: How much the caller still has to hear.
    """

    def __init__(
        self,
        voice: Voice,
        profile: VoiceProfile,
        segment: Segment,
        slots: SpeakingSlots,
        playing: "PlayingTime",
    ) -> None:
        self.pieces: queue.SimpleQueue[Samples | BaseException | None] = queue.SimpleQueue()
        self.running_since_s: float | None = None
        """When it last got a slot; None while it waits for one: that is not the voice's fault."""
        self._stopped = False
        self._voice = voice
        self._segment = segment
        self._slots = slots
        self._playing = playing
        self._chain = NarrowbandChain(voice.sample_rate_hz, profile)
        self._slot_lock = threading.Lock()
        self._holds_slot = False
        self._batch: list[Samples] = []
        self._batch_samples = 0
        self._sent = 0
        threading.Thread(target=self._run, name=f"tts-{voice.name}", daemon=True).start()

    def stop(self) -> None:
        """The voice is told at its next chunk; its slot is free at once, even if it hangs."""
        self._stopped = True
        self._give_slot_back()

    def _run(self) -> None:
        try:
            if self._take_slot():
                self._voice.synthesize(self._segment.words, self._sink, self._segment.prosody)
                if not self._stopped:
                    self._shape_batch()
                    self.pieces.put(self._chain.flush())
            self.pieces.put(None)
        except BaseException as error:  # noqa: BLE001  a thread's end is the only place to tell it
            self.pieces.put(error)
        finally:
            self._give_slot_back()

    def _sink(self, samples: Samples) -> bool:
        if self._stopped:
            return False
        self._batch.append(_checked(samples))
        self._batch_samples += samples.size
        # Small pieces for the first 100 ms, which somebody waits for; then fewer, which cost less.
        batch_ms = self._batch_samples * 1000 / self._voice.sample_rate_hz
        if self._sent < _SMALL_PIECES or batch_ms > _BATCH_MS:
            self._shape_batch()
            # Only with some audio in hand: another voice may compute for a while before it yields.
            ahead_s = self._playing.until_s - self._playing.clock()
            if ahead_s > _AHEAD_S and self._slots.wanted_before(self._playing.until_s):
                self._give_slot_back()
                return self._take_slot()
        return not self._stopped

    def _shape_batch(self) -> None:
        if not self._batch:
            return
        shaped = self._chain.feed(np.concatenate(self._batch))
        self._batch.clear()
        self._batch_samples = 0
        if shaped.size:
            self._sent += 1
            self.pieces.put(shaped)

    def _take_slot(self) -> bool:
        self.running_since_s = None
        if not self._slots.acquire(self._playing.until_s, lambda: self._stopped):
            return False
        with self._slot_lock:
            if self._stopped:
                self._slots.release()
                return False
            self._holds_slot = True
        self.running_since_s = self._playing.clock()
        return True

    def _give_slot_back(self) -> None:
        with self._slot_lock:
            held, self._holds_slot = self._holds_slot, False
        if held:
            self._slots.release()


class PlayingTime:
    """When what was rendered so far will have been heard, if playing began with the first piece.

    Args:
        clock: Monotonic seconds.
        deadline_s: From now to the first audio.
    """

    def __init__(self, clock: Callable[[], float], deadline_s: float) -> None:
        self.clock = clock
        self._deadline_s = deadline_s
        self._asked_s = clock()
        self._begun = False
        self.until_s = self._asked_s + _START_GRACE_S
        """When the caller has heard everything there is; at first, when he should hear something."""

    def time_left_s(self) -> float:
        """Until silence is noticed: the deadline at first, later what was rendered plus as much."""
        now_s = self.clock()
        if not self._begun:
            return max(0.05, self._asked_s + self._deadline_s - now_s)
        return max(0.0, self.until_s - now_s) + self._deadline_s

    def add(self, samples: int) -> None:
        """A piece of `samples` at 8 kHz was handed on."""
        self.until_s = (self.until_s if self._begun else self.clock()) + samples / SAMPLE_RATE_HZ
        self._begun = True

    def begin_voice(self) -> None:
        """Another segment or voice begins: silence that was already heard is not held against it."""
        if self._begun:
            self.until_s = max(self.until_s, self.clock())


def _checked(samples: Samples) -> Samples:
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise SynthesisError(f"samples are {samples.dtype} {samples.shape}, not int16 (n,)")
    return samples
