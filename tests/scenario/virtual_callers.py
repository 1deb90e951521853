"""Callers and engines for calls on virtual time. All of them are fakes: nothing is recognised here."""

import numpy as np

from voicebot.audio.g711 import encode_ulaw
from voicebot.turn.echo_path import EchoPath, EchoResult, EchoState
from voicebot.worker.virtual_call import Key, VirtualEngines

FRAME_MS = 20
SILENCE = b"\xff" * 160


def noise(seed, milliseconds, level=4000):
    """Mu-law noise: what the fake bot's speech sounds like, different for caller and bot so that neither is an echo."""
    samples = np.random.default_rng(seed).normal(0, level, 8 * milliseconds)
    return encode_ulaw(np.clip(samples, -32000, 32000).astype(np.int16))


def voice(seed, milliseconds, level=4000):
    """The same with the pitch of a voice, 125 Hz."""
    pick = np.random.default_rng(seed)
    period = pick.normal(0, level, 64)
    samples = np.resize(period, 8 * milliseconds) + pick.normal(0, level / 3, 8 * milliseconds)
    return encode_ulaw(np.clip(samples, -32000, 32000).astype(np.int16))


SPEECH = voice(1, 10_000)


class ScriptedCaller:
    """Does one thing after the other: ('say', ms), ('key', digit), ('wait', ms), ('listen',), ('hang_up',).

    'listen' waits until the bot has spoken and then been silent for 200 ms. The list `spoken_ms` that it
    is given collects when it spoke, so that the detector can be told.
    """

    def __init__(self, *steps):
        self.steps = list(steps)
        self.spoken_ms = []
        self._left_ms = None
        self._heard_speech = False
        self._silent_ms = 0

    def tick(self, now_ms, heard, *, heard_silence):
        self._heard_speech |= not heard_silence
        self._silent_ms = self._silent_ms + FRAME_MS if heard_silence else 0
        if not self.steps:
            return SILENCE
        kind, *arguments = self.steps[0]
        if kind == "listen":
            if self._heard_speech and self._silent_ms >= 200:
                self.steps.pop(0)
                self._heard_speech = False
            return SILENCE
        if kind == "key":
            self.steps.pop(0)
            return Key(arguments[0])
        if kind == "hang_up":
            return None
        if self._left_ms is None:
            self._left_ms = arguments[0]
        if kind == "say":
            self.spoken_ms.append(now_ms)
        self._left_ms -= FRAME_MS
        if self._left_ms <= 0:
            self._left_ms = None
            self.steps.pop(0)
        at = now_ms % 9000 * 8
        return SPEECH[at : at + 160] if kind == "say" else SILENCE


class LineWithoutEcho(EchoPath):
    """A line on which our own voice never comes back, and that is known from the first moment."""

    def process(self, microphone, reference, reference_active):
        return EchoResult(
            residual=microphone,
            state=EchoState.NO_ECHO,
            delay_ms=None,
            echo_expected=False,
            explained_ratio=0.0,
            unmodelled_ratio=0.0,
            evidence=0.0,
            above_noise_db=40.0,
            heard_dbov=-20.0,
            unexplained=1.0,
        )


class HearsTheCaller:
    """A detector that knows from the sound of ScriptedCaller what is speech, on Silero's window grid."""

    def __init__(self):
        self._loud = np.empty(0, dtype=bool)
        self._end = 0

    def feed(self, pcm):
        from voicebot.turn.voice_activity import VadWindow

        self._loud = np.concatenate([self._loud, np.abs(pcm.astype(np.int32)) > 1000])
        windows = []
        while len(self._loud) >= 256:
            self._end += 256
            windows.append(VadWindow(0.95 if self._loud[:256].sum() >= 90 else 0.02, self._end))
            self._loud = self._loud[256:]
        return windows

    def reset(self):
        self._loud = self._loud[:0]


class ScriptedRecogniser:
    """Says the next text of a list when audio has come for long enough; what ends in "?" is lost again."""

    def __init__(self, text, after_frames=10):
        self.text, self.lost = text.removesuffix("?"), text.endswith("?")
        self.frames = 0
        self.after_frames = after_frames

    def accept(self, payload):
        self.frames += 1
        return self.text if self.frames == self.after_frames else None

    def finish(self):
        return ("", 0.0) if self.lost or not self.text else (self.text, 0.9)


def engines(*texts, ms_per_character=20, **options):
    """Engines that hear the given texts turn by turn and speak with a tone of fitting length."""
    waiting = list(texts)
    return VirtualEngines(
        recognise=lambda expectation: ScriptedRecogniser(waiting.pop(0) if waiting else ""),
        synthesise=lambda text, delivery: noise(2, ms_per_character * len(text)),
        **options,
    )
