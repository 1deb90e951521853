"""The support bundle helps and tells nothing about callers or secrets."""

import asyncio
import json
import zipfile

import pytest
from typer.testing import CliRunner

from voicebot import cli, support_bundle
from voicebot.config.settings import Settings
from voicebot.doctor import Finding
from voicebot.session.call_detail_record import CallDetailLog, CallDetailRecord, TranscriptLine
from voicebot.support_bundle import public_settings, write_bundle

CANARY = "kanarienvogel"
NUMBER = "+4930987654"


@pytest.fixture(autouse=True)
def healthy(monkeypatch):
    """The doctor has its own tests, and listens to every voice."""
    finding = Finding("SIP", "ok", f"port 5060 of {CANARY}")
    monkeypatch.setattr(support_bundle, "examine", lambda _settings: [finding])


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """Canaries in every place where a secret or a caller may be."""
    for name in ("VOICEBOT_SIP_PASSWORD", "VOICEBOT_LLM_KEY", "VOICEBOT_CONSOLE_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"# {CANARY}\nname: x\n")
    data = tmp_path / "data"
    settings = Settings.model_validate(
        {
            "data_dir": data,
            "dialplan": plan,
            "sip": {
                "registration": {
                    "registrar": f"sip:{CANARY}@pbx.example",
                    "aor": f"sip:{CANARY}@pbx.example",
                    "username": CANARY,
                }
            },
            "llm": {"endpoint": f"https://user:{CANARY}@model.example/v1?key={CANARY}"},
            "handoff": {"webhook_url": f"https://{CANARY}:{CANARY}@crm.example/hook"},
            "store": {"url": f"redis://:{CANARY}@db.example:6379/0"},
            "console": {"users": [{"name": "ann", "password_hash": CANARY, "sip": f"sip:{NUMBER}@pbx"}]},
        }
    )
    record = CallDetailRecord(
        call_id="cfeedbeef01",
        session_id="sfeedbeef01",
        sip_call_id=f"{CANARY}@x",
        caller=NUMBER,
        caller_name=CANARY,
        called=NUMBER,
        reason="completed",
        transcript=(TranscriptLine(who="caller", text=CANARY, stages_ms={"asr_final": 81.5}),),
        recording=f"recordings/{CANARY}.wav",
        talk_ms=4711,
    )
    asyncio.run(CallDetailLog(data).append(record))
    (data / "recordings").mkdir()
    (data / "recordings" / f"{CANARY}.wav").write_text(CANARY)
    (data / "console-token").write_text(CANARY)
    log = tmp_path / "log.jsonl"
    lines = [
        {"event": "turn", "call_id": "cfeedbeef01", "text": CANARY, "response_onset_ms": 312.5},
        {"event": "call_started", "caller": NUMBER, "called": NUMBER, "level": "info"},
        {"event": "call_failed", "exception": f"Traceback {CANARY}", "error": CANARY},
        {"event": "odd", "reason": f"{CANARY} {NUMBER}", "passcode": 12345678, "nested": {"a": CANARY}},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + f"no json {CANARY}\n")
    return settings, log, tmp_path


def test_no_canary_gets_into_the_bundle(installation):
    """Neither a secret nor a caller, in any part; what helps is there."""
    settings, log, folder = installation
    target = folder / "bundle.zip"
    names = write_bundle(settings, target, log_file=log, scrape=lambda _: "voicebot_calls_live 1\n")
    assert not [name for name in names if name.endswith(".failed")]
    with zipfile.ZipFile(target) as bundle:
        everything = "\n".join(bundle.read(name).decode() for name in names)
        assert json.loads(bundle.read("calls.jsonl"))["talk_ms"] == 4711
        assert '"asr_final": 81.5' in bundle.read("calls.jsonl").decode()
        events = [json.loads(line) for line in bundle.read("log.jsonl").splitlines()]
    for secret in (CANARY, NUMBER, NUMBER.strip("+"), "12345678", "4930987654"):
        assert secret not in everything, secret
    assert events[0] == {"event": "turn", "call_id": "cfeedbeef01", "response_onset_ms": 312.5}
    assert "model.example" in everything
    assert "voicebot_calls_live 1" in everything
    assert target.stat().st_mode & 0o077 == 0


def test_settings_keep_what_helps():
    """Names of variables, ports and limits stay; the defaults hold no secret to hide."""
    shown = public_settings(Settings().model_dump(mode="json"))
    assert shown["sip"]["port"] == 5060
    assert shown["llm"]["key_env"] == "VOICEBOT_LLM_KEY"


def test_the_command(tmp_path, monkeypatch):
    """Says what is in it, does not overwrite, fails with 1."""
    monkeypatch.setenv("VOICEBOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VOICEBOT_METRICS__PORT", "1")
    target = tmp_path / "b.zip"
    first = CliRunner().invoke(cli.app, ["support-bundle", "--out", str(target)])
    assert first.exit_code == 0, first.output
    assert "settings.json" in first.output
    assert CliRunner().invoke(cli.app, ["support-bundle", "--out", str(target)]).exit_code == 1
