"""An interruption pauses at once and is confirmed or undone by what the caller says."""

import pytest

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.barge_in import BargeInJudge, Overlap, Verdict

MENU = Expectation(kind="menu", phrases=("balance", "block my card"), complete=frozenset({"balance"}))
YES_NO = Expectation(kind="yes_no", phrases=("yes", "yeah", "no", "right"))


def overlap(
    expectation=MENU,
    *,
    asking=False,
    own=(),
    min_words=1,
    speaking=False,
    ending=False,
    near=True,
    clear_line=True,
    odds=None,
):
    return Overlap(expectation, asking, tuple(own), min_words, speaking, ending, near, clear_line, odds)


def triggered(**settings):
    judge = BargeInJudge(TurnSettings(**settings))
    judge.trigger(1000.0)
    return judge


def ended(judge, text, over, *, confidence=0.9, at_ms=1500.0):
    return judge.turn_ended(text, over, confidence, at_ms)


@pytest.mark.parametrize("text", ["i want to stop", "block card"])
def test_enough_content_confirms_at_once(text):
    assert triggered().partial(text, overlap(), 1000.0) is Verdict.CONFIRMED


@pytest.mark.parametrize("text", ["stop", "wait", "agent"])
def test_a_word_that_interrupts_must_stand_for_a_while(text):
    """300 ms unchanged, or in the final result: "right" is heard as "wait" before it is over."""
    judge = triggered()
    assert judge.partial(text, overlap(), 1100.0) is Verdict.UNDECIDED
    assert judge.next_deadline_ms() == 1400.0
    assert judge.advance(1399.0, overlap()) is Verdict.UNDECIDED
    assert judge.advance(1400.0, overlap()) is Verdict.CONFIRMED
    judge.trigger(2000.0)
    assert judge.partial(text, overlap(), 2000.0) is Verdict.UNDECIDED
    assert judge.partial("right", overlap(), 2150.0) is Verdict.UNDECIDED
    assert judge.advance(2300.0, overlap()) is Verdict.UNDECIDED
    assert judge.next_deadline_ms() == 2600.0
    assert ended(judge, "right", overlap()) is Verdict.RESUMED
    assert ended(triggered(), text, overlap()) is Verdict.CONFIRMED


@pytest.mark.parametrize("text", ["no", "mortgage"])
def test_a_single_word_must_be_heard_surely_in_the_end(text):
    """Sounds that are no words are heard as some word, unsurely; two words are never taken for such."""
    assert ended(triggered(), text, overlap(), confidence=0.59) is Verdict.RESUMED
    assert ended(triggered(), text, overlap(), confidence=0.6) is Verdict.CONFIRMED
    assert ended(triggered(), f"{text} thanks", overlap(), confidence=0.2) is Verdict.CONFIRMED


def test_an_answer_to_our_question_counts_however_unsure():
    """The dialogue asks back; a prompt that goes on over an answer is worse."""
    asked = overlap(asking=True)
    assert ended(triggered(), "balance", asked, confidence=0.1) is Verdict.CONFIRMED


def test_a_far_word_that_stands_is_looked_at_once_and_not_again():
    judge = triggered()
    judge.partial("stop", overlap(near=False), 1000.0)
    assert judge.advance(1300.0, overlap(near=False)) is Verdict.UNDECIDED
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
    assert ended(triggered(), "stop", overlap(min_words=3)) is Verdict.CONFIRMED
    assert triggered().partial("balance", overlap(asking=True, min_words=3), 1000.0) is Verdict.CONFIRMED


def test_our_own_words_coming_back_resume():
    """Residual echo of the prompt is understood by the recogniser; it must not interrupt the prompt."""
    own = ["you", "can", "also", "use", "your", "keypad", "to", "enter", "it"]
    judge = triggered()
    assert judge.partial("use your keypad", overlap(own=own), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(own=own)) is Verdict.RESUMED


def test_a_turn_that_ends_early_is_judged_by_its_final_text():
    assert ended(triggered(), "balance", overlap(asking=True)) is Verdict.CONFIRMED
    assert ended(triggered(), "", overlap()) is Verdict.RESUMED


