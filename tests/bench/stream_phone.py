"""A telephone at the call side of a media-streams WebSocket, for benchmarks: it speaks on a clock and hears.

20 ms of µ-law go out every 20 ms whether somebody speaks or not. What comes in is played at once, in order and
in real time; `clear` empties the queue, a mark comes back when everything before it was played.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import time

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from sip_test_harness.g711 import PCMU, SILENCE_BYTE, encode, level_dbfs

FRAME = 160
FRAME_NS = 20_000_000
AUDIBLE_DBFS = -45.0
SILENCE = bytes([SILENCE_BYTE[PCMU]]) * FRAME


class Playback:
    """When the blocks of 20 ms that came in are heard."""

    def __init__(self):
        self.blocks = []  # [start_ns, audible]
        self.free_ns = 0
        self.clears_ns = []

    def arrive(self, payload, now_ns):
        """µ-law of any length is queued."""
        at_ns = max(now_ns, self.free_ns)
        for first in range(0, len(payload), FRAME):
            piece = payload[first : first + FRAME]
            self.blocks.append((at_ns, level_dbfs(piece, PCMU) > AUDIBLE_DBFS))
            at_ns += len(piece) * 125_000
        self.free_ns = at_ns

    def clear(self, now_ns):
        """What is not being played yet is thrown away."""
        self.clears_ns.append(now_ns)
        self.blocks = [block for block in self.blocks if block[0] < now_ns]
        self.free_ns = min(self.free_ns, now_ns)

    def audible_ns(self, until_ns=None):
        """Starts of the audible blocks."""
        return [at for at, audible in self.blocks if audible and (until_ns is None or at <= until_ns)]


class StreamPhone:
    """One call.

    Args:
        url: The bot's WebSocket.
    """

    def __init__(self, url):
        self.url = url
        self.playback = Playback()
        self.late_ms = []
        self._words = b""
        self._sent_ns = []
        self._spoken = asyncio.Event()
        self._marks = {}

    async def __aenter__(self):
        self._socket = await connect(self.url, max_size=None, compression=None)
        start = {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"caller": "100", "called": "bench"},
        }
        await self._send(event="connected", protocol="Call", version="1.0.0")
        await self._send(event="start", sequenceNumber="1", start=start)
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._speak())]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(ConnectionClosed):
            await self._send(event="stop", stop={"callSid": "CA1"})
        await self._socket.close()

    async def say(self, samples):
        """Speak; returns when the first and the last frame were sent, monotonic ns."""
        whole = np.concatenate((samples, np.zeros(-len(samples) % FRAME, np.int16)))
        self._spoken.clear()
        self._sent_ns = []
        self._words = encode(whole, PCMU)
        await self._spoken.wait()
        return self._sent_ns[0], self._sent_ns[-1]

    async def wait_audible(self, since_ns, limit_s):
        """When the first audible block after `since_ns` starts; None if there is none in time."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            for at in self.playback.audible_ns(time.monotonic_ns()):
                if at > since_ns:
                    return at
            await asyncio.sleep(0.01)
        return None

    async def wait_silent(self, for_s, limit_s):
        """Until nothing audible was played for so long."""
        began = time.monotonic()
        while time.monotonic() < began + limit_s:
            heard = self.playback.audible_ns(time.monotonic_ns())
            last_s = heard[-1] / 1e9 if heard else began
            if time.monotonic() - max(last_s, began) >= for_s:
                return
            await asyncio.sleep(0.02)

    async def _send(self, **message):
        await self._socket.send(json.dumps({"streamSid": "MZ1", **message}))

    async def _speak(self):
        began_ns = time.monotonic_ns()
        for number in itertools.count(1):
            due_ns = began_ns + number * FRAME_NS
            await asyncio.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            self.late_ms.append((time.monotonic_ns() - due_ns) / 1e6)
            frame, self._words = self._words[:FRAME], self._words[FRAME:]
            payload = base64.b64encode(frame or SILENCE).decode()
            media = {"track": "inbound", "payload": payload, "timestamp": str(number * 20 - 20)}
            await self._send(event="media", media=media)
            if frame:
                self._sent_ns.append(time.monotonic_ns())
                if not self._words:
                    self._spoken.set()

    async def _hear(self):
        async for text in self._socket:
            now_ns = time.monotonic_ns()
            message = json.loads(text)
            match message.get("event"):
                case "media":
                    self.playback.arrive(base64.b64decode(message["media"]["payload"]), now_ns)
                case "mark":
                    name = message["mark"]["name"]
                    wait_s = max(0.0, (self.playback.free_ns - now_ns) / 1e9)
                    self._marks[name] = asyncio.get_running_loop().call_later(wait_s, self._return, name)
                case "clear":
                    self.playback.clear(now_ns)
                    for name, timer in list(self._marks.items()):
                        timer.cancel()
                        self._return(name)

    def _return(self, name):
        self._marks.pop(name, None)
        self._tasks.append(asyncio.create_task(self._send_mark(name)))

    async def _send_mark(self, name):
        with contextlib.suppress(ConnectionClosed):
            await self._send(event="mark", mark={"name": name})
