"""The listener turns 20 ms frames into turns, barge-in and silence."""

import numpy as np
import pytest

from tests.scenario.virtual_callers import LineWithoutEcho, noise, voice
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import Listen
from voicebot.link.binary_media import CallerAudio
from voicebot.turn.echo_path import EchoPath, EchoResult, EchoState
from voicebot.turn.voice_activity import ScriptedVoiceActivity
from voicebot.worker.listener import (
    BargeIn,
    Listener,
    Silence,
    TurnAudio,
    TurnEnded,
    TurnIgnored,
    TurnPaused,
    TurnStarted,
)

SETTINGS = TurnSettings()
LISTEN = Listen(expectation=Expectation(kind="menu"), no_input_ms=3000)


def listener_with(*speech_ms, echo=None, sound=None):
    echo = echo or LineWithoutEcho()
    listener = Listener(SETTINGS, ScriptedVoiceActivity([(a * 8, b * 8) for a, b in speech_ms]), echo)
    listener.speech_ms = speech_ms
    listener.sound = sound or loud
    return listener


def feed(listener, from_ms, to_ms, **how):
    events = []
    for at in range(from_ms, to_ms, 20):
        spoken = any(a <= at < b for a, b in listener.speech_ms)
        frame = CallerAudio(
            at // 20, at * 8, at * 1000, at * 8, listener.sound(at) if spoken else quiet(at)
        )
        events += [
            (at, e) for e in listener.audio(frame, float(at + 20), **{"may_interrupt": True, **how})
        ]
    return events


VOICE = voice(1, 1000)
FAR = voice(1, 1000, level=300)  # -41 dBov


def loud(at):
    return VOICE[at % 1000 * 8 :][:160]


def far(at):
    return FAR[at % 1000 * 8 :][:160]


def key(at):
    at_s = (at + np.arange(160) / 8) / 1000
    tone = np.sin(2 * np.pi * 770 * at_s) + np.sin(2 * np.pi * 1336 * at_s)
    return encode_ulaw((6000 * tone).astype(np.int16))


WEAK = voice(1, 1000, level=530)  # -36 dBov


def weak(at):
    return WEAK[at % 1000 * 8 :][:160]


def quiet(at):
    return noise(at, 20, level=8)


def kinds(events):
    return [type(e) for _, e in events if not isinstance(e, TurnAudio | TurnPaused)]


def test_a_turn_starts_with_the_audio_before_it():
    """The recogniser gets the pre-roll, so the first sound is not cut off."""
    listener = listener_with((1000, 1600))
    listener.listen(LISTEN, 0.0)
    events = feed(listener, 0, 1200)
    at, started = next((at, e) for at, e in events if isinstance(e, TurnStarted))
    assert 1000 <= at <= 1100
    assert len(started.payloads) == SETTINGS.preroll_ms // 20
    assert started.payloads[-1] == loud(at)


def test_a_turn_ends_with_the_arrival_time_of_its_last_speech():
    listener = listener_with((1000, 1600))
    listener.listen(LISTEN, 0.0)
    ended = next(e for _, e in feed(listener, 0, 4000) if isinstance(e, TurnEnded))
    assert ended.packet_in_ms == pytest.approx(1600, abs=32)
    assert ended.speech_ms == pytest.approx(600, abs=64)
    assert ended.packet_in_ms < ended.speech_end_ms


def test_speech_over_the_bot_interrupts_after_the_set_time():
    listener = listener_with((1000, 2000))
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    at = next(at for at, e in feed(listener, 0, 2000) if isinstance(e, BargeIn))
    assert SETTINGS.barge_in_ms <= at + 20 - 1000 <= SETTINGS.barge_in_ms + 52


@pytest.mark.parametrize(
    "sound", [lambda at: noise(at, 20), key, far, weak], ids=["cough", "key", "far", "weak"]
)
def test_what_is_no_voice_near_the_telephone_does_not_pause_the_bot(sound):
    """Although the detector hears a voice in it: it has no pitch, is two lines, or is far away."""
    listener = listener_with((1000, 2000), sound=sound)
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert BargeIn not in kinds(feed(listener, 0, 2000))


def test_a_far_answer_to_our_question_interrupts():
    listener = listener_with((1000, 2000), sound=far)
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert BargeIn in kinds(feed(listener, 0, 2000, asking=True))


def test_a_click_over_the_bot_does_not_interrupt_and_is_no_turn():
    listener = listener_with((1000, 1040))
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert kinds(feed(listener, 0, 3000)) == []


def test_a_prompt_that_must_be_heard_is_not_interrupted():
    listener = listener_with((1000, 2000))
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert feed(listener, 0, 3000, may_interrupt=False) == []


def test_silence_counts_from_the_end_of_the_prompts():
    listener = listener_with()
    listener.bot_speaking(speaking=True, now_ms=0.0)
    listener.listen(LISTEN, 0.0)
    assert listener.advance(5000.0) == []
    listener.bot_speaking(speaking=False, now_ms=5000.0)
    assert listener.next_deadline_ms() == 8000.0
    assert listener.advance(7999.0) == []
    assert listener.advance(8000.0) == [Silence()]
    assert listener.advance(20000.0) == []


