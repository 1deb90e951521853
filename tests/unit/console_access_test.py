"""Who gets into the console: nobody without a login, nobody through a browser's back door."""

import time

import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from tests.unit.console_kit import BASE, PASSWORDS, SECRET, TOKEN, client, context, log_in, write_call
from voicebot.console.accounts import Accounts, hash_password, password_fits
from voicebot.handoff.signing import issue_token

WS = BASE.replace("http", "ws")
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def all_routes(browser):
    for route in browser.app.routes:
        if isinstance(route, Mount | WebSocketRoute):
            continue
        assert isinstance(route, Route)
        for method in route.methods - {"HEAD"}:
            path = route.path.replace("{callback_id:int}", "1").replace("{name:path}", "x.html")
            yield method, path.format(call_id="c1", handoff_id="h1")


def test_no_route_works_without_login_but_login_and_health(tmp_path):
    """Every route there is, asked by a stranger."""
    with client(tmp_path) as browser:
        open_ones = {
            (method, path)
            for method, path in all_routes(browser)
            if browser.request(method, path, headers={"Accept": "application/json"}).status_code
            not in {401, 403}
        }
        assert open_ones == {("GET", "/health"), ("GET", "/login"), ("POST", "/login")} - (
            {("POST", "/login")} if browser.post("/login").status_code == 401 else set()
        )
        assert browser.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login"


def test_a_bearer_token_opens_everything_and_a_wrong_one_nothing(tmp_path):
    write_call(tmp_path)
    with client(tmp_path) as browser:
        assert browser.get("/api/calls", headers=BEARER).json() == {"calls": []}
        assert browser.get("/api/audit", headers=BEARER).status_code == 200
        assert browser.get("/api/calls", headers={"Authorization": "Bearer x"}).status_code == 401
        assert browser.get("/api/calls", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401


def test_guessing_is_stopped_after_five(tmp_path):
    """The right password does not help a banned source; unknown names get the same answer."""
    with client(tmp_path) as browser:
        texts = set()
        for name in ("agent", "agent", "nobody", "agent", "nobody"):
            answer = browser.post("/login", data={"name": name, "password": "wrong"})
            assert answer.status_code == 401
            texts.add(answer.text)
        assert len(texts) == 1
        right = {"name": "agent", "password": PASSWORDS["agent"]}
        assert browser.post("/login", data=right).status_code == 429
        assert browser.get("/api/calls", headers=BEARER).status_code == 401


def test_a_ban_ends_and_a_session_ends():
    now = [0.0]
    accounts = Accounts((), "secret", lambda: now[0], session_s=100.0)
    for _ in range(5):
        assert accounts.login("admin", "wrong", "1.2.3.4") is None
    assert accounts.banned("1.2.3.4") and not accounts.banned("1.2.3.5")
    now[0] = 61.0
    session = accounts.login("admin", "secret", "1.2.3.4")
    assert accounts.by_session(session).role == "admin"
    now[0] = 160.0
    assert accounts.by_session(session) is not None
    now[0] = 261.0
    assert accounts.by_session(session) is None


def test_an_empty_token_opens_nothing():
    accounts = Accounts((), "", lambda: 0.0)
    assert accounts.by_token("", "x") is None and accounts.login("admin", "", "x") is None


def test_passwords_are_hashed_with_salt():
    stored = hash_password("open sesame")
    assert "sesame" not in stored and stored != hash_password("open sesame")
    assert password_fits("open sesame", stored) and not password_fits("open", stored)
    for malformed in ("", "scrypt:zz:00", "plain"):
        assert not password_fits("", malformed)


def test_a_change_needs_the_csrf_token_of_the_session(tmp_path):
    """A cookie alone, or another session's token, changes nothing."""
    with client(tmp_path) as browser, client(tmp_path) as other:
        csrf = log_in(browser, "agent")
        foreign = log_in(other, "supervisor")
        body = {"status": "available"}
        assert browser.post("/api/agent/status", json=body).status_code == 403
        headers = {"X-CSRF-Token": foreign}
        assert browser.post("/api/agent/status", json=body, headers=headers).status_code == 403
        headers = {"X-CSRF-Token": csrf}
        assert browser.post("/api/agent/status", json=body, headers=headers).status_code == 200
        assert browser.post("/logout", headers=headers).status_code == 303
        assert browser.get("/api/calls").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8090", "Origin": "http://evil.example:8090"}, 421),
        ({"Origin": BASE}, 200),
    ],
)
def test_other_origins_and_hosts_are_refused(tmp_path, headers, status):
    """Cross-site requests and DNS rebinding."""
    with client(tmp_path) as browser:
        assert browser.get("/api/calls", headers={**BEARER, **headers}).status_code == status


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Origin": BASE}])
@pytest.mark.parametrize("path", ["/phone/socket", "/listen/c1", "/talk/h1"])
def test_the_sockets_need_our_origin_and_a_session(tmp_path, headers, path):
    """Not even the right origin helps without a login."""
    with client(tmp_path) as browser, pytest.raises(WebSocketDisconnect) as refused:
        browser.websocket_connect(WS + path, headers=headers).__enter__()
    assert refused.value.code == 4403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", BASE + "0", None])
