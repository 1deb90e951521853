"""Voice, prosody, language and respellings of a plan reach what is spoken."""

import asyncio
import datetime as dt

import pytest

from voicebot.audio.narrowband import VoiceProfile
from voicebot.core.delivery import Delivery
from voicebot.dialogue import Conversation, load_dialplan
from voicebot.dialogue.actions import Listen, Speak, StartTimer
from voicebot.dialogue.events import CallerSaid, DigitPressed
from voicebot.dialogue.fixed_texts import fixed_texts
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.state import CallFacts
from voicebot.tts.cache import PromptCache
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS
from voicebot.tts.renderer import ShapedVoice, SpeechRenderer
from voicebot.tts.tone import ToneVoice
from voicebot.worker.plan_prompts import PlanPrompts
from voicebot.worker.plan_shelf import PlanShelf
from voicebot.worker.speaking import SpeakingPool, fixed_prompt

PLAN = """
version: 1
name: t
locale: en-GB
speech:
  voice: rms
  languages: { en-US: { voice: slt, prosody: fast } }
lexicon: { "IBAN": "eye ban" }
routes: [ { match: { to: "*" }, flow: main } ]
slots:
  day: { type: date, ask: "Which day?", confirm: always }
tools:
  find: { fixture: rows }
fixtures: { rows: [ { outcome: ok } ] }
flows:
  main:
    - say: "Your IBAN, please."
    - say: "This is urgent."
      voice: awb
      prosody: urgent
      barge_in: { speech: true, dtmf: false, min_words: 3 }
    - menu:
        ask: "Here or there?"
        prosody: { rate: 0.8, pitch: 1.1 }
        budget: { response_onset: 500ms, filler_after: 300ms, filler: "Hm." }
        choices:
          - { intent: here, dtmf: "1", then: [] }
          - { intent: there, dtmf: "2", then: { language: en-US, say: "It is {{ '1234' | number }}." } }
    - collect: day
    - call: find
      budget: { filler_after: 400ms }
"""


def begin():
    call = Conversation(
        load_dialplan(PLAN),
        CallFacts(session_id="s", called="1", now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)),
    )
    return call, call.start()


def speaks(actions):
    return [a for a in actions if isinstance(a, Speak)]


def test_a_step_overrides_the_plan():
    _, actions = begin()
    plain, urgent, question = speaks(actions)
    assert plain.delivery == Delivery(voice="rms", locale="en-GB")
    preset = PROSODY_PRESETS["urgent"]
    assert urgent.delivery == Delivery(voice="awb", locale="en-GB", rate=preset.rate, pitch=preset.pitch)
    assert (urgent.min_words, urgent.dtmf_barge_in) == (3, False)
    assert question.delivery == Delivery(voice="rms", locale="en-GB", rate=0.8, pitch=1.1)


def test_from_a_language_step_on_the_call_is_in_that_language():
    """Number words, the voice of that language, and dates as that country keys them."""
    call, _ = begin()
    actions = call.handle(DigitPressed(digit="2"))
    fast = PROSODY_PRESETS["fast"].rate
    assert [(s.text, s.delivery) for s in speaks(actions)] == [
        (
            "It is one thousand two hundred thirty four.",
            Delivery(voice="slt", locale="en-US", rate=fast),
        ),
        ("Which day?", Delivery(voice="slt", locale="en-US", rate=fast)),
    ]
    restored = Conversation.restore(load_dialplan(PLAN), call._call, call.snapshot())
    for key in "1225":
        restored.handle(DigitPressed(digit=key))
    assert "December twenty fifth" in restored.handle(DigitPressed(digit="#"))[-2].text


def test_a_step_has_its_own_budget():
    call, actions = begin()
    (listen,) = [a for a in actions if isinstance(a, Listen)]
    assert listen.response_onset_ms == 500
    call.handle(DigitPressed(digit="1"))
    call.handle(CallerSaid(text="tomorrow"))
    actions = call.handle(CallerSaid(text="yes"))
    assert StartTimer(timer="filler", after_ms=400, of_silence=True) in actions


def test_the_fixed_prompts_are_rendered_as_they_will_be_asked_for():
    plan = load_dialplan(PLAN)
    known = set(fixed_texts(plan))
    _, actions = begin()
    assert {(s.text, s.delivery) for s in speaks(actions)} <= known


