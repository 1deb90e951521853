"""An interruption pauses at once and is confirmed or undone by what the caller says."""

import pytest

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.barge_in import BargeInJudge, Overlap, Verdict

MENU = Expectation(kind="menu", phrases=("balance", "block my card"), complete=frozenset({"balance"}))
YES_NO = Expectation(kind="yes_no", phrases=("yes", "yeah", "no", "right"))


def overlap(
    expectation=MENU, *, asking=False, own=(), min_words=1, speaking=False, ending=False, near=True
):
    return Overlap(expectation, asking, tuple(own), min_words, speaking, ending, near)


def triggered():
    judge = BargeInJudge(TurnSettings())
    judge.trigger(1000.0)
    return judge


@pytest.mark.parametrize("text", ["i want to stop", "block card"])
def test_enough_content_confirms_at_once(text):
    assert triggered().partial(text, overlap(), 1000.0) is Verdict.CONFIRMED


@pytest.mark.parametrize("text", ["stop", "wait", "agent"])
def test_a_word_that_interrupts_must_stand_for_a_while(text):
    """200 ms unchanged, or in the final result: "right" is heard as "wait" before it is over."""
    judge = triggered()
    assert judge.partial(text, overlap(), 1100.0) is Verdict.UNDECIDED
    assert judge.next_deadline_ms() == 1300.0
    assert judge.advance(1299.0, overlap()) is Verdict.UNDECIDED
    assert judge.advance(1300.0, overlap()) is Verdict.CONFIRMED
    judge.trigger(2000.0)
    assert judge.partial(text, overlap(), 2000.0) is Verdict.UNDECIDED
    assert judge.partial("right", overlap(), 2150.0) is Verdict.UNDECIDED
    assert judge.advance(2200.0, overlap()) is Verdict.UNDECIDED
    assert judge.next_deadline_ms() == 2600.0
    assert judge.turn_ended("right", overlap()) is Verdict.RESUMED
    assert triggered().turn_ended(text, overlap()) is Verdict.CONFIRMED


def test_a_far_word_that_stands_is_looked_at_once_and_not_again():
    judge = triggered()
    judge.partial("stop", overlap(near=False), 1000.0)
    assert judge.advance(1200.0, overlap(near=False)) is Verdict.UNDECIDED
    assert judge.next_deadline_ms() == 1600.0


@pytest.mark.parametrize("text", ["", "yeah", "uh-huh", "mm-hmm right", "[unk]", "i", "and the"])
def test_backchannel_noise_and_silence_resume_at_the_deadline(text):
    judge = triggered()
    assert judge.partial(text, overlap(), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1599.0, overlap()) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap()) is Verdict.RESUMED
    assert judge.next_deadline_ms() is None


def test_the_same_word_is_an_answer_when_we_are_asking():
    assert triggered().partial("yeah", overlap(YES_NO, asking=True), 1000.0) is Verdict.CONFIRMED
    assert triggered().partial("yeah", overlap(YES_NO, asking=False), 1000.0) is Verdict.UNDECIDED


def test_an_expected_answer_confirms_at_once():
    assert triggered().partial("balance", overlap(asking=True), 1000.0) is Verdict.CONFIRMED


def test_one_content_word_waits_and_then_confirms():
    judge = triggered()
    assert judge.partial("mortgage", overlap(), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap()) is Verdict.CONFIRMED


def test_a_prompt_may_ask_for_more_words_before_it_is_cut():
    """``barge_in.min_words`` of the dialplan; a word that means stop and an expected answer still cut."""
    judge = triggered()
    assert judge.partial("mortgage rates", overlap(min_words=3), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(min_words=3)) is Verdict.RESUMED
    assert triggered().partial("tell mortgage rates", overlap(min_words=3), 1000.0) is Verdict.CONFIRMED
    assert triggered().turn_ended("stop", overlap(min_words=3)) is Verdict.CONFIRMED
    assert triggered().partial("balance", overlap(asking=True, min_words=3), 1000.0) is Verdict.CONFIRMED


def test_our_own_words_coming_back_resume():
    """Residual echo of the prompt is understood by the recogniser; it must not interrupt the prompt."""
    own = ["you", "can", "also", "use", "your", "keypad", "to", "enter", "it"]
    judge = triggered()
    assert judge.partial("use your keypad", overlap(own=own), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(own=own)) is Verdict.RESUMED


