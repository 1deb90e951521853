"""What the console shows: escaped, searchable, from the right files only; and what its buttons do."""

import asyncio
import json

import pytest

from tests.unit.console_kit import TOKEN, XSS, client, context, log_in, write_call
from voicebot.console.live_board import KEEP_ENDED_S, MAX_CALLS, LiveBoard
from voicebot.console.records import waveform
from voicebot.telemetry.live_feed import CONSOLE_SOCKET, LivePort

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_hostile_texts_stay_texts(tmp_path):
    """Caller name and transcript of a finished call are escaped on every page that shows them."""
    write_call(tmp_path)
    with client(tmp_path) as browser:
        for path in ("/calls", "/calls/c000000000001", "/calls?q=%22%3E%3Cscript%3E"):
            page = browser.get(path, headers=BEARER).text
            assert XSS not in page and "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" in browser.get("/calls/c000000000001", headers=BEARER).text


def test_search_finds_every_word_newest_first(tmp_path):
    write_call(tmp_path, "c000000000001")
    write_call(tmp_path, "c000000000002", caller="+33155501234")
    with client(tmp_path) as browser:

        def found(words):
            answer = browser.get("/api/history", params={"q": words}, headers=BEARER).json()
            return [c["call_id"] for c in answer["calls"]]

        assert found("") == ["c000000000002", "c000000000001"]
        assert found("HELP +3315") == ["c000000000002"]
        assert found("help nonsense") == []
        assert browser.get("/api/history?skip=x", headers=BEARER).status_code == 422


def test_listening_to_a_recording_is_written_down_first(tmp_path):
    write_call(tmp_path)
    with client(tmp_path) as browser:
        answer = browser.get("/api/history/c000000000001/recording", headers=BEARER)
        assert answer.content.startswith(b"RIFF") and answer.headers["content-type"] == "audio/wav"
        part = browser.get(
            "/api/history/c000000000001/recording", headers={**BEARER, "Range": "bytes=100-199"}
        )
        assert part.status_code == 206 and len(part.content) == 100
        (act,) = browser.get("/api/audit", headers=BEARER).json()["acts"]
        assert act["who"] == "token" and act["did"] == "listened to the recording of"
        (tmp_path / "audit.jsonl").unlink()
        (tmp_path / "audit.jsonl").mkdir()
        assert browser.get("/api/history/c000000000001/recording", headers=BEARER).status_code == 503


