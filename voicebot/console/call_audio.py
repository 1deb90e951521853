"""Listening to a live call in the page, and talking to a caller whom one has accepted there.

page ◄── one byte lane (0 caller, 1 bot), then mu-law ──── CallAudio ◄── live feed ◄── worker
page ──── 20 ms of mu-law (talking only) ────────────────► CallAudio ──► "talk" command ──► worker
"""

import asyncio
import base64
import contextlib
import time
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from voicebot.console.audit import AuditLog
from voicebot.console.guard import identity_of
from voicebot.console.hub import Hub

LEASE_S: Final = 2.0  # the worker stops to send after five without being asked again
MAX_FRAME_BYTES: Final = 1600
MAX_BEHIND_S: Final = 0.5
_BYTES_PER_S: Final = 8000
_MEANT: Final = frozenset({1000, 1005})  # closed by the page itself; a reload or a closed tab is 1001
_LANES: Final = {"caller": b"\x00", "bot": b"\x01"}


class CallAudio:
    """The two WebSockets.

    Args:
        hub: Live state.
        audit: Written before the first byte is heard.
    """

    def __init__(self, hub: Hub, audit: AuditLog) -> None:
        self._hub = hub
        self._audit = audit

    async def listen(self, page: WebSocket) -> None:
        """A supervisor listens; nobody in the call can tell."""
        call_id = page.path_params["call_id"]
        who = identity_of(page)
        if not who.may("supervisor") or not self._hub.board.worker_of(call_id):
            await page.close(4403)
            return
        try:
            self._audit.write(who.name, "listened live to", call_id)
        except OSError:
            await page.close(4503)
            return
        await page.accept()
        await self._serve(page, call_id, talking=False)

    async def talk(self, page: WebSocket) -> None:
        """A colleague talks to the caller of a handoff that is theirs."""
        who = identity_of(page)
        row = await asyncio.to_thread(self._hub.store.get, page.path_params["handoff_id"])
        mine = row is not None and row.state in {"taken", "talking"} and row.taken_by == who.name
        if row is None or not mine or not who.may("agent"):
            await page.close(4403)
            return
        await page.accept()
        call_id = row.context.call_id
        if await self._serve(page, call_id, talking=True) in _MEANT:
            self._hub.command(call_id, "colleague_done")
        # Else the tab or the network is gone: the page may come back, or the bot takes the caller back.

    async def _serve(self, page: WebSocket, call_id: str, *, talking: bool) -> int:
        """Carry audio until one side ends it; the page's close code, 0 when the call was over first."""
        async with self._hub.hearing(call_id) as heard:
            up = asyncio.create_task(self._up(page, call_id, talking=talking))
            tasks = [
                asyncio.create_task(self._ask(call_id)),
                up,
                asyncio.create_task(_down(page, heard)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                codes = await asyncio.gather(up, *tasks, return_exceptions=True)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await page.close()
        return codes[0] if isinstance(codes[0], int) else 0

    async def _ask(self, call_id: str) -> None:
        while True:
            if not self._hub.command(call_id, "listen"):
                return  # the call is over
            await asyncio.sleep(LEASE_S)

    async def _up(self, page: WebSocket, call_id: str, *, talking: bool) -> int:
        queued_until_s = 0.0  # at the edge, which plays what comes one after the other
        while True:
            message = await page.receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 0)
            audio = message.get("bytes") or b""
            if not (talking and 0 < len(audio) <= MAX_FRAME_BYTES):
                continue
            now_s = time.monotonic()
            queued_until_s = max(queued_until_s, now_s) + len(audio) / _BYTES_PER_S
            if queued_until_s - now_s > MAX_BEHIND_S:
                # A network that stood still sends all at once: all that follows would come late.
                queued_until_s -= len(audio) / _BYTES_PER_S
            else:
                self._hub.command(call_id, "talk", data=base64.b64encode(audio).decode())


async def _down(page: WebSocket, heard: asyncio.Queue[dict[str, object]]) -> None:
    while True:
        event = await heard.get()
        lane = _LANES.get(str(event.get("lane")), b"\x00")
        await page.send_bytes(lane + base64.b64decode(str(event.get("data", ""))))