def test_a_turn_that_ends_early_is_judged_by_its_final_text():
    assert triggered().turn_ended("balance", overlap(asking=True)) is Verdict.CONFIRMED
    assert triggered().turn_ended("", overlap()) is Verdict.RESUMED


def test_words_of_others_in_the_room_cut_nothing():
    """A far voice pauses and the prompt goes on, whatever was understood; an answer to our question counts."""
    judge = triggered()
    assert judge.partial("stop i want an agent", overlap(near=False), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(near=False)) is Verdict.RESUMED
    assert triggered().turn_ended("stop", overlap(near=False)) is Verdict.RESUMED
    assert triggered().turn_ended("balance", overlap(asking=True, near=False)) is Verdict.CONFIRMED


def test_a_key_confirms():
    assert triggered().key_pressed() is Verdict.CONFIRMED


def test_without_a_trigger_nothing_is_decided():
    judge = BargeInJudge(TurnSettings())
    assert judge.partial("stop", overlap(), 1000.0) is Verdict.UNDECIDED
    assert judge.turn_ended("stop", overlap()) is Verdict.UNDECIDED
    assert judge.key_pressed() is Verdict.UNDECIDED


@pytest.mark.parametrize("text", ["", "[unk] [unk]"])
def test_who_is_not_understood_and_speaks_on_for_a_second_means_it(text):
    """The bot does not begin again in the middle of the caller's sentence."""
    judge = triggered()
    judge.partial(text, overlap(speaking=True), 1000.0)
    now_ms = 1600.0
    while (verdict := judge.advance(now_ms, overlap(speaking=True))) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    assert verdict is Verdict.CONFIRMED
    assert now_ms == 2000.0


def test_who_falls_silent_before_that_did_not():
    judge = triggered()
    judge.partial("[unk]", overlap(speaking=True), 1000.0)
    assert judge.advance(1600.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(judge.next_deadline_ms(), overlap()) is Verdict.RESUMED


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("yeah right", {}),
        ("your account", {"own": ("your", "account", "number")}),
        ("[unk]", {"min_words": 2}),
    ],
)
def test_humming_our_own_words_and_prompts_that_ask_for_more_resume_at_once(text, more):
    judge = triggered()
    judge.partial(text, overlap(speaking=True, **more), 1000.0)
    assert judge.advance(1600.0, overlap(speaking=True, **more)) is Verdict.RESUMED


@pytest.mark.parametrize(("final", "verdict"), [("stop", Verdict.CONFIRMED), ("yeah", Verdict.RESUMED)])
def test_a_short_word_that_is_only_in_the_final_result_is_waited_for(final, verdict):
    """No partial, and the caller has just fallen silent: the recogniser's last word decides."""
    judge = triggered()
    assert judge.advance(1600.0, overlap(ending=True)) is Verdict.UNDECIDED
    assert judge.turn_ended(final, overlap()) is verdict


def test_the_last_word_is_not_waited_for_for_ever():
    judge = triggered()
    now_ms = 1600.0
    while judge.advance(now_ms, overlap(ending=True)) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    assert now_ms == 1600.0 + TurnSettings().barge_in_hold_ms


def test_a_breath_of_somebody_who_speaks_on_does_not_undo_the_pause():
    """Nothing is understood; silent from 840 to 920 ms after the pause, then on: cut after a second."""
    judge = triggered()
    for at_ms in range(1600, 1840, 40):
        assert judge.advance(float(at_ms), overlap(speaking=True)) is Verdict.UNDECIDED
    for at_ms in (1840.0, 1880.0, 1920.0):
        assert judge.advance(at_ms, overlap(ending=True)) is Verdict.UNDECIDED
    assert judge.advance(1960.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(2000.0, overlap(speaking=True)) is Verdict.CONFIRMED


def test_who_has_spoken_on_and_falls_silent_is_given_up_after_the_hold():
    judge = triggered()
    assert judge.advance(1800.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(1990.0, overlap(ending=True)) is Verdict.UNDECIDED
    assert judge.advance(2030.0, overlap(ending=True)) is Verdict.RESUMED
