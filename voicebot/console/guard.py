"""What every request has to pass, and what every response carries.

request ─► host is ours? ─► origin is ours? ─► who? (cookie or bearer) ─► role? ─► CSRF? ─► endpoint
"""

from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voicebot.console.accounts import SESSION_COOKIE, Accounts, Identity

CSRF_HEADER: Final = "X-CSRF-Token"
OPEN_PATHS: Final = frozenset({"/health", "/login"})
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a form posts Origin: null, which is refused
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware: nothing behind it runs for strangers.

    Args:
        app: The routes.
        accounts: Who is who.
        hosts: ``Host`` headers that are ours; anything else is a DNS trick.
    """

    def __init__(self, app: ASGIApp, *, accounts: Accounts, hosts: frozenset[str]) -> None:
        self._app = app
        self._accounts = accounts
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 4403})
            else:
                await _with_headers(refusal, scope, receive, send)
            return
        await _with_headers(self._app, scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        if connection.headers.get("host", "").lower() not in self._hosts:
            return _problem(421, "this host is not ours")
        origin = connection.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() not in self._hosts
        if foreign or (origin is None and connection.scope["type"] == "websocket"):
            return _problem(403, "wrong origin")
        path = connection.url.path
        identity, by_bearer = self._identity(connection)
        connection.scope["state"] = {**connection.scope.get("state", {}), "identity": identity}
        if path in OPEN_PATHS or path.startswith(("/static/", "/handoffs/")):
            return None  # those under /handoffs/ carry a token of their own, the endpoint looks at it
        if identity is None:
            wants_page = "text/html" in connection.headers.get("accept", "")
            if wants_page and connection.scope.get("method") == "GET":
                return RedirectResponse("/login", 303)
            return _problem(401, "log in first", {"WWW-Authenticate": "Bearer"})
        method = connection.scope.get("method", "GET")
        if method not in _SAFE_METHODS and not by_bearer:
            sent = connection.headers.get(CSRF_HEADER, "")
            if not identity.csrf or sent != identity.csrf:
                return _problem(403, "CSRF token is missing or wrong")
        return None

    def _identity(self, connection: HTTPConnection) -> tuple[Identity | None, bool]:
        source = connection.client.host if connection.client else "?"
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._accounts.by_token(token.strip(), source), True
        cookies: SimpleCookie = SimpleCookie(connection.headers.get("cookie", ""))
        cookie = cookies.get(SESSION_COOKIE)
        return (self._accounts.by_session(cookie.value) if cookie else None), False


def identity_of(connection: HTTPConnection) -> Identity:
    """Who is asking; the guard let nobody else through."""
    identity = connection.scope["state"]["identity"]
    assert isinstance(identity, Identity)
    return identity


def allowed(
    role: str, endpoint: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """``endpoint`` for this role and those above; 403 for others."""

    async def checked(request: Request) -> Response:
        if not identity_of(request).may(role):
            return _problem(403, f"needs the role {role}")
        return await endpoint(request)

    return checked


def _problem(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


async def _with_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not scope["path"].startswith("/static/"):
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    await app(scope, receive, sending)
