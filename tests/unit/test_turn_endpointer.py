"""The endpointer decides on the caller's audio time alone."""

import pytest

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.endpointer import EndOfTurn, Endpointer, SpeechStart, count_digits

WINDOW = 256
SETTINGS = TurnSettings()


def run(endpointer, pattern, *, start=0, partials=None):
    """Feed windows ('s' speech, '.' silence, '~' between); returns [(window index, event)]."""
    events = []
    for i, mark in enumerate(pattern):
        if partials and i in partials:
            endpointer.partial(partials[i])
        probability = {"s": 0.9, ".": 0.05, "~": 0.4}[mark]
        event = endpointer.window(probability, start + (i + 1) * WINDOW, WINDOW)
        if event is not None:
            events.append((i, event))
    return events


def hold_windows(events):
    """Windows between the last speech and the commit."""
    end = next(e for e in events if isinstance(e[1], EndOfTurn))
    return end[0] + 1 - end[1].end_samples // WINDOW


def test_speech_starts_after_enough_windows_and_is_dated_back_to_the_first():
    """Two windows in a row start a turn at the first one's beginning; a single one does not."""
    events = run(Endpointer(SETTINGS), "..s..ss")
    assert events == [(6, SpeechStart(5 * WINDOW))]


def test_an_answer_that_is_complete_and_stable_commits_after_the_short_hold():
    endpointer = Endpointer(SETTINGS)
    endpointer.expect(Expectation(kind="menu", complete=frozenset({"balance"})))
    events = run(endpointer, "s" * 10 + "." * 40, partials={4: "balance"})
    assert events[-1][1].reason == "complete"
    shortest_ms = max(SETTINGS.hold_complete_ms, SETTINGS.min_onset_ms)
    assert 0 <= hold_windows(events) * 32 - shortest_ms < 32


def test_an_expected_answer_that_could_go_on_holds_a_little_longer():
    endpointer = Endpointer(SETTINGS)
    endpointer.expect(Expectation(kind="menu", phrases=("no", "no thank you")))
    events = run(endpointer, "s" * 10 + "." * 40, partials={4: "no"})
    assert events[-1][1].reason == "phrase"
    assert abs(hold_windows(events) * 32 - SETTINGS.hold_phrase_ms) < 33


def test_a_partial_that_has_just_changed_is_not_stable():
    """A complete partial that changes in the silence holds until it has been stable."""
    endpointer = Endpointer(SETTINGS)
    endpointer.expect(Expectation(kind="menu", complete=frozenset({"balance"})))
    events = run(endpointer, "s" * 10 + "." * 40, partials={4: "bal", 13: "balance"})
    assert events[-1][1].reason == "complete"
    assert hold_windows(events) * 32 > SETTINGS.hold_complete_ms


def test_missing_digits_hold_long_and_all_digits_commit():
    expectation = Expectation(kind="digits", min_digits=4, max_digits=4)
    short, full = Endpointer(SETTINGS), Endpointer(SETTINGS)
    short.expect(expectation)
    full.expect(expectation)
    few = run(short, "s" * 10 + "." * 80, partials={5: "one two"})
    all_four = run(full, "s" * 10 + "." * 80, partials={5: "one double two three"})
    assert few[-1][1].reason == "digits"
    assert abs(hold_windows(few) * 32 - SETTINGS.hold_digits_ms) < 33
    assert all_four[-1][1].reason == "complete"


def test_a_trailing_filler_holds_longer_than_an_open_answer():
    filler, plain = Endpointer(SETTINGS), Endpointer(SETTINGS)
    one = run(filler, "s" * 10 + "." * 80, partials={5: "i want to"})
    two = run(plain, "s" * 10 + "." * 80, partials={5: "i want a loan"})
    assert (one[-1][1].reason, two[-1][1].reason) == ("hesitation", "open")
    assert hold_windows(one) > hold_windows(two)


def test_speech_within_the_hold_continues_the_turn():
    events = run(Endpointer(SETTINGS), "sss" + "." * 10 + "ss" + "." * 40)
    ends = [e for _, e in events if isinstance(e, EndOfTurn)]
    assert len(ends) == 1
    assert ends[0].end_samples == 15 * WINDOW


def test_probabilities_between_the_thresholds_neither_end_nor_extend():
    """Hysteresis: 0.4 is no new speech and no silence."""
    events = run(Endpointer(SETTINGS), "sss" + "~" * 60)
    assert [type(e) for _, e in events] == [SpeechStart]


def test_a_turn_is_committed_at_its_maximum_length():
    endpointer = Endpointer(SETTINGS.model_copy(update={"max_turn_ms": 1000}))
    events = run(endpointer, "s" * 60)
    assert events[1][1].reason == "max_turn"
    assert events[1][0] == 31


