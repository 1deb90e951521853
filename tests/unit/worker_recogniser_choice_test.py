"""Which model hears a call: the route's own, the plan's language, or the default."""

from pathlib import Path

import numpy as np
import pytest

from voicebot.asr.build import build_factory, build_named_factories
from voicebot.asr.fake import FakeFactory
from voicebot.asr.pool import RecogniserPool
from voicebot.audio.g711 import encode_ulaw
from voicebot.config.load import load_settings
from voicebot.config.settings import AsrSettings
from voicebot.core.errors import ConfigError
from voicebot.core.expectation import Expectation
from voicebot.dialogue.library import PlanLibrary
from voicebot.link.messages import Start
from voicebot.worker.hearing import Ears
from voicebot.worker.plan_shelf import PlanShelf, check_recognisers

TINY = Path(__file__).parent.parent / "data" / "asr" / "tiny-16k"
PLAN = """
version: 1
name: two lines
locale: en-GB
routes:
  - match: {to: german}
    flow: hello
    recogniser: german-line
  - match: {to: "*"}
    flow: hello
flows:
  hello:
    - hangup: Goodbye.
"""


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return PlanLibrary(path)


def start(called):
    return Start(call_id="c", session_id="s", caller="+441", called=called)


def test_a_route_may_name_its_model(library):
    """The route's model comes before the plan's language."""
    used = PlanShelf(library, None, ()).latest
    assert used.recognisers(start("german")) == ("german-line", "en-GB")
    assert used.recognisers(start("anybody")) == ("en-GB",)


def test_a_route_whose_model_nobody_configured_is_refused_at_start(library):
    """The message names the model and the setting."""
    check_recognisers(library.plan, {"german-line": None})
    with pytest.raises(ConfigError, match=r"asr\.models.*german-line"):
        check_recognisers(library.plan, {"en": None})


async def test_the_call_is_heard_by_the_chosen_model():
    """Ears switch before the first turn; the kind of the expectation reaches the engine."""
    kinds = []

    class Engine(FakeFactory):
        def start(self, grammar, kind=""):
            kinds.append(kind)
            return super().start(grammar, kind)

        def for_call(self):
            return self

    pool = RecogniserPool(FakeFactory(["default"]), threads=1, named={"en": Engine(["english"])})
    heard = []
    for names in ((), ("en-GB",)):
        ears = Ears(pool)
        ears.use(*names)
        turn = ears.recognise(1, Expectation(kind="yes_no"), lambda _: None)
        heard.append((await turn.finish()).text)
    pool.close()
    assert heard == ["default", "english"]
    assert kinds == ["yes_no"]


def test_models_are_read_from_the_settings_and_each_directory_once(tmp_path):
    """Two names of one directory share the loaded model; the rate of each is its own."""
    path = tmp_path / "settings.yaml"
    path.write_text(f"asr:\n  models:\n    en: {TINY}\n    test-line: {TINY}\n")
    settings = load_settings(path, {})
    named = build_named_factories(settings.asr)
    assert set(named) == {"en", "test-line"}
    assert named["en"] is named["test-line"]
    assert named["en"].directory.sample_rate_hz == 16000


def test_a_named_model_that_is_not_there_is_a_config_error(tmp_path):
    """As for the default model: no download is tried."""
    with pytest.raises(ConfigError, match="no model directory"):
        build_named_factories(AsrSettings(models={"de": tmp_path / "vosk-model-small-de-0.15"}))


@pytest.mark.timeout(180)
async def test_a_16_khz_model_serves_a_call_with_the_path_alone_changed():
    """An official-style directory: mu-law at 8 kHz in, words with times in the call's own milliseconds out."""
    asr = load_settings(None, {"VOICEBOT_ASR__MODEL_PATH": str(TINY)}).asr
    pool = RecogniserPool(build_factory(asr), threads=1, engine_limit_s=150)
    payload = encode_ulaw(np.random.default_rng(1).normal(0, 2000, 160).astype(np.int16))
    for kind, phrases in (("choice", ("one", "yes")), ("free", ())):
        turn = Ears(pool).recognise(1, Expectation(kind=kind, phrases=phrases), lambda _: None)
        for _ in range(50):
            turn.feed(payload)
        heard = await turn.finish()
        assert heard.final
        assert 0 <= heard.confidence <= 1
        assert set(heard.text.split()) <= pool.factory.directory.words
    pool.close()
