"""The commands for the terminal."""

from typer.testing import CliRunner

from tests.unit.console_kit import XSS_ATTRIBUTE, context
from voicebot.console.accounts import password_fits
from voicebot.console.cli import app as console_app
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.cli import app as handoff_app
from voicebot.handoff.queue_store import HandoffStore


def test_watch_shows_who_waits(tmp_path, monkeypatch):
    """Escapes and brackets of a caller's name are shown, not obeyed."""
    monkeypatch.setenv("VOICEBOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    store = HandoffStore(tmp_path)
    store.join(context("h1"), priority="normal")
    CallbackStore(tmp_path).ask("h0", "+442071838750", "fraud")
    shown = CliRunner().invoke(handoff_app, ["--once"])
    assert shown.exit_code == 0, shown.output
    assert "waiting" in shown.output and XSS_ATTRIBUTE[:20] in shown.output
    assert "+442071838750" in shown.output and "scheduled" in shown.output


def test_password_prints_a_hash_that_fits():
    done = CliRunner().invoke(console_app, ["password"], input="open sesame\nopen sesame\n")
    assert done.exit_code == 0
    assert password_fits("open sesame", done.output.split()[-1])
