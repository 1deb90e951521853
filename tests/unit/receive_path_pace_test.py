"""Other packet times, comfort noise, silence that is not sent: the caller is understood all the same.

Line 16 of docs/reliability.md, from packets to transcript: receive path, voice activity, endpointer,
the real recogniser and the dialogue, on virtual time.
"""

import json
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.unit.offline_pipe_test import call, message, served
from voicebot.audio.g711 import encode_ulaw
from voicebot.config.settings import Settings, TtsSettings
from voicebot.offline.engines import Latencies, OfflineBot
from voicebot.rtp.packet import COMFORT_NOISE, PCMU

pytestmark = pytest.mark.models

CLIP = Path(__file__).parents[1] / "data" / "caller" / "balance.wav"
TICKS = 500
SPEAKS_AT = 250
SILENCE = b"\xff" * 160


@pytest.fixture(scope="module")
def bot():
    made = OfflineBot(Settings(tts=TtsSettings(engine="tone")), Latencies())
    yield made
    made.close()


def spoken():
    """Frames of 20 ms: five seconds of nothing, the word, and silence to the end."""
    with wave.open(str(CLIP)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), np.int16)
    ulaw = encode_ulaw(samples)
    word = [ulaw[at : at + 160] for at in range(0, len(ulaw) - 159, 160)]
    after = TICKS - SPEAKS_AT - len(word)
    return [SILENCE] * SPEAKS_AT, word, [SILENCE] * after


def packets(frames, per_packet_ms, first=0):
    """(tick, timestamp, payload, payload type): packets of that length, sent when their audio is there."""
    audio = b"".join(frames)
    size = 8 * per_packet_ms
    return [
        (first + (at + size - 1) // 160, 160 * first + at, audio[at : at + size], PCMU)
        for at in range(0, len(audio), size)
    ]


def steady(per_packet_ms):
    before, word, after = spoken()
    return packets([*before, *word, *after], per_packet_ms)


def changing():
    """A sender that ignores a=ptime and changes its mind: 30 ms, 10 ms in the word, 60 ms."""
    before, word, after = spoken()
    parts = ((before[:-1], 30, 0), (before[-1:] + word, 10, SPEAKS_AT - 1))
    found = [p for frames, ms, first in parts for p in packets(frames, ms, first)]
    return found + packets(after, 60, SPEAKS_AT + len(word))


def only_speech(*, comfort_noise):
    """Nothing is sent while nothing is said, but for a packet of comfort noise every 200 ms."""
    before, word, after = spoken()
    end = SPEAKS_AT + len(word)
    noise = [
        (n, 160 * n, b"\x46", COMFORT_NOISE) for n in (*range(0, SPEAKS_AT, 10), *range(end, TICKS, 10))
    ]
    talk = packets([*before[-2:], *word, *after[:4]], 20, SPEAKS_AT - 2)
    return [*(noise if comfort_noise else [(0, 0, SILENCE, PCMU)]), *talk]


SENDERS = {
    "20 ms": lambda: steady(20),
    "10 ms": lambda: steady(10),
    "30 ms": lambda: steady(30),
    "60 ms": lambda: steady(60),
    "changing": changing,
    "comfort noise": lambda: only_speech(comfort_noise=True),
    "nothing for five seconds": lambda: only_speech(comfort_noise=False),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_the_same_is_understood(bot, sender):
    """One turn of the caller, with the same words and the same intent; nothing is heard in the pauses."""
    ticks = [b""] * TICKS
    for number, (tick, timestamp, payload, kind) in enumerate(sorted(SENDERS[sender]())):
        rtp = struct.pack("!BBHII", 0x80, kind, number, timestamp, 7) + payload
        ticks[min(tick, TICKS - 1)] += struct.pack("!IH", 500, len(rtp)) + rtp
    answers = served(bot, call(*(message(b"T", t) for t in ticks), message(b"H")))
    transcript = json.loads(answers[-1][1])["record"]["transcript"]
    heard = [(t["text"], t["intent"]) for t in transcript if t["who"] == "caller"]
    assert heard == [("balance", "balance")]
    assert "account number" in transcript[-1]["text"]
