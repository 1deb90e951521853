"""A commit can be taken back for a moment, unless the answer was heard or something was done."""

from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import Listen
from voicebot.worker.turn_merge import TurnMerge

LISTEN = Listen(expectation=Expectation(kind="free"))


def committed(text="i want to"):
    merge = TurnMerge(600, 100)
    merge.committed("before", text, LISTEN, {"filler": 1.0}, 1000.0)
    return merge


def test_speech_right_after_the_commit_takes_it_back():
    merge = committed()
    last = merge.take_back(1400.0, heard_ms=0)
    assert (last.dialogue, last.listen, dict(last.timers_ms)) == ("before", LISTEN, {"filler": 1.0})
    assert merge.joined("block my card") == "i want to block my card"
    assert merge.joined("next turn") == "next turn"
    assert merge.cut_offs == 1


def test_it_stands_after_the_window_or_once_the_answer_was_heard_or_acted_on():
    assert committed().take_back(1601.0, heard_ms=0) is None
    assert committed().take_back(1400.0, heard_ms=200) is None
    acted = committed()
    acted.acted()
    assert acted.take_back(1400.0, heard_ms=0) is None


def test_a_turn_without_words_leaves_nothing_to_take_back():
    assert committed("").take_back(1100.0, heard_ms=0) is None


def test_it_can_be_taken_back_once():
    merge = committed()
    merge.take_back(1100.0, heard_ms=0)
    assert merge.take_back(1200.0, heard_ms=0) is None