def test_words_of_others_in_the_room_cut_nothing():
    """A far voice pauses and the prompt goes on, whatever was understood; an answer to our question counts."""
    judge = triggered()
    assert judge.partial("stop i want an agent", overlap(near=False), 1000.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(near=False)) is Verdict.RESUMED
    assert ended(triggered(), "stop", overlap(near=False)) is Verdict.RESUMED
    assert ended(triggered(), "balance", overlap(asking=True, near=False)) is Verdict.CONFIRMED


def test_a_key_confirms():
    assert triggered().key_pressed() is Verdict.CONFIRMED


def test_without_a_trigger_nothing_is_decided():
    judge = BargeInJudge(TurnSettings())
    assert judge.partial("stop", overlap(), 1000.0) is Verdict.UNDECIDED
    assert ended(judge, "stop", overlap()) is Verdict.UNDECIDED
    assert judge.key_pressed() is Verdict.UNDECIDED


@pytest.mark.parametrize("text", ["", "[unk] [unk]", "yeah right"])
def test_who_is_not_understood_and_speaks_on_means_it(text):
    """The bot does not begin again in the middle of the caller's sentence."""
    judge = triggered()
    judge.partial(text, overlap(speaking=True), 1000.0)
    now_ms = 1600.0
    while (verdict := judge.advance(now_ms, overlap(speaking=True))) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    assert verdict is Verdict.CONFIRMED
    assert now_ms == 1000.0 + TurnSettings().barge_in_voice_ms


def test_where_our_echo_may_be_strong_a_voice_must_outlast_it():
    """An echo goes on for as long after the pause as it is late."""
    judge, echoed = triggered(), overlap(speaking=True, clear_line=False)
    now_ms = judge.next_deadline_ms()
    while judge.advance(now_ms, echoed) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    assert now_ms == 1000.0 + TurnSettings().barge_in_voice_echo_ms


def test_who_falls_silent_before_that_did_not():
    judge = triggered()
    judge.partial("[unk]", overlap(speaking=True), 1000.0)
    assert judge.advance(1600.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(judge.next_deadline_ms(), overlap()) is Verdict.RESUMED


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("your account", {"own": ("your", "account", "number")}),
        ("[unk]", {"min_words": 2}),
    ],
)
def test_our_own_words_and_prompts_that_ask_for_more_resume_at_once(text, more):
    judge = triggered()
    judge.partial(text, overlap(speaking=True, **more), 1000.0)
    assert judge.advance(1600.0, overlap(speaking=True, **more)) is Verdict.RESUMED


@pytest.mark.parametrize("partial", ["", "wait"])
@pytest.mark.parametrize(("final", "verdict"), [("stop", Verdict.CONFIRMED), ("yeah", Verdict.RESUMED)])
def test_who_has_just_fallen_silent_is_judged_by_the_final_result(partial, final, verdict):
    """A short word may be only there, and what was heard on the way may be wrong."""
    judge = triggered()
    assert judge.partial(partial, overlap(), 1500.0) is Verdict.UNDECIDED
    assert judge.advance(1600.0, overlap(ending=True)) is Verdict.UNDECIDED
    assert ended(judge, final, overlap(), at_ms=1700.0) is verdict


def test_the_last_word_is_not_waited_for_for_ever():
    judge = triggered()
    now_ms = 1600.0
    while judge.advance(now_ms, overlap(ending=True)) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    settings = TurnSettings()
    assert now_ms == 1600.0 + settings.barge_in_hold_ms + settings.asr_limit_ms


