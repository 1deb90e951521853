"""The browser's telephone: its WebSocket on our side, a Media Streams compatible link to the worker.

    page ── binary: 20 ms of mu-law; text: {"key": "5"} ──► PhoneProxy ── media, dtmf ──► worker
    page ◄── binary: mu-law; text: {"clear": true} ──────── PhoneProxy ◄── media, mark, clear ── worker

The worker's link port refuses browsers; the guard lets only logged-in pages of our own origin come here.
"""

import asyncio
import base64
import binascii
import contextlib
import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import websockets
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection

from voicebot.console.guard import identity_of
from voicebot.core.ids import new_call_id, new_session_id

MAX_CALLS: Final = 4
MAX_CALL_S: Final = 1800
_KEYS: Final = frozenset("0123456789*#ABCD")
_BYTES_PER_S: Final = 8000


class PhoneProxy:
    """Carries the calls of browsers to a worker.

    Args:
        worker_urls: The workers' link addresses, ``ws://127.0.0.1:8095/``, in order of preference.
        number: Which number they call.
    """

    def __init__(self, worker_urls: Sequence[str], number: str = "bank") -> None:
        self._urls = [url.rstrip("/") + "/media-streams" for url in worker_urls]
        self._number = number
        self._calls = 0

    async def serve(self, page: WebSocket) -> None:
        """One call."""
        if not identity_of(page).may("agent") or self._calls >= MAX_CALLS:
            await page.close(4403)
            return
        await page.accept()
        self._calls += 1
        try:
            async with asyncio.timeout(MAX_CALL_S), await self._connected() as worker:
                await self._call(page, worker)
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            await _tell(page, {"ended": f"the worker cannot be reached: {type(error).__name__}"})
        finally:
            self._calls -= 1
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await page.close()

    async def _connected(self) -> ClientConnection:
        """A link to the first worker that answers."""
        for url in self._urls[:-1]:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                return await _connect(url)
        return await _connect(self._urls[-1])

    async def _call(self, page: WebSocket, worker: ClientConnection) -> None:
        stream = new_session_id()
        call_id = new_call_id()
        caller = identity_of(page).name
        start = {
            "streamSid": stream,
            "callSid": call_id,
            "accountSid": "console",
            "tracks": ["inbound"],
            "customParameters": {
                "caller": caller,
                "from": caller,
                "to": self._number,
                "called": self._number,
            },
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await worker.send(_json({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await worker.send(
            _json({"event": "start", "sequenceNumber": "1", "streamSid": stream, "start": start})
        )
        await _tell(page, {"call_id": call_id})
        up = asyncio.create_task(self._up(page, worker, stream))
        down = asyncio.create_task(self._down(page, worker, stream))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        with contextlib.suppress(websockets.WebSocketException):
            await worker.send(
                _json({"event": "stop", "streamSid": stream, "stop": {"callSid": call_id}})
            )
        await _tell(page, {"ended": "call ended"})

    async def _up(self, page: WebSocket, worker: ClientConnection, stream: str) -> None:
        numbers = itertools.count(2)
        for chunk in itertools.count(1):
            message = await page.receive()
            if message["type"] == "websocket.disconnect":
                return
            body: dict[str, Any]
            if message.get("bytes"):
                payload = message["bytes"][:_BYTES_PER_S]
                media = {
                    "track": "inbound",
                    "chunk": str(chunk),
                    "timestamp": str(chunk * 20),
                    "payload": base64.b64encode(payload).decode(),
                }
                body = {"event": "media", "media": media}
            else:
                key = _object(message.get("text") or "").get("key")
                if not (isinstance(key, str) and key in _KEYS):
                    continue
                body = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": key}}
            await worker.send(_json({**body, "sequenceNumber": str(next(numbers)), "streamSid": stream}))

    async def _down(self, page: WebSocket, worker: ClientConnection, stream: str) -> None:
        # A mark comes back when all audio before it has been heard: the page plays as it arrives, so
        # that is when the audio sent so far is over.
        heard_s = time.monotonic()
        marks: set[asyncio.Task[None]] = set()
        async for data in worker:
            message = _object(data)
            match message.get("event"):
                case "media":
                    try:
                        audio = base64.b64decode(message["media"]["payload"], validate=True)
                    except (KeyError, TypeError, binascii.Error):
                        continue
                    heard_s = max(heard_s, time.monotonic()) + len(audio) / _BYTES_PER_S
                    await page.send_bytes(audio)
                case "clear":
                    heard_s = time.monotonic()
                    for task in marks:
                        task.cancel()
                    marks.clear()
                    await _tell(page, {"clear": True})
                case "mark":
                    echo = {"event": "mark", "streamSid": stream, "mark": message.get("mark")}
                    wait_s = max(0.0, heard_s - time.monotonic())
                    task = asyncio.create_task(_later(worker, echo, wait_s))
                    marks.add(task)
                    task.add_done_callback(marks.discard)


async def _connect(url: str) -> ClientConnection:
    return await websockets.connect(url, compression=None, max_size=1 << 20, open_timeout=3)


async def _later(worker: ClientConnection, message: dict[str, Any], wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    with contextlib.suppress(websockets.WebSocketException):
        await worker.send(_json(message))


async def _tell(page: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await page.send_text(_json(message))


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def _object(data: str | bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        return {}