@pytest.mark.parametrize("path", ["/phone/socket", "/listen/c1", "/talk/h1"])
def test_a_page_from_elsewhere_opens_no_socket_with_our_cookie(tmp_path, origin, path):
    """The browser sends the cookie of a supervisor along; the origin gives the other page away."""
    with client(tmp_path) as browser:
        log_in(browser, "supervisor")
        hub = browser.app.state.hub
        hub.board.take({"event": "call_started", "call": "c1", "worker": "worker-1.sock"}, 0.0)
        headers = {} if origin is None else {"Origin": origin}
        with pytest.raises(WebSocketDisconnect) as refused:
            browser.websocket_connect(WS + path, headers=headers).__enter__()
        assert refused.value.code == 4403


def test_only_supervisors_listen_and_only_the_one_who_accepted_talks(tmp_path):
    """Logged in with the right origin, but not in that role, or not with that caller."""
    with client(tmp_path) as browser:
        log_in(browser, "agent")
        hub = browser.app.state.hub
        hub.board.take({"event": "call_started", "call": "c1", "worker": "worker-1.sock"}, 0.0)
        hub.store.join(context("h1"), priority="normal")
        hub.store.claim("h1", "somebody else")
        for path in ("/listen/c1", "/talk/h1", "/talk/h9"):
            with pytest.raises(WebSocketDisconnect) as refused:
                browser.websocket_connect(WS + path, headers={"Origin": BASE}).__enter__()
            assert refused.value.code == 4403
    with client(tmp_path) as browser:
        log_in(browser, "supervisor")
        hub = browser.app.state.hub
        hub.board.take({"event": "call_started", "call": "c1", "worker": "worker-1.sock"}, 0.0)
        with browser.websocket_connect(WS + "/listen/c1", headers={"Origin": BASE}) as socket:
            event = {"event": "audio", "call": "c1", "lane": "bot", "data": "/////w=="}
            browser.portal.call(hub._on_event, event)
            assert socket.receive_bytes() == b"\x01" + b"\xff" * 4
            socket.close()
            end_s = time.monotonic() + 5
            while hub._audio and time.monotonic() < end_s:
                time.sleep(0.01)
            assert hub._audio == {}
        assert "listened live to" in (tmp_path / "audit.jsonl").read_text()


def test_roles_bound_what_one_may_do(tmp_path):
    """A viewer looks, an agent takes calls, a supervisor whispers and hangs up, an admin sees the audit."""
    write_call(tmp_path)
    with client(tmp_path) as browser:
        viewer = {"X-CSRF-Token": log_in(browser, "viewer")}
        assert browser.get("/api/calls").status_code == 200
        assert browser.get("/api/history/c000000000001/recording").status_code == 403
        assert browser.post("/api/handoffs/h1/accept", headers=viewer).status_code == 403
    with client(tmp_path) as browser:
        agent = {"X-CSRF-Token": log_in(browser, "agent")}
        assert browser.get("/api/history/c000000000001/recording").status_code == 200
        assert browser.post("/api/handoffs/h1/note", headers=agent, json={}).status_code == 403
        assert browser.post("/api/calls/c1/hang-up", headers=agent).status_code == 403
        assert browser.get("/audit").status_code == 403


def test_every_answer_carries_the_policy(tmp_path):
    with client(tmp_path) as browser:
        for path in ("/login", "/health", "/api/calls", "/static/common.js", "/nowhere"):
            headers = browser.get(path, headers=BEARER).headers
            assert headers["content-security-policy"].startswith("default-src 'self'; object-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"


def test_the_pages_need_no_inline_code_and_no_other_host(tmp_path):
    """What CSP would block is not there: no inline script, style or handler, nothing from elsewhere."""
    write_call(tmp_path)
    with client(tmp_path) as browser:
        for path in ("/", "/waiting", "/calls", "/calls/c000000000001", "/phone", "/reports", "/audit"):
            page = browser.get(path, headers=BEARER).text
            for forbidden in (" style=", " onclick=", "<style", "javascript:", "http://", "https://"):
                assert forbidden not in page.replace("src=x onerror", ""), (path, forbidden)
            assert page.count("<script") == page.count('<script type="module" src="/static/')


def test_no_secret_of_the_installation_is_shown(tmp_path, monkeypatch):
    """Neither a page nor the API nor its description names token, key or password, also not to an admin."""
    monkeypatch.setenv("VOICEBOT_SIP_PASSWORD", "sip-canary")
    write_call(tmp_path)
    with client(tmp_path) as browser:
        browser.app.state.hub.store.join(context("h1"), priority="normal")
        seen = 0
        paths = {path for method, path in all_routes(browser) if method == "GET"}
        for path in paths - {"/api/events"}:  # that one is a stream without an end
            answer = browser.get(path.replace("/c1", "/c000000000001"), headers=BEARER)
            seen += answer.status_code == 200
            for secret in (TOKEN, SECRET.decode(), "scrypt:", "sip-canary", *PASSWORDS.values()):
                assert secret not in answer.content.decode("latin-1"), path
        assert seen >= 10


def test_the_handoff_token_opens_its_handoff_only_and_not_for_ever(tmp_path):
    with client(tmp_path) as browser:
        browser.app.state.hub.store.join(context("h1"), priority="normal")
        good = issue_token(SECRET, "h1", 4_000_000_000)
        assert browser.get(f"/handoffs/h1?token={good}").json()["caller"] == "+442071838750"
        assert (
            browser.get("/handoffs/h1", headers={"Authorization": f"Bearer {good}"}).status_code == 200
        )
        assert browser.get("/handoffs/h1").status_code == 403
        assert browser.get(f"/handoffs/h2?token={good}").status_code == 403
        old = issue_token(SECRET, "h1", 1000)
        assert browser.get(f"/handoffs/h1?token={old}").status_code == 403
