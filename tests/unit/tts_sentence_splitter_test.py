from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.tts.sentence_splitter import SentenceSplitter

TEXT = st.text(alphabet=st.sampled_from("ab1 .,?!\n;:\"') DrpmI"), max_size=200)


def split(*pieces):
    splitter = SentenceSplitter()
    return [s for piece in pieces for s in splitter.feed(piece)] + splitter.flush()


@settings(deadline=None)
@given(TEXT, st.lists(st.integers(0, 200), max_size=8))
def test_the_result_does_not_depend_on_how_the_text_arrives(text, cuts):
    """Whole, letter by letter or in any pieces: the same sentences."""
    edges = sorted({0, *(min(c, len(text)) for c in cuts), len(text)})
    assert split(*(text[a:b] for a, b in pairwise(edges))) == split(text) == split(*text)


@settings(deadline=None)
@given(TEXT)
def test_nothing_is_lost_but_white_space(text):
    """All characters come out, in order."""
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("Ask Dr. Smith. He knows.", ["Ask Dr. Smith.", "He knows."]),
        ("It is 3.5 percent. Fine.", ["It is 3.5 percent.", "Fine."]),
        ("You owe $1,234.50 now. Thanks.", ["You owe $1,234.50 now.", "Thanks."]),
        ("We open at 5 p.m. Come then.", ["We open at 5 p.m.", "Come then."]),
        ("We open at 5 p.m. on Monday.", ["We open at 5 p.m. on Monday."]),
        ("See example.com today.", ["See example.com today."]),
        ('He said "yes." Then left.', ['He said "yes."', "Then left."]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("So do I. Really.", ["So do I.", "Really."]),
        ("Use e.g. this one.", ["Use e.g. this one."]),
        ("On November 21, 2026 we met there.", ["On November 21, 2026 we met there."]),
        ("It is spelled like this, A, B, C, D.", ["It is spelled like this, A, B, C, D."]),
        ("Well then, my friend, that is all.", ["Well then, my friend,", "that is all."]),
        ("Line one\n\nLine two", ["Line one", "Line two"]),
        ("Wait... what?", ["Wait...", "what?"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text, sentences):
    """Abbreviations, numbers, dates and spelled letters do not end one."""
    assert split(text) == sentences


def test_a_sentence_is_given_as_soon_as_it_is_certain():
    """The next word decides; nobody waits for the end of the text."""
    splitter = SentenceSplitter()
    assert splitter.feed("Hello there.") == []
    assert splitter.feed(" N") == ["Hello there."]
    assert splitter.feed("ext one, of more than six words, go") == ["Next one, of more than six words,"]


def test_text_without_punctuation_is_cut_after_thirty_words():
    """A model that forgets its full stops does not keep the caller waiting."""
    pieces = split(" ".join(["word"] * 70))
    assert [len(p.split()) for p in pieces] == [30, 30, 10]