def test_recordings_come_from_their_folder_only(tmp_path):
    """A record that names another file, a link, or a guessed id gives nothing."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"RIFFsecret")
    write_call(tmp_path, "c000000000001", recording=str(secret))
    write_call(tmp_path, "c000000000002", recording="../secret.wav")
    record = write_call(tmp_path, "c000000000003")
    link = tmp_path / "recordings" / "c000000000003.wav"
    link.unlink()
    link.symlink_to(secret)
    with client(tmp_path) as browser:
        for call_id in ("c000000000001", "c000000000002", record.call_id, "c9", "..%2Fsecret"):
            answer = browser.get(f"/api/history/{call_id}/recording", headers=BEARER)
            assert answer.status_code == 404 and b"secret" not in answer.content


def test_the_waveform_has_two_lanes(tmp_path):
    """Caller at a quarter, bot at half of full scale, one second."""
    write_call(tmp_path)
    with client(tmp_path) as browser:
        wave = browser.get("/api/history/c000000000001/waveform", headers=BEARER).json()
    caller, bot = wave["peaks"]
    assert wave["seconds"] == 1.0 and len(caller) == len(bot) <= 600
    assert 0.23 < max(caller) < 0.26 and 0.47 < max(bot) < 0.5


def test_a_broken_recording_has_no_waveform(tmp_path):
    broken = tmp_path / "x.wav"
    broken.write_bytes(b"RIFF\x00\x00")
    with pytest.raises(ValueError, match="cannot be read"):
        waveform(broken)


def test_reports_are_locked_in_and_stay_inside(tmp_path):
    home = tmp_path / "reports" / "run1"
    home.mkdir(parents=True)
    (home / "report.html").write_text("<script>alert(1)</script>")
    (home / "run.sh").write_text("echo")
    (tmp_path / "console-token.html").write_text("secret")
    with client(tmp_path) as browser:
        assert "run1/report.html" in browser.get("/reports", headers=BEARER).text
        answer = browser.get("/reports/run1/report.html", headers=BEARER)
        assert answer.headers["content-security-policy"].startswith("sandbox;")
        for path in ("run1/run.sh", "..%2fconsole-token.html", "%2e%2e/console-token.html", "x.html"):
            assert browser.get(f"/reports/{path}", headers=BEARER).status_code == 404


def test_errors_are_pages_for_people_and_json_for_programs(tmp_path):
    with client(tmp_path) as browser:
        assert browser.get("/calls/nothing", headers=BEARER).status_code == 404
        answer = browser.get("/api/history/nothing", headers=BEARER)
        assert answer.status_code == 404 and answer.json() == {"error": "no such call"}
        for number in ("1", "9" * 30):
            path = f"/api/callbacks/{number}/done"
            assert browser.post(path, headers=BEARER).status_code == 409
        for body in (b"{", b"[]", b"\xff", b'{"status": 3}', b'{"status": "asleep"}', b"x" * 20_000):
            status = browser.post("/api/agent/status", content=body, headers=BEARER).status_code
            assert status in {400, 413, 422}


def test_openapi_names_every_call(tmp_path):
    with client(tmp_path) as browser:
        document = browser.get("/api/openapi.json", headers=BEARER).json()
        ours = {r.path for r in browser.app.routes if r.path.startswith("/api/")} - {"/api/openapi.json"}
        assert {p.replace("{callback_id}", "{callback_id:int}") for p in document["paths"]} == ours
        accept = document["paths"]["/api/handoffs/{handoff_id}/accept"]["post"]
        assert accept["parameters"][0]["name"] == "handoff_id" and "agent" in accept["description"]


# ---------------------------------------------------------------- live


def started(call_id="c1", **more):
    return {"event": "call_started", "call": call_id, "worker": "worker-1.sock", "caller": "+44", **more}


def test_the_board_follows_a_call():
    board = LiveBoard()
    assert board.take({"event": "said", "call": "c1", "text": "x"}, 0.0) is None
    board.take(started(), 10.0)
    assert board.take({"event": "partial", "call": "c1", "text": "my bal"}, 11.0) == {
        "event": "partial",
        "call_id": "c1",
        "text": "my bal",
    }
    said = {
        "event": "said",
        "call": "c1",
        "turn": 0,
        "who": "caller",
        "text": "my balance",
        "at_ms": 900,
    }
    board.take(said, 12.0)
    board.take({**said, "text": "my balance please"}, 12.1)
    board.take({"event": "line", "call": "c1", "quality": {"lost_packets": 2, "bad": "x"}}, 13.0)
    (call,) = board.calls(14.0)
    assert call["seconds"] == 4 and call["partial"] == ""
    assert [line["text"] for line in call["lines"]] == ["my balance please"]
    assert call["quality"] == {"lost_packets": 2.0, "bad": 0.0}
    assert board.worker_of("c1") == "worker-1.sock"
    board.take({"event": "call_ended", "call": "c1", "reason": "completed"}, 20.0)
    assert board.worker_of("c1") == "" and board.calls(20.0)[0]["ended"]
    assert board.calls(21.0 + KEEP_ENDED_S) == []


def test_the_board_bears_nonsense_and_bounds():
    """Wrong types, unknown kinds and more calls than there can be change nothing."""
    board = LiveBoard()
    for event in ({}, {"event": 3, "call": "c"}, {"event": "said"}, {"event": "x", "call": "c" * 99}):
        assert board.take(event, 0.0) is None
    for number in range(MAX_CALLS + 10):
        board.take(started(f"c{number}"), 0.0)
    assert len(board.calls(0.0)) == MAX_CALLS
    board.take({"event": "line", "call": "c1", "quality": 7}, 0.0)
    board.take({"event": "said", "call": "c1", "turn": "x", "at_ms": None, "text": 5}, 0.0)


async def test_events_arrive_and_commands_go_back(tmp_path):
    """Both directions over real sockets below a long path; without a listener nothing happens."""
    folder = tmp_path / ("long-" * 30)
    got, commands = [], []
    worker = LivePort(folder, "worker-1.sock", commands.append)
    console = LivePort(folder, CONSOLE_SOCKET, got.append)
    worker.open()
    worker.publish({"event": "nobody hears this"})
    console.open()
    try:
        assert console.workers() == ["worker-1.sock"]
        worker.publish({"event": "said", "text": "\x1b<é"})
        worker.publish({"event": "bad", "text": "\ud800"})
        console.publish({"command": "snapshot"}, "worker-1.sock")
        async with asyncio.timeout(2):
            while not got or not commands:
                await asyncio.sleep(0.005)
        assert got == [{"event": "said", "text": "\x1b<é"}] and commands == [{"command": "snapshot"}]
        assert (folder / "live").stat().st_mode & 0o777 == 0o700
    finally:
        worker.close()
        console.close()
    assert list((folder / "live").iterdir()) == []


async def test_a_console_that_does_not_read_costs_the_worker_nothing(tmp_path):
    """Thousands of events to a stopped reader: publish returns, the backlog is bounded, the oldest go."""
    worker = LivePort(tmp_path, "worker-1.sock", lambda event: None)
    console = LivePort(tmp_path, CONSOLE_SOCKET, lambda event: None)
    worker.open()
    console.open()
    try:
        for number in range(5000):
            worker.publish({"event": "partial", "n": number, "text": "x" * 500})
        assert worker.dropped > 0 and len(worker._backlog) <= 256
    finally:
        worker.close()
        console.close()


# ---------------------------------------------------------------- handoffs


def test_accept_goes_to_the_first_and_tells_the_worker(tmp_path):
    """The claim is in the store, the command at the worker's socket, the act in the audit log."""
    with client(tmp_path) as browser, client(tmp_path / "other") as _:
        csrf = {"X-CSRF-Token": log_in(browser, "agent")}
        hub = browser.app.state.hub
        hub.store.join(context("h1", "c1"), priority="high")
        hub.store.join(context("h2", "c2"), priority="normal")
        hub.board.take(started("c1"), hub._clock_s())
        sent = []
        hub._feed.publish = lambda event, to: sent.append((to, event))
        first, second = browser.get("/api/waiting").json()["waiting"]
        assert (first["handoff_id"], first["position"], second["position"]) == ("h1", 1, 2)
        assert browser.post("/api/handoffs/h1/accept", headers=csrf).status_code == 200
        assert sent == [
            (
                "worker-1.sock",
                {
                    "command": "accept",
                    "call": "c1",
                    "handoff_id": "h1",
                    "uri": "sip:a@127.0.0.1:5999",
                    "agent": "agent",
                },
            )
        ]
        assert browser.post("/api/handoffs/h1/accept", headers=csrf).status_code == 409
        assert browser.post("/api/handoffs/h2/accept", headers=csrf).status_code == 410
        assert browser.post("/api/handoffs/none/accept", headers=csrf).status_code == 404
        assert browser.post("/api/handoffs/h1/decline", headers=csrf).status_code == 200
        assert hub.store.get("h1").state == "waiting"
        assert [w["handoff_id"] for w in browser.get("/api/waiting").json()["waiting"]] == []
        assert browser.post("/api/handoffs/h1/accept", headers=csrf).status_code == 403
        acts = [json.loads(line)["did"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        assert acts == ["accepted", "declined"]


def test_a_supervisor_whispers_and_hangs_up(tmp_path):
    with client(tmp_path) as browser:
        csrf = {"X-CSRF-Token": log_in(browser, "supervisor")}
        hub = browser.app.state.hub
        hub.store.join(context("h1", "c1"), priority="normal")
        hub.board.take(started("c1"), hub._clock_s())
        sent = []
        hub._feed.publish = lambda event, to: sent.append(event["command"])
        answer = browser.post("/api/handoffs/h1/note", json={"text": "be kind"}, headers=csrf)
        assert answer.status_code == 200 and hub.store.get("h1").note == "be kind"
        assert (
            browser.post("/api/handoffs/h1/note", json={"text": "x" * 501}, headers=csrf).status_code
            == 422
        )
        assert browser.post("/api/calls/c1/hang-up", headers=csrf).status_code == 200
        assert browser.post("/api/handoffs/h1/take-back", headers=csrf).status_code == 200
        assert browser.post("/api/calls/c9/hang-up", headers=csrf).status_code == 410
        assert sent == ["hang_up", "take_back"]


def test_agents_see_whom_they_can_help_and_status_survives_a_restart(tmp_path):
    """A caller who needs a skill is there for supervisors and for those who have it."""
    with client(tmp_path) as browser:
        csrf = {"X-CSRF-Token": log_in(browser, "agent")}
        store = browser.app.state.hub.store
        store.join(context("h1", "c1"), priority="normal", skills=("fraud",))
        store.join(context("h2", "c2"), priority="normal")
        assert [w["handoff_id"] for w in browser.get("/api/waiting").json()["waiting"]] == ["h2"]
        assert browser.post("/api/handoffs/h1/accept", headers=csrf).status_code == 403
        body = {"status": "available"}
        assert browser.post("/api/agent/status", json=body, headers=csrf).status_code == 200
    with client(tmp_path) as browser:
        log_in(browser, "supervisor")
        seen = browser.get("/api/waiting").json()
        assert [w["handoff_id"] for w in seen["waiting"]] == ["h1", "h2"]
        assert seen["agents"] == {"agent": "available"}
