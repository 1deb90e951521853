"""Callers that cost next to nothing: they send prepared packets and keep only when answers came.

Twenty callers of the harness take 0.4 of a core, too much beside a bot that is to be measured with all it can
do on two. Here SIP is `tests.loopback.raw_sip_caller`, and one thread at real-time priority sends the packets
of all calls, 20 ms after 20 ms, and reads what has come: its time of arrival is the kernel's.
"""

import asyncio
import contextlib
import os
import struct
import threading
import time
from dataclasses import dataclass, field

import numpy as np

FRAME_S = 0.02
FRAME_BYTES = 160
PRIORITY = 5
HEADER = struct.Struct("!BBHII")


@dataclass
class Arrivals:
    """RTP of one call as it came: kernel times in seconds, sequence numbers, timestamps."""

    at_s: list = field(default_factory=list)
    sequence: list = field(default_factory=list)
    timestamp: list = field(default_factory=list)

    def gaps_ms(self):
        """Between one packet and the next; empty for fewer than two."""
        return np.diff(self.at_s) * 1000

    @property
    def contiguous(self):
        """Nothing skipped, repeated or out of order, and at least one packet."""
        return (
            len(self.at_s) > 0
            and np.all(np.diff(self.sequence) % 65536 == 1)
            and np.all(np.diff(self.timestamp) % 2**32 == FRAME_BYTES)
        )


class LightCallers:
    """Sends one recording into all calls at the same moments, with pauses.

    Args:
        calls: `raw_sip_caller.Caller` with an answered call each; their RTP sockets are taken over.
        speech: mu-law bytes of what all say, a whole number of frames.
        pause_s: Silence between two times.
        rounds: So often.
    """

    def __init__(self, calls, speech, pause_s, rounds):
        loop = asyncio.get_running_loop()
        for call in calls:
            loop.remove_reader(call._rtp)
        self.calls = calls
        self.arrivals = [Arrivals() for _ in calls]
        silent = bytes([0xFF]) * FRAME_BYTES
        said = [speech[n : n + FRAME_BYTES] for n in range(0, len(speech), FRAME_BYTES)]
        self.frames = (said + [silent] * round(pause_s / FRAME_S)) * rounds
        self.late_ms = []

    async def run(self):
        """Until everything has been said."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work():
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            self._run()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=work, daemon=True).start()
        await done.wait()

    def _run(self):
        first = [(call._rtp, call.media, call.seq, call.ts, call.ssrc) for call in self.calls]
        start_s = time.monotonic()
        for index, frame in enumerate(self.frames):
            wait_s = start_s + index * FRAME_S - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            self.late_ms.append(-min(0.0, start_s + index * FRAME_S - time.monotonic()) * 1000)
            for socket, media, seq, ts, ssrc in first:
                head = HEADER.pack(
                    0x80, 0, (seq + index) & 0xFFFF, (ts + index * FRAME_BYTES) & 0xFFFFFFFF, ssrc
                )
                socket.sendto(head + frame, media)
            for call, arrivals in zip(self.calls, self.arrivals, strict=True):
                _read(call._rtp, arrivals)

    @property
    def late_p99_ms(self):
        """How late the callers themselves were."""
        return float(np.quantile(self.late_ms, 0.99))


def _read(socket, arrivals):
    while True:
        try:
            data, ancillary, _, _ = socket.recvmsg(2048, 64)
        except OSError:
            return
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
        _, _, sequence, timestamp, _ = HEADER.unpack_from(data)
        arrivals.at_s.append(seconds + nanoseconds / 1e9)
        arrivals.sequence.append(sequence)
        arrivals.timestamp.append(timestamp)
