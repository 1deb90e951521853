"""The JSON side: what is going on, and what a person wants done about it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from voicebot.console.audit import AuditLog
from voicebot.console.guard import identity_of
from voicebot.console.hub import Hub, may_take, waiting_public
from voicebot.console.records import PAGE, Records, waveform
from voicebot.handoff.queue import Agent, AgentStatus
from voicebot.handoff.signing import token_opens

MAX_BODY_BYTES: Final = 16_384
MAX_NOTE_CHARS: Final = 500
MAX_ROW_ID: Final = 2**63  # what SQLite can count to
KEEPALIVE_S: Final = 15.0
_STATUSES: Final = frozenset({"available", "busy", "away", "offline"})


class Api:
    """The endpoints.

    Args:
        hub: Live state.
        records: Finished calls.
        audit: Who did what.
        token_secret: Key of the tokens for ``GET /handoffs/{id}``.
        places_calls: Whether the bot calls back by itself.
    """

    def __init__(
        self,
        hub: Hub,
        records: Records,
        audit: AuditLog,
        token_secret: bytes,
        *,
        places_calls: bool = False,
    ) -> None:
        self._places_calls = places_calls
        self._hub = hub
        self._records = records
        self._audit = audit
        self._token_secret = token_secret

    # ------------------------------------------------------------ looking

    async def health(self, request: Request) -> Response:
        """Whether the console works."""
        del request
        return JSONResponse({"status": "ok"})

    async def calls(self, request: Request) -> Response:
        """Live calls."""
        del request
        return JSONResponse({"calls": self._hub.calls()})

    async def waiting(self, request: Request) -> Response:
        """Open handoffs in order of service, and people who want to be called back."""
        who = identity_of(request)
        callbacks = await asyncio.to_thread(self._hub.callbacks.listed, time.time())
        return JSONResponse(
            {
                "waiting": await asyncio.to_thread(self._hub.waiting, who),
                "callbacks": [msgspec.to_builtins(c) for c in callbacks],
                "agents": await asyncio.to_thread(self._hub.agents),
                "places_calls": self._places_calls,
            }
        )

    async def events(self, request: Request) -> Response:
        """Server-sent events: everything that changes."""
        hub = self._hub

        async def stream() -> Any:
            async with hub.watching() as watcher:
                yield _sse({"event": "calls", "calls": hub.calls()})
                while not await request.is_disconnected():
                    try:
                        async with asyncio.timeout(KEEPALIVE_S):
                            event = await watcher.get()
                    except TimeoutError:
                        yield b": still here\n\n"
                        continue
                    yield _sse(event)
                    if event["event"] == "bye":
                        return

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def history(self, request: Request) -> Response:
        """Finished calls, newest first; ``q`` searches."""
        skip = _integer(request.query_params.get("skip", "0"), 0, 1_000_000)
        found = await asyncio.to_thread(
            self._records.search, request.query_params.get("q", "")[:200], skip=skip
        )
        return JSONResponse({"calls": [msgspec.to_builtins(r) for r in found], "page": PAGE})

    async def call(self, request: Request) -> Response:
        """One finished call."""
        record = await asyncio.to_thread(self._records.get, request.path_params["call_id"])
        if record is None:
            raise HTTPException(404, "no such call")
        return JSONResponse(msgspec.to_builtins(record))

    async def recording(self, request: Request) -> Response:
        """The recording; that somebody listened is noted first."""
        path = await self._recording_path(request)
        if "range" not in request.headers or request.headers["range"].startswith("bytes=0-"):
            self._note(request, "listened to the recording of", request.path_params["call_id"])
        return FileResponse(path, media_type="audio/wav")

    async def waveform(self, request: Request) -> Response:
        """Peaks of the recording, for drawing."""
        try:
            return JSONResponse(await asyncio.to_thread(waveform, await self._recording_path(request)))
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    async def _recording_path(self, request: Request) -> Any:
        record = await asyncio.to_thread(self._records.get, request.path_params["call_id"])
        path = None if record is None else self._records.recording(record)
        if path is None:
            raise HTTPException(404, "no recording")
        return path

    async def report(self, request: Request) -> Response:
        """A QA report, locked into a sandbox: it may show anything but run nothing."""
        path = await asyncio.to_thread(self._records.report, request.path_params["name"])
        if path is None:
            raise HTTPException(404, "no such report")
        kind = "text/html" if path.suffix == ".html" else "text/plain; charset=utf-8"
        policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        return FileResponse(path, media_type=kind, headers={"Content-Security-Policy": policy})

    async def audit(self, request: Request) -> Response:
        """The latest acts."""
        del request
        return JSONResponse({"acts": await asyncio.to_thread(self._audit.last)})

    async def handoff(self, request: Request) -> Response:
        """The context of one handoff, for the desk that got its id and a short-lived token."""
        handoff_id = request.path_params["handoff_id"]
        token = request.query_params.get("token", "")
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = bearer.strip()
        if not token_opens(self._token_secret, token, handoff_id, int(time.time())):
            raise HTTPException(403, "the token does not open this handoff")
        row = await asyncio.to_thread(self._hub.store.get, handoff_id)
        if row is None:
            raise HTTPException(404, "no such handoff")
        return JSONResponse(waiting_public(row, time.time(), 0))

    # ------------------------------------------------------------ doing

    async def accept(self, request: Request) -> Response:
        """Take a waiting caller; the first one wins, the others get 409."""
        who = identity_of(request)
        body = await _body(request)
        row = await self._row(request)
        address = _text(body, "sip", 200) or who.sip
        if not address:
            raise HTTPException(422, "your account has no telephone: say which one should ring")
        if not may_take(row, who):
            raise HTTPException(403, "this caller needs skills that your account has not")
        if row.state == "over":
            raise HTTPException(410, "the caller is gone")
        if not await asyncio.to_thread(self._hub.store.claim, row.handoff_id, who.name):
            raise HTTPException(409, "somebody else has taken this caller")
        sent = self._hub.command(
            row.context.call_id, "accept", handoff_id=row.handoff_id, uri=address, agent=who.name
        )
        if not sent:
            await asyncio.to_thread(self._hub.store.end, row.handoff_id, "failed", "the call is gone", 0)
            raise HTTPException(410, "the caller is gone")
        self._note(request, "accepted", row.handoff_id)
        self._hub.tell({"event": "queue"})
        return JSONResponse({"ok": True})

    async def decline(self, request: Request) -> Response:
        """Leave a caller to the others; agents do not see him again."""
        row = await self._row(request)
        who = identity_of(request)
        if not await asyncio.to_thread(self._hub.store.decline, row.handoff_id, who.name):
            raise HTTPException(409, "this caller waits no longer")
        self._note(request, "declined", row.handoff_id)
        self._hub.tell({"event": "queue"})
        return JSONResponse({"ok": True})

    async def take_back(self, request: Request) -> Response:
        """Give the caller back to the bot."""
        row = await self._row(request)
        self._command(row.context.call_id, "take_back")
        self._note(request, "gave back to the bot", row.handoff_id)
        return JSONResponse({"ok": True})

    async def note(self, request: Request) -> Response:
        """A supervisor's note that the colleague sees and the caller never hears."""
        text = _text(await _body(request), "text", MAX_NOTE_CHARS)
        row = await self._row(request)
        await asyncio.to_thread(self._hub.store.note, row.handoff_id, text)
        self._note(request, "whispered to", row.handoff_id)
        self._hub.tell({"event": "queue"})
        return JSONResponse({"ok": True})

    async def callback_done(self, request: Request) -> Response:
        """Somebody has called back."""
        number = request.path_params["callback_id"]
        done = number < MAX_ROW_ID and await asyncio.to_thread(
            self._hub.callbacks.done, number, identity_of(request).name
        )
        if not done:
            raise HTTPException(409, "done already, or no such request")
        self._note(request, "called back", str(number))
        self._hub.tell({"event": "queue"})
        return JSONResponse({"ok": True})

    async def callback_again(self, request: Request) -> Response:
        """Have the bot place a call back now; 409 while it does, or when it places no calls."""
        number = request.path_params["callback_id"]
        again = (
            self._places_calls
            and number < MAX_ROW_ID
            and await asyncio.to_thread(self._hub.callbacks.again, number, time.time())
        )
        if not again:
            raise HTTPException(409, "done already, under way, or the bot places no calls here")
        self._note(request, "had the bot call back", str(number))
        self._hub.tell({"event": "queue"})
        return JSONResponse({"ok": True})

    async def hang_up(self, request: Request) -> Response:
        """End a live call."""
        call_id = request.path_params["call_id"]
        self._command(call_id, "hang_up")
        self._note(request, "hung up", call_id)
        return JSONResponse({"ok": True})

    async def status(self, request: Request) -> Response:
        """Set one's own status."""
        status = _text(await _body(request), "status", 20)
        if status not in _STATUSES:
            raise HTTPException(422, f"status is one of {', '.join(sorted(_STATUSES))}")
        who = identity_of(request)
        agent = Agent(who.name, cast(AgentStatus, status), frozenset(who.skills))
        await asyncio.to_thread(self._hub.store.set_agent, agent)
        self._hub.tell({"event": "agents", "agents": await asyncio.to_thread(self._hub.agents)})
        return JSONResponse({"ok": True})

    # ------------------------------------------------------------ parts

    async def _row(self, request: Request) -> Any:
        row = await asyncio.to_thread(self._hub.store.get, request.path_params["handoff_id"])
        if row is None:
            raise HTTPException(404, "no such handoff")
        return row

    def _command(self, call_id: str, command: str) -> None:
        if not self._hub.command(call_id, command):
            raise HTTPException(410, "the call is gone")

    def _note(self, request: Request, did: str, subject: str) -> None:
        try:
            source = request.client.host if request.client else ""
            self._audit.write(identity_of(request).name, did, subject, source=source)
        except OSError as error:
            raise HTTPException(503, "the audit log cannot be written") from error


def _sse(event: Mapping[str, Any]) -> bytes:
    # JSON escapes line ends: one event is one line, whatever the caller is called.
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise HTTPException(413, "too much")
    if not data:
        return {}
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise HTTPException(400, "no JSON object") from error


def _text(body: Mapping[str, Any], name: str, limit: int) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > limit:
        raise HTTPException(422, f"{name} is a text of at most {limit} characters")
    return value


def _integer(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not least <= int(text) <= most:
        raise HTTPException(422, "not a number in range")
    return int(text)
