"""Recorded callers: read from WAV, pcap and pcapng, and cut into turns."""

from __future__ import annotations

import itertools
import json
import re
import wave
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sip_test_harness import g711
from sip_test_harness.errors import (
    UsageError,
)
from sip_test_harness.g711 import PCMA, PCMU
from sip_test_harness.pcap_reader import CapturedStream, calls_of, read_capture
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.rtp_statistics import extend
from sip_test_harness.telephone_event import EventReceiver

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SAMPLES: Final = 160
_NOTE_EVENT: Final = re.compile(r"(not_meant|barge_in)(?::(\d{1,5}))?")
_KEY_EVENT: Final = re.compile(r"(?:dtmf|key)[ :_]([0-9*#A-D]|redacted)")
UNDISTURBED: Final = " undisturbed"
REDACTED_KEY: Final = "?"
"""A key press whose recording keeps secret which key it was."""
TURN_PAUSE_MS: Final = 600.0
LEAD_MS: Final = 400.0
"""What goes before a turn's first audible block: soft beginnings, and the line's own noise, without
which a recogniser is less sure of the first word. Lead and trail together fit into a turn's pause."""
TRAIL_MS: Final = 200.0
NOTE_REACH_MS: Final = 300.0


@dataclass(frozen=True)
class RecordedTurn:
    """One turn of a recorded caller: samples to speak or keys to press.

    ``at_ms`` is when it began in the recording; ``barge_in_ms`` is set when the bot was speaking
    then: this long after the bot had begun. What is not ``meant`` asks nothing of the bot: a cough.
    ``lead_ms`` of the samples lie before ``at_ms``.
    """

    at_ms: float
    samples: NDArray[np.int16] | None = None
    keys: str = ""
    barge_in_ms: float | None = None
    meant: bool = True
    lead_ms: float = 0.0

    @property
    def label(self) -> str:
        """What the turn is, for people."""
        if self.samples is None:
            return f"dtmf {self.keys}"
        return f"{'speech' if self.meant else 'not meant,'} {len(self.samples) / 8000:.1f} s"


@dataclass(frozen=True)
class SpeechNote:
    """What a person wrote beside a recording about the speech around ``at_ms``.

    ``over_bot_ms``: it is said so long after the bot has begun to speak. ``meant``: the bot is to answer
    it; False for a cough or an "mm-hmm", over which it has to speak on.
    """

    at_ms: float
    over_bot_ms: float | None = None
    meant: bool = True


