"""A bot broken in five ways is caught by the bank's QA suite each time, by the figure that fits.

On virtual time in this process, with fake engines and with the shipped recogniser and voice: the suite,
its recordings, networks and conditions are the ones that people run.
"""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from sip_test_harness.judgement import judge
from sip_test_harness.offline_bot import OfflineBot as BotPipe
from sip_test_harness.offline_sweep import OfflinePlan, offline_row
from sip_test_harness.suite import crossed, read_suite
from tests.qa import breakages
from voicebot.config.settings import AsrSettings, Settings, TtsSettings, TurnSettings
from voicebot.offline import engines, pipe

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SUITE = breakages.ROOT / "dialplans/qa/bank.yaml"
# The whole text stands as a partial result once both callers have said it.
HEARD = "balance@1400"
ENGINES = {
    "fake engines": {
        "asr": AsrSettings(engine="fake", fake_script=(HEARD,)),
        "tts": TtsSettings(engine="tone"),
    },
    "shipped engines": {},
}


class InProcess(BotPipe):
    """The bot behind the same messages without a process: six interpreters would take minutes."""

    def __init__(self, settings):
        self._bot = engines.OfflineBot(settings, engines.Latencies(5, 10, 5))
        self._out = io.BytesIO()
        self._thread = ThreadPoolExecutor(1)
        self._server = pipe.PipeServer(self._bot, io.BytesIO(), self._out)

    def _send(self, kind, content):
        self._out.seek(0)
        self._out.truncate()
        # On a thread: the harness' event loop runs in this one, and the bot's tools need their own.
        self._thread.submit(self._server.answer, kind, content).result()

    def _receive(self, limit_s):
        self._out.seek(0)
        return pipe.read_message(self._out)

    def close(self):
        self._thread.shutdown()
        self._bot.close()


def rows_of(suite, kind, **changes):
    settings = Settings(**ENGINES[kind], **changes)
    # A tone is like itself everywhere: whether it ran on cannot be heard.
    sound = kind != "fake engines"
    plan = OfflinePlan("", suite.target, suite.at, silence_ms=suite.silence_ms, sound=sound)
    with InProcess(settings) as bot:
        return [offline_row(bot, plan, job) for job in suite.jobs()]


@pytest.fixture(scope="module")
def suite():
    return read_suite(SUITE)


@pytest.fixture(scope="module", params=list(ENGINES))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def baseline(suite, kind):
    rows = rows_of(suite, kind)
    judge(rows)
    return rows


def verdict(suite, rows, baseline):
    judge(rows, baseline)
    return crossed(suite.conditions, rows, baseline)


def test_the_bot_as_it_is_passes(suite, baseline, kind):
    assert verdict(suite, rows_of(suite, kind), baseline) == {}


@pytest.mark.parametrize(
    ("breakage", "figure"),
    [
        ("jitter_buffer_off", "bot_dropped"),
        ("concealment_off", "bot_holes"),
        ("late_by_200_ms", "onset_p50_ms"),
        ("cuts_off", "cut_offs"),
        ("wrong_intent", "intents_right"),
    ],
)
def test_a_broken_bot_is_caught_by_the_figure_that_fits(
    suite, baseline, kind, breakage, figure, monkeypatch, tmp_path
):
    from voicebot.audio.concealment import Concealer
    from voicebot.edge import receive_path
    from voicebot.worker.speaking import SpeakingPool

    # Whatever the breakage exchanges is put back afterwards.
    for owner, name in (
        (receive_path, "JitterBuffer"),
        (Concealer, "lost"),
        (Concealer, "good"),
        (engines, "Latencies"),
        (SpeakingPool, "speak"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    changes = {}
    if breakage == "cuts_off":
        names = {name.removeprefix("turn__"): value for name, value in breakages.CUTS_OFF.items()}
        changes["turn"] = TurnSettings(**names)
    elif breakage == "wrong_intent":
        changes["dialplan"] = breakages.wrong_intent_dialplan(tmp_path)
    else:
        getattr(breakages, breakage)()
    found = verdict(suite, rows_of(suite, kind, **changes), baseline)
    assert figure in found, found
    assert "the baseline has no" not in " ".join(found.values())
