"""What the caller sends: clips, keys and silence cut into RTP packets, one per packet time.

Pure: no clock, no socket. ``next_packet`` is called once per packet time by whoever keeps time.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sip_test_harness import g711
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.telephone_event import EventPayload, KeyShape, event_payloads

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray


@dataclass
class Utterance:
    """Something the caller says or keys; times in monotonic ns, set while it is sent.

    ``first_speech_ns`` and ``last_speech_ns`` are when the first and last audible block was sent
    (for keys: the first packet of the first and of the last key, when each is known). ``meant`` is
    False for sounds that do not ask the bot for anything: a cough, "mm-hmm".
    """

    label: str
    started_ns: int | None = None
    first_speech_ns: int | None = None
    last_speech_ns: int | None = None
    finished: bool = False
    cancelled: bool = False
    words: bool = True
    meant: bool = True


@dataclass(frozen=True)
class OutgoingPacket:
    """A packet of this packet time, and what it belongs to."""

    packet: RtpPacket
    utterance: Utterance | None = None
    speech: bool = False
    last: bool = False


@dataclass(frozen=True)
class _Block:
    payload: bytes
    speech: bool
    utterance: Utterance
    last: bool = False


@dataclass(frozen=True)
class _Event:
    event: EventPayload
    utterance: Utterance
    speech: bool
    last: bool = False


@dataclass
class OutgoingStream:
    """The caller's RTP stream.

    Args:
        payload_type: PCMU or PCMA.
        event_type: payload type of RFC 4733 events.
        ptime_ms: packet time.
        send_silence: send packets of silence between utterances; False is DTX.
        random: source of SSRC and start values.
    """

    payload_type: int
    event_type: int | None
    ptime_ms: int
    random: random.Random
    send_silence: bool = True
    muted: bool = False
    ssrc: int = field(init=False)
    sequence_number: int = field(init=False)
    timestamp: int = field(init=False)
    packets: int = 0
    octets: int = 0

    def __post_init__(self) -> None:
        """Choose random start values (RFC 3550 section 5.1)."""
        self.ssrc = self.random.getrandbits(32)
        self.sequence_number = self.random.getrandbits(16)
        self.timestamp = self.random.getrandbits(32)
        self._queue: deque[_Block | _Event | None] = deque()
        self._lock = threading.Lock()
        self._talking = False
        self._event_timestamp = 0

    @property
    def samples(self) -> int:
        """Samples per packet."""
        return self.ptime_ms * 8

    @property
    def busy(self) -> bool:
        """Whether words or keys are still queued."""
        with self._lock:
            return bool(self._queue)

    def play(self, samples: NDArray[np.int16], utterance: Utterance) -> None:
        """Queue 8 kHz samples of shape (n,); the last block is padded with zeros."""
        padding = -len(samples) % self.samples
        padded = np.concatenate([samples, np.zeros(padding, np.int16)])
        payloads = [
            g711.encode(padded[at : at + self.samples], self.payload_type)
            for at in range(0, len(padded), self.samples)
        ]
        audible = [
            g711.level_dbfs(payload, self.payload_type) > g711.AUDIBLE_DBFS for payload in payloads
        ]
        blocks = [
            _Block(payload, speech, utterance, last=index == len(payloads) - 1)
            for index, (payload, speech) in enumerate(zip(payloads, audible, strict=True))
        ]
        with self._lock:
            self._queue.extend(blocks)

    def press(self, digits: str, shape: KeyShape, utterance: Utterance) -> None:
        """Queue RFC 4733 presses.

        Raises:
            ValueError: not a key, or the far end accepts no events.
        """
        if self.event_type is None:
            raise ValueError("the far end accepts no telephone-event")
        items: list[_Block | _Event | None] = []
        for index, digit in enumerate(digits):
            events = event_payloads(digit, shape, self.ptime_ms)
            for at, event in enumerate(events):
                last = index == len(digits) - 1 and at == len(events) - 1
                items.append(_Event(event, utterance, event.first, last))
            if index < len(digits) - 1:
                items += [None] * max(1, shape.pause_ms // self.ptime_ms)
        with self._lock:
            self._queue.extend(items)

    def clear(self) -> list[Utterance]:
        """Drop what is queued and return the utterances that were cut off."""
        with self._lock:
            dropped = {id(item.utterance): item.utterance for item in self._queue if item}
            self._queue.clear()
        for utterance in dropped.values():
            utterance.cancelled = utterance.finished = True
        return list(dropped.values())

    def next_packet(self) -> OutgoingPacket | None:
        """Return this packet time's packet, or None when nothing is sent; the timestamp advances."""
        with self._lock:
            item = self._queue.popleft() if self._queue and not self.muted else None
        out: OutgoingPacket | None = None
        if isinstance(item, _Event):
            if item.event.first:
                self._event_timestamp = self.timestamp
            packet = self._packet(
                self.event_type or 0,
                self._event_timestamp,
                item.event.payload,
                marker=item.event.first,
            )
            out = OutgoingPacket(packet, item.utterance, item.speech, item.last)
            self._talking = False
        elif item is not None:
            packet = self._packet(
                self.payload_type, self.timestamp, item.payload, marker=not self._talking
            )
            out = OutgoingPacket(packet, item.utterance, item.speech, item.last)
            self._talking = True
        elif self.send_silence and not self.muted:
            silence = bytes([g711.SILENCE_BYTE[self.payload_type]]) * self.samples
            packet = self._packet(self.payload_type, self.timestamp, silence, marker=self.packets == 0)
            out = OutgoingPacket(packet)
            self._talking = True
        else:
            self._talking = False
        self.timestamp = (self.timestamp + self.samples) & 0xFFFFFFFF
        return out

    def _packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> RtpPacket:
        packet = RtpPacket(payload_type, self.sequence_number, timestamp, self.ssrc, payload, marker)
        self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return packet
