"""The report in Debian's chromium, driven by its chromedriver over plain WebDriver."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from dataclasses import asdict

import numpy as np
import pytest

from sip_test_harness.html_report import build_report, write_html
from sip_test_harness.judgement import judge
from sip_test_harness.qa_row import Cell, QaRow, _sound, course_of

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium and chromium-driver (Debian packages) are not installed",
    ),
]


class Browser:
    """As much of WebDriver as the test needs."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:
            if "started successfully on port" in line:
                self.base = f"http://127.0.0.1:{line.split('port')[-1].strip().rstrip('.')}"
                break
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder}",
            "--window-size=1280,1600",
            "--disable-background-networking",
        ]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.session = (
            f"/session/{self.call('/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        )

    def call(self, path, body=None, method=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=40) as answer:
            return json.loads(answer.read())["value"]

    def script(self, text):
        return self.call(f"{self.session}/execute/sync", {"script": text, "args": []})

    def close(self):
        try:
            self.call(self.session, method="DELETE")
        finally:
            self.process.stdout.close()
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def rows():
    tone = (9000 * np.sin(np.arange(16000) * 0.3)).astype(np.int16)
    out = []
    for loss in (0.0, 3.0):
        for jitter in (0.0, 30.0):
            text = "my balance" if not loss else "my <b>ballots</b>"
            transcript = [
                {"who": "bot", "text": "Hello", "step": "ask"},
                {
                    "who": "caller",
                    "text": text,
                    "intent": "balance",
                    "stages_ms": {"asr": 40, "tts": 90},
                },
            ]
            out.append(
                QaRow(
                    name="balance",
                    cell=asdict(Cell(loss, 1.0, jitter)),
                    profile="p",
                    seed=1,
                    transcript=transcript,
                    course=course_of(transcript),
                    turns=[
                        {
                            "label": "say",
                            "speech_start_ms": 500,
                            "speech_end_ms": 900,
                            "response_onset_ms": 300 + 100 * loss,
                            "barge_in_stop_ms": None,
                            "bot_spoke_at_end": False,
                        }
                    ],
                    onset_ms=[300 + 100 * loss],
                    mos=4.3 - loss / 10,
                    duration_ms=2000,
                    spoken_spans_ms=[[500, 900]],
                    bot_spans_ms=[[1200, 1900]],
                    lost_in_ms=[100 * i for i in range(int(loss))],
                    wave_caller=[30] * 400,
                    wave_bot=[60] * 400,
                    stages={"asr": 40.0, "tts": 90.0},
                    lost_out_ms=[100 * i for i in range(6)] if loss else [],
                    concealed_out_ms=[0, 100, 200] if loss else [],
                    holes_out_ms=[300] if loss else [],
                    dropped_out_ms=[50, 150] if loss else [],
                    sound_wav_base64=_sound(tone, tone),
                )
            )
    judge(out)
    for row in out:
        if row.lost_out_ms:
            row.interruptions = [{"at_ms": 1500, "pause_ms": 200.0, "resumed_right": True}]
    return out


def found(browser, selector):
    return browser.script(f"return [...document.querySelectorAll('{selector}')].map((node) => node.id)")


def test_heat_map_drill_down_and_player_work(browser, tmp_path):
    """Cells are drawn and lead to their calls; a call shows waves, lanes, words and plays; no console error."""
    write_html(tmp_path / "report.html", build_report(rows(), about="browser test"))
    browser.call(f"{browser.session}/url", {"url": f"file://{tmp_path}/report.html"})
    assert browser.script("return document.querySelectorAll('#maps svg').length") == 4
    assert browser.script("return document.querySelectorAll('#maps g.cell').length") == 16
    assert browser.script("return document.querySelectorAll('tr.pick').length") == 4
    browser.script(
        "document.querySelector('g.cell[data-cell=\"3|1|30\"]').dispatchEvent(new MouseEvent('click'))"
    )
    assert browser.script("return document.querySelectorAll('tr.pick').length") == 1
    browser.script("document.querySelector('tr.pick').click()")
    call = browser.script("return document.getElementById('call').innerText")
    assert (
        "loss 3 %" in call.lower()
        and "+ caller: my <b>ballots</b>" in call
        and "- caller: my balance" in call
    )
    assert browser.script("return document.querySelectorAll('#call b').length") == 0
    assert browser.script("return document.querySelectorAll('#call polygon').length") == 2
    for _ in range(100):
        duration = browser.script("return document.querySelector('audio').duration || 0")
        if duration:
            break
        time.sleep(0.05)
    assert duration == pytest.approx(2.0, abs=0.1)
    # What became of each lost packet, each in its colour; the pause nobody meant; the stages.
    lanes = {kind: len(found(browser, f"rect.packet.{kind}")) for kind in ("concealed", "quiet", "late")}
    assert lanes == {"concealed": 3, "quiet": 2, "late": 2}
    assert len(found(browser, "rect.packet.lost")) == 1 + 3  # a hole for the bot, three for the caller
    assert "paused at 1.5 s" in call and "went on where it had stopped" in call
    assert len(found(browser, "#turn-timeline rect")) == 2 + 2  # two stages, and their legend
    # A place in the picture is a place in the sound.
    browser.script(
        "const svg = document.querySelector('svg.seek'), box = svg.getBoundingClientRect();"
        "svg.dispatchEvent(new MouseEvent('click', {clientX: box.left + box.width * 585 / 1100}))"
    )
    assert browser.script("return document.querySelector('audio').currentTime") == pytest.approx(
        1, abs=0.1
    )
    assert (
        browser.script("return document.querySelector('.playhead').getAttribute('visibility')")
        == "visible"
    )
    # All calls again, the worst first.
    browser.script("document.querySelector('#filter button').click()")
    browser.script("document.querySelectorAll('th.sort')[4].click()")
    first = browser.script("return document.querySelector('tr.pick').innerText")
    assert "50.0 %" in first and "false pause" in first
    errors = [
        entry
        for entry in browser.call(f"{browser.session}/se/log", {"type": "browser"})
        if entry["level"] in {"SEVERE", "WARNING"}
    ]
    assert errors == []
    picture = base64.b64decode(browser.call(f"{browser.session}/screenshot"))
    (tmp_path / "report.png").write_bytes(picture)
    assert picture[:4] == b"\x89PNG"
