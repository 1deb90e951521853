"""The HTML side: small pages, values escaped by Jinja2, movement by the scripts in ``static``."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from voicebot.console.accounts import SESSION_COOKIE, Accounts
from voicebot.console.audit import AuditLog
from voicebot.console.guard import identity_of
from voicebot.console.records import PAGE, Records
from voicebot.handoff.queue_store import HandoffStore

HERE: Final = Path(__file__).parent
MAX_FORM_BYTES: Final = 4096


class Pages:
    """The pages.

    Args:
        accounts: For login and logout.
        records: Finished calls.
        audit: Shown to admins.
        store: Handoffs of finished calls.
    """

    def __init__(
        self, accounts: Accounts, records: Records, audit: AuditLog, store: HandoffStore
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._records = records
        self._audit = audit
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters |= {"clock": _clock, "day_time": _day_time, "plain": _plain}

    async def login_form(self, request: Request) -> Response:
        """Where everybody begins."""
        if request.scope["state"]["identity"] is not None:
            return RedirectResponse("/", 303)
        return self._render("login.html", error="")

    async def login(self, request: Request) -> Response:
        """Check name and password, open a session."""
        data = b""
        async for piece in request.stream():
            data += piece
            if len(data) > MAX_FORM_BYTES:
                raise HTTPException(413, "too much")
        form = parse_qs(data.decode("utf-8", "replace"), max_num_fields=10)
        name, password = (form.get(field, [""])[0] for field in ("name", "password"))
        source = request.client.host if request.client else "?"
        if self._accounts.banned(source):
            return self._render("login.html", error="Too many attempts. Wait a minute.", status=429)
        session = await asyncio.to_thread(self._accounts.login, name.strip(), password, source)
        if session is None:
            return self._render("login.html", error="Name or password is wrong.", status=401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            SESSION_COOKIE,
            session,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def logout(self, request: Request) -> Response:
        """Close the session."""
        self._accounts.logout(request.cookies.get(SESSION_COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def live(self, request: Request) -> Response:
        """Calls that are going on."""
        return self._page(request, "live.html", "live")

    async def waiting(self, request: Request) -> Response:
        """Callers who wait for a person."""
        return self._page(request, "waiting.html", "waiting")

    async def phone(self, request: Request) -> Response:
        """A telephone in the page."""
        return self._page(request, "phone.html", "phone")

    async def history(self, request: Request) -> Response:
        """Finished calls."""
        words = request.query_params.get("q", "")[:200]
        skip = request.query_params.get("skip", "0")
        first = int(skip) if skip.isascii() and skip.isdigit() and len(skip) < 8 else 0
        found = await asyncio.to_thread(self._records.search, words, skip=first, limit=PAGE + 1)
        more = len(found) > PAGE
        return self._page(
            request,
            "history.html",
            "calls",
            records=found[:PAGE],
            q=words,
            next=first + PAGE if more else 0,
        )

    async def call(self, request: Request) -> Response:
        """One finished call."""
        record = await asyncio.to_thread(self._records.get, request.path_params["call_id"])
        if record is None:
            raise HTTPException(404, "no such call")
        recording = self._records.recording(record) is not None and identity_of(request).may("agent")
        return self._page(
            request,
            "call.html",
            "calls",
            record=record,
            recording=recording,
            handoffs=await asyncio.to_thread(self._store.of_call, record.call_id),
            now_s=time.time(),
        )

    async def reports(self, request: Request) -> Response:
        """QA reports."""
        found = await asyncio.to_thread(self._records.reports)
        return self._page(request, "reports.html", "reports", reports=found)

    async def audit(self, request: Request) -> Response:
        """Who did what."""
        acts = await asyncio.to_thread(self._audit.last)
        return self._page(request, "audit.html", "audit", acts=acts)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A page for people, JSON for programs; never a trace."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = error.detail if isinstance(error, HTTPException) else "Something went wrong."
        if request.url.path.startswith(("/api/", "/handoffs/")):
            body = self._json_error(text)
            return Response(body, status, media_type="application/json")
        return self._render("error.html", status=status, error=text)

    @staticmethod
    def _json_error(text: str) -> bytes:
        import json  # noqa: PLC0415 - only for errors

        return json.dumps({"error": text}).encode()

    def _page(self, request: Request, template: str, here: str, **values: Any) -> Response:
        return self._render(template, me=identity_of(request), here=here, **values)

    def _render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(**values)
        return HTMLResponse(text, status)


def _day_time(utc_text: str) -> str:
    return f"{utc_text[:19].replace('T', ' ')} UTC"


def _plain(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _clock(at_ms: int) -> str:
    return f"{at_ms // 60000}:{at_ms // 1000 % 60:02d}"
