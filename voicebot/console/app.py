"""The console put together: routes, guard, live feed."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from voicebot.config.settings import Settings
from voicebot.console.accounts import Accounts
from voicebot.console.api import Api
from voicebot.console.audit import AuditLog
from voicebot.console.call_audio import CallAudio
from voicebot.console.guard import Guard, allowed
from voicebot.console.hub import Hub
from voicebot.console.openapi import document
from voicebot.console.pages import HERE, Pages
from voicebot.console.phone import PhoneProxy
from voicebot.console.records import Records

API_ROLES: Final = {
    ("GET", "/api/calls", "calls"): "viewer",
    ("GET", "/api/waiting", "waiting"): "viewer",
    ("GET", "/api/events", "events"): "viewer",
    ("GET", "/api/history", "history"): "viewer",
    ("GET", "/api/history/{call_id}", "call"): "viewer",
    ("GET", "/api/history/{call_id}/recording", "recording"): "agent",
    ("GET", "/api/history/{call_id}/waveform", "waveform"): "agent",
    ("GET", "/api/audit", "audit"): "admin",
    ("POST", "/api/handoffs/{handoff_id}/accept", "accept"): "agent",
    ("POST", "/api/handoffs/{handoff_id}/decline", "decline"): "agent",
    ("POST", "/api/handoffs/{handoff_id}/take-back", "take_back"): "agent",
    ("POST", "/api/handoffs/{handoff_id}/note", "note"): "supervisor",
    ("POST", "/api/callbacks/{callback_id:int}/done", "callback_done"): "agent",
    ("POST", "/api/callbacks/{callback_id:int}/again", "callback_again"): "agent",
    ("POST", "/api/calls/{call_id}/hang-up", "hang_up"): "supervisor",
    ("POST", "/api/agent/status", "status"): "agent",
}
"""Method, path and method of ``Api`` of every call, with the role that is enough."""


def build_app(settings: Settings, *, token: str, token_secret: bytes) -> Starlette:
    """The ASGI application.

    Args:
        settings: The whole tree: the console shows what the others write.
        token: Bearer token of the installation; its owner is admin.
        token_secret: Key of the tokens for ``GET /handoffs/{id}``.
    """
    console = settings.console
    accounts = Accounts(console.users, token, time.monotonic, console.session_hours * 3600)
    records = Records(settings.data_dir)
    audit = AuditLog(settings.data_dir)
    hub = Hub(settings.data_dir)
    places = bool(settings.handoff.callback_trunk) and settings.sip.allow_outgoing
    api = Api(hub, records, audit, token_secret, places_calls=places)
    pages = Pages(accounts, records, audit, hub.store)
    audio = CallAudio(hub, audit)
    phone = PhoneProxy(settings.link.urls)

    async def openapi(request: Request) -> Response:
        del request
        return JSONResponse(document(API_ROLES, api))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        hub.open()
        try:
            yield
        finally:
            hub.close()

    routes = [
        Route("/health", api.health),
        Route("/login", pages.login_form, methods=["GET"]),
        Route("/login", pages.login, methods=["POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
        Route("/", pages.live),
        Route("/waiting", pages.waiting),
        Route("/phone", allowed("agent", pages.phone)),
        Route("/calls", pages.history),
        Route("/calls/{call_id}", pages.call),
        Route("/reports", pages.reports),
        Route("/reports/{name:path}", api.report),
        Route("/audit", allowed("admin", pages.audit)),
        Route("/handoffs/{handoff_id}", api.handoff),
        Route("/api/openapi.json", openapi),
        *(
            Route(path, allowed(role, getattr(api, name)), methods=[method])
            for (method, path, name), role in API_ROLES.items()
        ),
        WebSocketRoute("/phone/socket", phone.serve),
        WebSocketRoute("/listen/{call_id}", audio.listen),
        WebSocketRoute("/talk/{handoff_id}", audio.talk),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, accounts=accounts, hosts=our_hosts(settings))],
        exception_handlers={HTTPException: pages.failed, Exception: pages.failed},
    )
    app.state.hub = hub
    return app


def our_hosts(settings: Settings) -> frozenset[str]:
    """``Host`` headers under which the console may be reached."""
    console = settings.console
    names = {console.host, "127.0.0.1", "localhost"}
    return frozenset(
        {f"{name}:{console.port}" for name in names} | {h.lower() for h in console.public_hosts}
    )