def test_a_breath_of_somebody_who_speaks_on_does_not_undo_the_pause():
    """Nothing is understood; silent from 840 to 920 ms after the pause, then on: cut after a second."""
    judge = triggered(barge_in_voice_ms=1000)
    for at_ms in range(1600, 1840, 40):
        assert judge.advance(float(at_ms), overlap(speaking=True)) is Verdict.UNDECIDED
    for at_ms in (1840.0, 1880.0, 1920.0):
        assert judge.advance(at_ms, overlap(ending=True)) is Verdict.UNDECIDED
    assert judge.advance(1960.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(2000.0, overlap(speaking=True)) is Verdict.CONFIRMED


def test_who_has_spoken_on_and_falls_silent_is_given_up_after_the_hold():
    judge = triggered(barge_in_voice_ms=1000)
    given_up_ms = 1800.0 + TurnSettings().barge_in_hold_ms + TurnSettings().asr_limit_ms
    assert judge.advance(1800.0, overlap(speaking=True)) is Verdict.UNDECIDED
    assert judge.advance(given_up_ms - 1, overlap(ending=True)) is Verdict.UNDECIDED
    assert judge.advance(given_up_ms, overlap(ending=True)) is Verdict.RESUMED


@pytest.mark.parametrize(
    ("first", "again_ms", "cut_ms"),
    [("", 3400.0, 3700.0), ("yeah", 3400.0, 4100.0), ("", 3600.0, 4300.0)],
)
def test_who_was_not_understood_and_speaks_again_at_once_means_it_sooner(first, again_ms, cut_ms):
    """Within two seconds, 300 ms of voice do; not after a word that only hums along."""
    judge = triggered()
    assert ended(judge, first, overlap(), at_ms=1500.0) is Verdict.RESUMED
    judge.trigger(again_ms)
    now_ms = judge.next_deadline_ms()
    while judge.advance(now_ms, overlap(speaking=True)) is Verdict.UNDECIDED:
        now_ms = judge.next_deadline_ms()
    assert now_ms == cut_ms


@pytest.mark.parametrize(
    ("first", "second", "again_ms", "verdict"),
    [
        ("", "", 3400.0, Verdict.CONFIRMED),
        ("", "yeah", 3400.0, Verdict.RESUMED),
        ("right", "", 3400.0, Verdict.RESUMED),
        ("", "", 3600.0, Verdict.RESUMED),
    ],
)
def test_what_is_said_twice_and_not_understood_cuts(first, second, again_ms, verdict):
    """Who is not heard says "stop" again within two seconds; what hums along may be said twice."""
    judge = triggered()
    assert ended(judge, first, overlap(), at_ms=1500.0) is Verdict.RESUMED
    judge.trigger(again_ms)
    assert ended(judge, second, overlap(), at_ms=again_ms + 250.0) is verdict


def test_where_our_echo_is_strong_twice_is_no_more_than_once():
    """An echo that was not cancelled pauses the bot again and again."""
    judge = triggered()
    assert ended(judge, "", overlap(clear_line=False), at_ms=1500.0) is Verdict.RESUMED
    judge.trigger(2000.0)
    assert ended(judge, "", overlap(clear_line=False), at_ms=2250.0) is Verdict.RESUMED


SOUND = TurnSettings().barge_in_sound_odds


@pytest.mark.parametrize(
    ("text", "confidence", "odds", "verdict"),
    [
        ("", 0.0, SOUND, Verdict.CONFIRMED),
        ("", 0.0, SOUND - 0.1, Verdict.RESUMED),
        ("[unk]", 0.0, SOUND, Verdict.CONFIRMED),
        ("mortgage", 0.3, SOUND, Verdict.CONFIRMED),
        ("mortgage", 0.3, SOUND - 0.1, Verdict.RESUMED),
        ("right", 0.3, 7.0, Verdict.RESUMED),
        ("no", 0.9, -7.0, Verdict.CONFIRMED),
        ("no thanks", 0.3, -7.0, Verdict.CONFIRMED),
    ],
)
def test_the_sound_decides_where_nothing_was_understood(text, confidence, odds, verdict):
    """Or nobody is sure of it; a hum that was understood is one, and so is a word."""
    assert ended(triggered(), text, overlap(odds=odds), confidence=confidence) is verdict


@pytest.mark.parametrize(
    "more", [{"clear_line": False}, {"near": False}, {"min_words": 2}, {"own": ("mortgage",)}]
)
def test_the_sound_alone_does_not_cut_where_it_may_be_another_s(more):
    """A strong echo of ours, others in the room, prompts that ask for more words, our own words."""
    sounds = overlap(odds=7.0, **more)
    assert ended(triggered(), "mortgage", sounds, confidence=0.3) is Verdict.RESUMED
