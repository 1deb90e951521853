"""What `voicebot doctor` finds before a caller does: ports, passwords, programs."""

import itertools
import socket

import pytest

from voicebot.config.settings import Settings
from voicebot.doctor import examine
from voicebot.supervise import front

CHEAP = 7
"""So many findings come before a folder is made or a model is loaded."""


def found(**sections):
    """The cheap findings by subject."""
    findings = examine(Settings(**sections))
    return {f.subject: f for f in itertools.islice(findings, CHEAP)}


def test_passwords_that_are_missing_are_named_and_not_shown(monkeypatch):
    """A carrier's password is looked for where the bot will look."""
    sip = {"digest_users": [{"name": "carrier", "password_env": "CARRIER_PASSWORD"}]}
    monkeypatch.delenv("CARRIER_PASSWORD", raising=False)
    finding = found(sip=sip)["passwords"]
    assert (finding.verdict, "CARRIER_PASSWORD" in finding.detail) == ("missing", True)
    monkeypatch.setenv("CARRIER_PASSWORD", "canary")
    finding = found(sip=sip)["passwords"]
    assert finding.verdict == "ok"
    assert "canary" not in finding.detail
    assert found()["passwords"].verdict == "ok"


@pytest.mark.parametrize("installed", [True, False])
def test_many_calls_need_kamailio(monkeypatch, installed):
    """Four calls need none; for eight it says what to install."""
    where = "/usr/sbin/kamailio" if installed else None
    monkeypatch.setattr(front.shutil, "which", lambda *_args, **_more: where)
    assert "edges 1" in found()["processes"].detail
    findings = found(scale={"calls": 8})
    if installed:
        assert "/usr/sbin/kamailio in front" in findings["processes"].detail
    else:
        assert findings["fleet"].verdict == "missing"
        assert "apt-get install kamailio" in findings["fleet"].detail


def test_a_taken_port_of_the_console_is_a_warning():
    """The calls work without it, so it is no reason not to start."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finding = found(console={"port": port})["web ports"]
    assert finding.verdict == "warning"
    assert f"{port}/tcp (console.port)" in finding.detail
