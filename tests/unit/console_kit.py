"""A console over a data directory with one finished call, for tests."""

import warnings
import wave

import msgspec
import numpy as np

from voicebot.config.settings import ConsoleSettings, ConsoleUser, Settings
from voicebot.console.accounts import hash_password
from voicebot.console.app import build_app
from voicebot.handoff.context import ContextTurn, HandoffContext
from voicebot.session.call_detail_record import CallDetailRecord, StageLatency, TranscriptLine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have httpx2; httpx serves, and is here already
    from starlette.testclient import TestClient

TOKEN = "test-token-of-the-installation"
SECRET = b"test-secret"
XSS = "<script>alert(1)</script>"
XSS_ATTRIBUTE = '"><img src=x onerror=alert(1)>'
BASE = "http://127.0.0.1:8090"
PASSWORDS = {role: f"{role}-password" for role in ("viewer", "agent", "supervisor")}


def settings(folder, tree=None, **console):
    users = tuple(
        ConsoleUser(name=role, role=role, password_hash=hash_password(text), sip="sip:a@127.0.0.1:5999")
        for role, text in PASSWORDS.items()
    )
    return Settings(data_dir=folder, console=ConsoleSettings(users=users, **console), **tree or {})


def write_call(folder, call_id="c000000000001", **more):
    """A record with hostile texts and a recording of two tones."""
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(8000) / 8000
    both = np.stack([np.sin(2000 * time_s) * 8000, np.sin(3000 * time_s) * 16000], axis=1)
    with wave.open(str(recordings / f"{call_id}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(both.astype("<i2").tobytes())
    record = CallDetailRecord(
        call_id=call_id,
        session_id="s1",
        sip_call_id="abc@host",
        caller="+442071838750",
        caller_name=XSS_ATTRIBUTE,
        called="bank",
        started_at="2026-11-21T10:00:00.000Z",
        ended_at="2026-11-21T10:01:00.000Z",
        talk_ms=60_000,
        reason="completed",
        ended_by="bot",
        transcript=(
            TranscriptLine(who="bot", text="How can I help?", at_ms=100),
            TranscriptLine(
                who="caller",
                text=XSS,
                at_ms=3000,
                intent="balance",
                by="speech",
                response_onset_ms=512.0,
            ),
        ),
        recording=str(recordings / f"{call_id}.wav"),
        latency={"response_onset": StageLatency(count=1, p50_ms=512.0, max_ms=512.0)},
        line={"lost_packets": 3.0},
    )
    record = msgspec.structs.replace(record, **more)
    with (folder / "calls.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")
    return record


def context(handoff_id="h1", call_id="c1"):
    return HandoffContext(
        handoff_id=handoff_id,
        call_id=call_id,
        caller="+442071838750",
        caller_name=XSS_ATTRIBUTE,
        queue="general",
        reason="asked",
        summary=f"The caller asked for a person. Last words: {XSS}",
        turns=(ContextTurn(who="caller", text=XSS, at_ms=1000),),
    )


def client(folder, **console):
    """Not logged in."""
    app = build_app(settings(folder, **console), token=TOKEN, token_secret=SECRET)
    return TestClient(app, base_url=BASE, follow_redirects=False)


def log_in(browser, role):
    """As a person does it; returns the CSRF token of the page."""
    answer = browser.post("/login", data={"name": role, "password": PASSWORDS[role]})
    assert answer.status_code == 303, answer.text
    page = browser.get("/").text
    return page.split('name="csrf" content="')[1].split('"')[0]