@dataclass
class RecordedCaller:
    """A caller as recorded, with the bot beside it where known.

    ``packets`` holds (ms after the answer, packet) for verbatim timing; ``event_type`` is the
    payload type of its telephone events; ``notes`` say more about the speech around a time.
    """

    name: str
    samples: NDArray[np.int16]
    bot: NDArray[np.int16]
    keys: list[tuple[float, str]] = field(default_factory=list)
    packets: list[tuple[float, RtpPacket]] = field(default_factory=list)
    event_type: int | None = None
    codec: int = PCMU
    notes: tuple[SpeechNote, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        last_packet_ms = self.packets[-1][0] if self.packets else 0.0
        return max(len(self.samples) / 8000, last_packet_ms / 1000)


def read_recordings(path: str | Path) -> list[RecordedCaller]:
    """Read the callers of a recording: WAV (mono, or stereo with the caller left), pcap, pcapng.

    Raises:
        UsageError: unknown kind of file, or no caller in it.
    """
    path = Path(path)
    if path.suffix.lower() == ".wav":
        return [_from_wav(path)]
    if path.suffix.lower() in {".pcap", ".pcapng", ".cap"}:
        return _from_capture(path)
    raise UsageError(f"{path}: .wav, .pcap or .pcapng expected")


def _from_wav(path: Path) -> RecordedCaller:
    try:
        with wave.open(str(path), "rb") as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if (rate, width) != (8000, 2) or channels not in {1, 2}:
        raise UsageError(
            f"{path}: {rate} Hz, {8 * width} bit, {channels} channels; "
            "8000 Hz, 16 bit, 1 or 2 channels are needed"
        )
    sound = np.frombuffer(data, "<i2").astype(np.int16).reshape(-1, channels)
    empty = np.zeros(0, np.int16)
    return RecordedCaller(
        path.stem,
        sound[:, 0],
        sound[:, 1] if channels == 2 else empty,
        keys=_sidecar_keys(path.with_suffix(".json")),
        notes=_sidecar_notes(path.with_suffix(".json")),
    )


def _sidecar_events(path: Path) -> list[tuple[float, str]]:
    """Return (ms, name) of the ``events`` in a JSON file beside a recording; none without the file."""
    if not path.exists():
        return []
    try:
        events = json.loads(path.read_text("utf-8", "replace")).get("events", [])
        return sorted((float(event["at_ms"]), str(event["name"])) for event in events)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: not the description of a recording ({error})") from error


def _sidecar_keys(path: Path) -> list[tuple[float, str]]:
    """Return the key presses beside a recording: ``dtmf:5`` or ``dtmf:redacted``."""
    return [
        (at_ms, REDACTED_KEY if match.group(1) == "redacted" else match.group(1))
        for at_ms, name in _sidecar_events(path)
        if (match := _KEY_EVENT.fullmatch(name))
    ]


def _sidecar_notes(path: Path) -> tuple[SpeechNote, ...]:
    """Return what is noted about the speech: ``not_meant``, ``not_meant:1200``, ``barge_in:800``."""
    return tuple(
        SpeechNote(
            at_ms,
            float(match.group(2)) if match.group(2) else None,
            meant=match.group(1) == "barge_in",
        )
        for at_ms, name in _sidecar_events(path)
        if (match := _NOTE_EVENT.fullmatch(name))
    )


def undisturbed(recorded: RecordedCaller) -> RecordedCaller | None:
    """Return the caller without the sounds that are not meant; None when there are none.

    The bot's words in that call are what its words in the other one are compared with.
    """
    if all(note.meant for note in recorded.notes):
        return None
    samples = recorded.samples.copy()
    for turn in turns_of(recorded):
        if turn.samples is not None and not turn.meant:
            first = int((turn.at_ms - turn.lead_ms) * 8)
            samples[first : first + len(turn.samples)] = 0
    meant = tuple(note for note in recorded.notes if note.meant)
    return replace(
        recorded, name=f"{recorded.name}{UNDISTURBED}", samples=samples, packets=[], notes=meant
    )


def _from_capture(path: Path) -> list[RecordedCaller]:
    out: list[RecordedCaller] = []
    # The harness' own captures are all called call.pcap: their folder tells them apart.
    name = path.resolve().parent.name if path.stem == "call" else path.stem
    calls = [call for call in calls_of(read_capture(path)) if call.caller]
    for index, call in enumerate(calls):
        stream = call.caller[0]
        origin_ns = call.answer_ns or stream.packets[0][0]
        kinds = {packet.payload_type for _, packet in stream.packets}
        codec = PCMA if PCMA in kinds else PCMU
        event_type = stream.event_type
        if event_type is None:
            event_type = next((kind for kind in sorted(kinds) if kind >= 96), None)
        if not kinds & {PCMU, PCMA} and event_type is None:
            continue
        end_ns = stream.packets[-1][0]
        samples = int((end_ns - origin_ns) * 8000 // 10**9) + 1600
        bot = call.called[0] if call.called else None
        out.append(
            RecordedCaller(
                name=name + (f"-{index + 1}" if len(calls) > 1 else ""),
                samples=_audio_of(stream, origin_ns, samples),
                bot=_audio_of(bot, origin_ns, samples) if bot else np.zeros(0, np.int16),
                keys=_keys_of(stream, origin_ns, event_type),
                packets=[
                    ((time_ns - origin_ns) / 1e6, packet)
                    for time_ns, packet in stream.packets
                    if time_ns >= origin_ns
                ],
                event_type=event_type,
                codec=codec,
            )
        )
    if not out:
        raise UsageError(f"{path}: no caller with G.711 audio found")
    return out


def with_secret_keys(recorded: RecordedCaller, keys: str) -> RecordedCaller:
    """Put keys of a test account in the place of redacted ones, in order, again and again.

    Raises:
        UsageError: there are redacted keys, and ``keys`` is empty or no keys.
    """
    hidden = sum(key == REDACTED_KEY for _, key in recorded.keys)
    if not hidden:
        return recorded
    if not re.fullmatch(r"[0-9*#A-D]+", keys):
        raise UsageError(
            f"{recorded.name}: {hidden} key presses are redacted; "
            "--secret-keys gives those of a test account"
        )
    instead = itertools.cycle(keys)
    named = [(at_ms, next(instead) if key == REDACTED_KEY else key) for at_ms, key in recorded.keys]
    return replace(recorded, keys=named)


def _audio_of(stream: CapturedStream, origin_ns: int, length: int) -> NDArray[np.int16]:
    """Lay a stream's audio on its RTP timeline, anchored at its first packet."""
    out = np.zeros(max(0, length), np.int16)
    audio = [
        (time_ns, packet) for time_ns, packet in stream.packets if packet.payload_type in {PCMU, PCMA}
    ]
    stamps = extend([packet.timestamp for _, packet in audio], 32)
    if not audio:
        return out
    anchor = (audio[0][0] - origin_ns) * 8000 // 10**9 - stamps[0]
    for stamp, (_, packet) in zip(stamps, audio, strict=True):
        block = g711.decode(packet.payload, packet.payload_type)
        start, end = max(0, stamp + anchor), min(len(out), stamp + anchor + len(block))
        if start < end:
            out[start:end] = block[start - stamp - anchor : end - stamp - anchor]
    return out


def _keys_of(stream: CapturedStream, origin_ns: int, event_type: int | None) -> list[tuple[float, str]]:
    receiver = EventReceiver()
    for time_ns, packet in stream.packets:
        if packet.payload_type == event_type:
            receiver.receive(packet, time_ns)
    return [((press.arrival_ns - origin_ns) / 1e6, press.digit) for press in receiver.digits]


def speech_spans(samples: NDArray[np.int16], pause_ms: float) -> list[tuple[float, float]]:
    """Return (start ms, end ms) of the audible parts; pauses below ``pause_ms`` belong to them."""
    blocks = len(samples) // BLOCK_SAMPLES
    if not blocks:
        return []
    grid = samples[: blocks * BLOCK_SAMPLES].reshape(blocks, BLOCK_SAMPLES).astype(np.float64)
    level = 10 * np.log10((grid**2).mean(axis=1) / 32768.0**2 + 1e-12)
    # A line with a noise floor near the threshold needs a threshold above its floor.
    threshold = max(g711.AUDIBLE_DBFS, float(np.percentile(level, 20)) + 8.0)
    spans: list[tuple[float, float]] = []
    for block in np.flatnonzero(level > min(threshold, -20.0)):
        start_ms = float(block) * 20
        if spans and start_ms - spans[-1][1] < pause_ms:
            spans[-1] = (spans[-1][0], start_ms + 20)
        else:
            spans.append((start_ms, start_ms + 20))
    return spans


def turns_of(recorded: RecordedCaller, *, pause_ms: float = TURN_PAUSE_MS) -> list[RecordedTurn]:
    """Cut a recorded caller into turns, in order of time.

    Keys less than 3 s apart make one turn. Speech keeps 400 ms before it and 200 ms behind it.
    """
    bot_spans = speech_spans(recorded.bot, 300.0)
    turns: list[RecordedTurn] = []
    for start_ms, end_ms in speech_spans(recorded.samples, pause_ms):
        first = max(0, int((start_ms - LEAD_MS) * 8))
        last = int((end_ms + TRAIL_MS) * 8)
        running = [start_ms - begun for begun, ended in bot_spans if begun + 100 < start_ms < ended]
        note = next(
            (n for n in recorded.notes if start_ms - NOTE_REACH_MS <= n.at_ms <= end_ms + NOTE_REACH_MS),
            SpeechNote(start_ms),
        )
        over_bot_ms = running[-1] if running else None
        turns.append(
            RecordedTurn(
                start_ms,
                recorded.samples[first:last],
                barge_in_ms=over_bot_ms if note.over_bot_ms is None else note.over_bot_ms,
                meant=note.meant,
                lead_ms=start_ms - first / 8,
            )
        )
    groups: list[tuple[float, float, str]] = []
    for at_ms, key in recorded.keys:
        if groups and at_ms - groups[-1][1] < 3000:
            groups[-1] = (groups[-1][0], at_ms, groups[-1][2] + key)
        else:
            groups.append((at_ms, at_ms, key))
    turns += [RecordedTurn(start_ms, keys=keys) for start_ms, _, keys in groups]
    return sorted(turns, key=lambda turn: turn.at_ms)
