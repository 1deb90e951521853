"""A colleague who talks to a caller in the browser: how it ends, and what a stalled network does."""

import re
import time
from pathlib import Path

import pytest

from tests.unit.console_kit import BASE, client, context, log_in
from voicebot.console import call_audio

WS = BASE.replace("http", "ws")
STATIC = Path(call_audio.__file__).parent / "static"


class Talk:
    """A page that has accepted the only caller; ``told`` collects what the worker is told."""

    def __init__(self, folder, monkeypatch):
        self.browser = client(folder)
        self.told = []
        self._monkeypatch = monkeypatch

    def __enter__(self):
        self.browser.__enter__()
        log_in(self.browser, "agent")
        hub = self.browser.app.state.hub
        hub.board.take({"event": "call_started", "call": "c1", "worker": "worker-1.sock"}, 0.0)
        hub.store.join(context("h1"), priority="normal")
        hub.store.claim("h1", "agent")
        command = hub.command

        def watched(call_id, name, **more):
            self.told.append(name)
            return command(call_id, name, **more)

        self._monkeypatch.setattr(hub, "command", watched)
        return self

    def __exit__(self, *error):
        self.browser.__exit__(*error)

    def socket(self):
        return self.browser.websocket_connect(WS + "/talk/h1", headers={"Origin": BASE})

    def over(self):
        """Wait until nothing of the conversation is left on our side."""
        hub, end_s = self.browser.app.state.hub, time.monotonic() + 10
        while hub._audio and time.monotonic() < end_s:
            time.sleep(0.01)
        return hub._audio == {}


@pytest.mark.parametrize("code", [1000, 1005])
def test_a_colleague_who_ends_the_conversation_is_done(tmp_path, monkeypatch, code):
    with Talk(tmp_path, monkeypatch) as talk:
        with talk.socket() as socket:
            socket.send_bytes(b"\xff" * 160)
            socket.close(code)
            assert talk.over()
        end_s = time.monotonic() + 10
        while "colleague_done" not in talk.told and time.monotonic() < end_s:
            time.sleep(0.01)
        assert talk.told[-1] == "colleague_done"


@pytest.mark.parametrize("code", [1001, 1006])
def test_a_reload_a_closed_tab_or_a_lost_network_does_not_hang_up_on_the_caller(
    tmp_path, monkeypatch, code
):
    """Before, the caller heard that the conversation had ended. The bot takes the caller back instead."""
    with Talk(tmp_path, monkeypatch) as talk:
        with talk.socket() as socket:
            socket.send_bytes(b"\xff" * 160)
            socket.close(code)
            assert talk.over()
        with talk.socket() as socket:  # the page comes back, and the conversation goes on
            socket.send_bytes(b"\xff" * 160)
            socket.close(code)
            assert talk.over()
        assert "colleague_done" not in talk.told


def test_what_a_stalled_network_sends_at_once_does_not_delay_the_rest(tmp_path, monkeypatch):
    """Three seconds come in one moment: half a second of it is sent on, and the caller is not behind."""
    with Talk(tmp_path, monkeypatch) as talk:
        with talk.socket() as socket:
            began_s = time.monotonic()
            for _ in range(150):
                socket.send_bytes(b"\xff" * 160)
            socket.close(1000)
            assert talk.over()
            took_s = time.monotonic() - began_s
        most = (call_audio.MAX_BEHIND_S + took_s) / 0.02
        assert 25 <= talk.told.count("talk") <= most + 1
        assert took_s > 2.4 or talk.told.count("talk") < 150


def test_who_accepts_a_caller_who_has_hung_up_is_told_so(tmp_path):
    """Not that somebody else was faster."""
    with client(tmp_path) as browser:
        token = {"X-CSRF-Token": log_in(browser, "agent")}
        store = browser.app.state.hub.store
        store.join(context("h1"), priority="normal")
        store.end("h1", "failed", "caller hung up", 0)
        answer = browser.post("/api/handoffs/h1/accept", json={}, headers=token)
        assert (answer.status_code, answer.json()["error"]) == (410, "the caller is gone")


def test_the_microphone_is_asked_for_before_the_caller_is_taken():
    """A browser asks its user first, who takes time or says no; meanwhile the caller hears music."""
    script = (STATIC / "waiting.js").read_text()
    assert script.index("await openMicrophone()") < script.index('{ sip: "browser" }')


def test_text_grows_with_the_size_that_the_reader_chose():
    """No font has a size in pixels: half of the words stayed small when the browser's text was set to 200 %."""
    css = (STATIC / "console.css").read_text()
    assert re.findall(r"font(?:-size)?:[^;]*[0-9]px", css) == []