def test_no_silence_while_the_caller_speaks():
    listener = listener_with((2000, 8000))
    listener.listen(LISTEN, 0.0)
    feed(listener, 0, 5000)
    assert Silence() not in listener.advance(5000.0)


def test_a_line_that_goes_dead_in_mid_turn_still_ends_the_turn():
    """DTX or a broken line: no frame comes any more, time stands for silence."""
    listener = listener_with((1000, 9000))
    listener.listen(LISTEN, 0.0)
    feed(listener, 0, 1500)
    now, events = 1500.0, []
    for _ in range(100):
        now = max(now + 1, listener.next_deadline_ms())
        events = [e for e in listener.advance(now) if isinstance(e, TurnEnded)]
        if events:
            break
    # How finished a constant sound is no one can say: any of the holds of an open answer will do.
    shortest, longest = SETTINGS.hold_finished_ms, SETTINGS.hold_unfinished_ms
    assert events and shortest - 40 <= now - 1500 <= longest + 40


def test_a_key_press_drops_the_turn_under_way():
    listener = listener_with((1000, 2000))
    listener.listen(LISTEN, 0.0)
    feed(listener, 0, 1500)
    assert listener.in_turn
    assert listener.key_pressed(1500.0) == [TurnIgnored()]
    assert not listener.in_turn


def test_nothing_is_heard_while_nothing_is_expected():
    listener = listener_with((100, 2000))
    assert feed(listener, 0, 3000) == []


def test_our_own_voice_coming_back_is_no_caller():
    """A hybrid echo of the prompt, 12 dB down and 60 ms late, never begins a turn while the bot speaks."""
    prompt = noise(7, 8000)
    echo = encode_ulaw((decode_ulaw(prompt) // 4).astype(np.int16))
    listener = listener_with((0, 20000), echo=EchoPath())
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    events = []
    for tick in range(390):
        position = (tick + 1) * 160
        listener.sent(position, prompt[tick * 160 : position])
        came_back = echo[(tick - 3) * 160 : (tick - 2) * 160] if tick >= 3 else quiet(tick)
        frame = CallerAudio(tick, tick * 160, 0, position, came_back)
        events += listener.audio(frame, tick * 20.0, may_interrupt=True)
    assert events == []


class OwnVoiceBack(EchoPath):
    """A line with an echo: something is heard that the echo does not explain."""

    def process(self, microphone, reference, reference_active):
        return EchoResult(
            residual=microphone,
            state=EchoState.ECHO,
            delay_ms=100.0,
            echo_expected=True,
            explained_ratio=0.0,
            unmodelled_ratio=0.0,
            evidence=0.0,
            above_noise_db=40.0,
            heard_dbov=-20.0,
            unexplained=1.0,
        )


@pytest.mark.parametrize(
    ("sound", "interrupts"),
    [(None, True), (weak, True), (far, False), (lambda at: noise(at, 20), False)],
    ids=["near", "weak", "far", "noise"],
)
def test_on_a_line_with_echo_a_voice_must_be_left_when_the_echo_is_taken_out(sound, interrupts):
    """Our own echo makes the detector hear a voice in a cough or a tone; without it none is there."""
    listener = listener_with((1000, 2000), echo=OwnVoiceBack(), sound=sound)
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert (BargeIn in kinds(feed(listener, 0, 3000))) is interrupts


def test_a_far_voice_pauses_the_bot_once():
    """After an interruption by somebody far away the same voice is no caller; a louder one is."""
    listener = listener_with((1000, 1600), (3000, 3600), (5000, 5600))
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert BargeIn in kinds(feed(listener, 0, 1400))
    listener.resumed(far=True)
    assert BargeIn not in kinds(feed(listener, 1400, 4000))
    listener.caller_speaks_at(listener.loudest_dbov)
    assert BargeIn in kinds(feed(listener, 4000, 5600))


def test_an_interruption_is_judged_by_its_sound_too():
    """Of the turn that ends while it is looked at; of no other turn."""
    listener = listener_with((1000, 1400), (3000, 3400))
    listener.listen(LISTEN, 0.0)
    listener.bot_speaking(speaking=True, now_ms=0.0)
    assert BargeIn in kinds(feed(listener, 0, 1200))
    listener.second_look(looking=True)
    assert listener.sound_odds is None
    assert TurnEnded in kinds(feed(listener, 1200, 2600))
    assert -7.0 <= listener.sound_odds <= 7.0
    listener.second_look(looking=False)
    assert listener.sound_odds is None
    listener.bot_speaking(speaking=False, now_ms=2600.0)
    assert TurnEnded in kinds(feed(listener, 2600, 5000))
    assert listener.sound_odds is None


def test_a_hold_in_mid_turn_leaves_no_silence_behind_when_the_turn_ends():
    """Before, the caller was told that nothing was heard while the recogniser was still at work."""
    listener = listener_with((1000, 1600))
    listener.listen(LISTEN, 0.0)
    feed(listener, 0, 1400)
    assert listener.in_turn
    listener.rearm(1400.0)  # what the call does when it is taken off hold
    assert kinds(feed(listener, 1400, 3500))[-1] is TurnEnded
    assert listener.next_deadline_ms() is None