class Noting:
    """A renderer that notes what it was asked for."""

    def __init__(self):
        self.asked = []

    def render(self, text, **how):
        self.asked.append(
            (text, how["voice"], how["prosody"], how["locale"], how["lexicon"].apply(text))
        )
        yield b"audio"


async def test_the_renderer_gets_voice_prosody_language_and_lexicon():
    plan, renderer = load_dialplan(PLAN), Noting()
    pool = SpeakingPool(renderer, 1)
    delivery = Delivery(voice="slt", locale="en-GB", rate=0.9, pitch=0.95)
    assert [piece async for piece in pool.speak("The IBAN.", delivery, plan.lexicon)] == [b"audio"]
    pool.close()
    assert renderer.asked == [("The IBAN.", "slt", PROSODY_PRESETS["calm"], "en-GB", "The eye ban.")]


def test_a_warmed_prompt_is_a_cache_hit():
    """The warmer and the pool ask the renderer in the same way."""
    plan = load_dialplan(PLAN)
    text, delivery = next(fixed for fixed in fixed_texts(plan) if "urgent" in fixed[0])
    prompt = fixed_prompt(text, delivery, plan.lexicon)
    assert (prompt.voice, prompt.prosody, prompt.locale) == ("awb", PROSODY_PRESETS["urgent"], "en-GB")
    assert prompt.lexicon is plan.lexicon


@pytest.mark.models
def test_prosody_of_a_plan_changes_the_audio():
    """15 % faster is 15 % shorter, within a tenth, on the default voice."""
    from voicebot.config.settings import TtsSettings
    from voicebot.tts.build import build_renderer

    renderer: SpeechRenderer = build_renderer(TtsSettings())
    text = "Your card has been blocked, and a new one is on its way."

    def length(prosody):
        return sum(len(piece) for piece in renderer.render(text, prosody=prosody))

    assert length(PROSODY_PRESETS["urgent"]) / length(NEUTRAL) == pytest.approx(1 / 1.15, rel=0.1)


def tone_renderer():
    voice = ShapedVoice(ToneVoice(), VoiceProfile())
    return SpeechRenderer({"tone": voice}, ["tone"], cache=PromptCache(50_000_000))


async def test_a_new_version_of_the_plan_is_rendered_before_it_is_asked_for(tmp_path, monkeypatch):
    """A caller after the change gets its fixed prompts out of the cache, respellings and all."""
    monkeypatch.setattr("voicebot.worker.plan_shelf.RELOAD_S", 0.01)
    path, renderer, told = tmp_path / "plan.yaml", tone_renderer(), asyncio.Event()
    path.write_text(PLAN.replace("voice: rms", "voice: tone"))
    shelf, prompts = PlanShelf(PlanLibrary(path), None, ()), PlanPrompts(renderer)

    def prepare(plan):
        prompts.prepare(plan)
        told.set()

    watching = asyncio.create_task(shelf.watch(prepare))
    path.write_text(path.read_text().replace("Your IBAN, please.", "Please say your IBAN."))
    async with asyncio.timeout(30):
        await told.wait()
    watching.cancel()
    assert await asyncio.to_thread(prompts.wait, 30)
    plan = shelf.latest.plan
    text, delivery = next(fixed for fixed in fixed_texts(plan) if fixed[0] == "Please say your IBAN.")
    before = renderer.cache_stats()
    pool = SpeakingPool(renderer, 1)
    assert [piece async for piece in pool.speak(text, delivery, plan.lexicon)]
    pool.close()
    after = renderer.cache_stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 0)
    await shelf.close()


async def test_an_old_version_is_closed_when_its_last_call_is_over(tmp_path, monkeypatch):
    """Calls under way keep their version and its connections; afterwards nothing of it is left."""
    monkeypatch.setattr("voicebot.worker.plan_shelf.RELOAD_S", 0.01)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    shelf, changed = PlanShelf(PlanLibrary(path), None, ()), asyncio.Event()
    watching = asyncio.create_task(shelf.watch(lambda _: changed.set()))
    async with shelf.lend() as first, asyncio.timeout(30):
        path.write_text(PLAN.replace("Here or there?", "There or here?"))
        await changed.wait()
        async with shelf.lend() as second:
            assert second is shelf.latest and second is not first
        client = first.services.tools._client
        assert not client.is_closed
    assert client.is_closed
    assert not second.services.tools._client.is_closed
    watching.cancel()
    await shelf.close()