def test_a_dead_line_ends_the_turn_by_passed_in_time():
    endpointer = Endpointer(SETTINGS)
    run(endpointer, "sssss")
    assert endpointer.stall(400) is None
    end = endpointer.stall(SETTINGS.hold_open_ms)
    assert end is not None and end.end_samples == 5 * WINDOW
    assert not endpointer.in_turn


def test_digits_are_counted_with_double_and_triple():
    assert count_digits(["one", "double", "four", "oh", "triple", "nine"]) == 7
    assert count_digits([]) == 0


def test_an_open_answer_that_the_dialogue_can_act_on_is_not_waited_for_as_long():
    """Understood and stable it holds 350 ms instead of 600; a trailing conjunction still holds longest."""
    for text, understood, hold_ms, reason in (
        ("a large coffee", "a large coffee", SETTINGS.hold_understood_ms, "understood"),
        ("a large coffee", "a large", SETTINGS.hold_open_ms, "open"),
        ("a large coffee and", "a large coffee and", SETTINGS.hold_hesitation_ms, "hesitation"),
    ):
        endpointer = Endpointer(SETTINGS)
        endpointer.expect(Expectation(kind="menu"))
        endpointer.understood(understood)
        events = run(endpointer, "s" * 10 + "." * 60, partials={3: text})
        assert events[-1][1].reason == reason
        assert abs(hold_windows(events) * 32 - hold_ms) < 33


def test_a_caller_with_long_pauses_is_given_more_time_for_open_answers():
    """Three pauses of 700 ms within a turn, and 800 ms are not taken for an end any more."""
    endpointer = Endpointer(SETTINGS)
    endpointer.went_on(90.0)  # part of speaking
    for _ in range(SETTINGS.own_pauses - 1):
        endpointer.went_on(700.0)
    assert endpointer.hold() == (SETTINGS.hold_open_ms, "open")
    endpointer.went_on(700.0)
    assert endpointer.hold() == (804, "open")
    for _ in range(20):
        endpointer.went_on(5000.0)
    assert endpointer.hold() == (SETTINGS.hold_open_max_ms, "open")


def test_pauses_are_learned_while_the_caller_speaks():
    endpointer = Endpointer(SETTINGS.model_copy(update={"hold_open_ms": 500}))
    run(endpointer, ("s" * 10 + "." * 15) * 4 + "s" * 10 + "." * 40)
    assert endpointer.hold()[0] == int(15 * 32 * 1.15)


def test_no_answer_comes_sooner_than_the_floor():
    """A complete answer waits for `min_onset_ms` after the last sound, however short its hold is."""
    settings = SETTINGS.model_copy(update={"hold_complete_ms": 0, "min_onset_ms": 400})
    endpointer = Endpointer(settings)
    endpointer.expect(Expectation(kind="menu", complete=frozenset({"yes"})))
    events = run(endpointer, "s" * 10 + "." * 40, partials={2: "yes"})
    assert hold_windows(events) == 13  # 416 ms


@pytest.mark.parametrize(("stable_silent_ms", "windows"), [(100, 7), (32, 4)])
def test_words_that_come_when_the_caller_is_silent_need_not_stand_as_long(stable_silent_ms, windows):
    """The caller falls silent at window 10, the word is known at 13: nothing can change it."""
    settings = SETTINGS.model_copy(
        update={"hold_complete_ms": 0, "min_onset_ms": 0, "stable_silent_ms": stable_silent_ms}
    )
    endpointer = Endpointer(settings)
    endpointer.expect(Expectation(kind="menu", complete=frozenset({"yes"})))
    assert hold_windows(run(endpointer, "s" * 10 + "." * 40, partials={13: "yes"})) == windows


def test_a_preset_gives_other_defaults_and_what_is_set_by_name_counts_more():
    fast, careful = TurnSettings(preset="fast"), TurnSettings(preset="careful")
    assert fast.hold_open_ms < SETTINGS.hold_open_ms < careful.hold_open_ms
    assert fast.barge_in_ms < SETTINGS.barge_in_ms < careful.barge_in_ms
    assert TurnSettings(preset="fast", hold_open_ms=555).hold_open_ms == 555
    assert TurnSettings() == TurnSettings(preset="balanced")


def test_the_words_of_an_interruption_are_wanted_soon():
    """While an interruption is judged no silence is waited for longer than asked; afterwards it is again."""
    endpointer = Endpointer(SETTINGS)
    endpointer.hurry(200)
    events = run(endpointer, "s" * 10 + "." * 40)
    assert events[-1][1].hold_ms == 200
    events = run(endpointer, "s" * 10 + "." * 40)
    assert events[-1][1].hold_ms == SETTINGS.hold_open_ms
