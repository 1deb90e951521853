import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.core.errors import SynthesisError
from voicebot.tts import say_as
from voicebot.tts.lexicon import Lexicon
from voicebot.tts.speech_plan import plan_speech
from voicebot.tts.text_normalizer import LONGEST_CHARACTERS, normalize

SPEAKABLE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,.?!'")


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[\d$£€%:/.,+()@#*_<>a-z -]{0,40}", fullmatch=True))
def test_never_a_digit_or_symbol_reaches_an_engine(text):
    """For any text at all the result has letters, spaces and , . ? ! ' only."""
    assert set(normalize(text)) <= SPEAKABLE


@settings(deadline=None)
@given(st.text(alphabet="abc 0123456789$£.,:/-%@+pm"))
def test_normalised_text_stays_as_it_is(text):
    """A second pass changes nothing: rendered values survive the renderer's own pass."""
    assert normalize(normalize(text)) == normalize(text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                '<break time="1s"/>',
                "<s>",
                "</s>",
                '<sub alias="4%">',
                "</sub>",
                "$5",
                "&amp;",
                "x",
                "9:30",
                "<",
            ]
        )
    ),
    st.sampled_from(["en-US", "en-GB"]),
)
def test_never_a_digit_or_symbol_reaches_an_engine_from_ssml(pieces, locale):
    """Well-formed or not, and with a lexicon: every segment is words."""
    plan = plan_speech(
        f"<speak>{' '.join(pieces)}</speak>", locale=locale, lexicon=Lexicon({"x": "ex, why"})
    )
    assert all(set(segment.words) <= SPEAKABLE for segment in plan)


@pytest.mark.parametrize(
    ("kind", "value", "locale", "words"),
    [
        ("money", "42.10 GBP", "en-GB", "forty two pounds and ten pence"),
        ("money", "$342.16", "en-US", "three hundred forty two dollars and sixteen cents"),
        ("money", "1.00 USD", "en-US", "one dollar"),
        ("money", "0.01 GBP", "en-GB", "one penny"),
        ("money", "-5", "en-US", "minus five dollars"),
        ("money", "1,250 JPY", "en-GB", "one thousand two hundred and fifty yen"),
        ("digits", "5551234567", "en-US", "five five five, one two three, four five six seven"),
        ("digits", "5550198", "en-US", "five five five, zero one nine eight"),
        ("date", "2026-11-21", "en-US", "November twenty first, twenty twenty six"),
        ("date", "2026-11-21", "en-GB", "the twenty first of November, twenty twenty six"),
        ("date", "1905-01-01", "en-US", "January first, nineteen oh five"),
        ("date", "2000-02-29", "en-US", "February twenty ninth, two thousand"),
        ("time", "14:05", "en-US", "two oh five p m"),
        ("time", "00:00", "en-US", "midnight"),
        ("time", "12:00", "en-US", "twelve noon"),
        ("time", "9:30", "en-GB", "nine thirty a m"),
        ("ordinal", "21", "en-US", "twenty first"),
        ("percent", "4.5%", "en-US", "four point five percent"),
        (
            "phone",
            "+1 555 555 0198",
            "en-US",
            "plus one, five five five, five five five, zero one nine eight",
        ),
        ("spell", "B7", "en-US", "bee as in Bravo, seven"),
        ("number", "-3.05", "en-US", "minus three point zero five"),
    ],
)
def test_typed_values_are_words(kind, value, locale, words):
    """Each kind reads as a person would say it, and passes the normaliser unchanged."""
    assert say_as.say_as(kind, value, locale) == words
    assert normalize(words) == words


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("money", "a lot"),
        ("money", "NaN"),
        ("date", "2026-02-30"),
        ("time", "25:00"),
        ("ordinal", "x"),
        ("what", "1"),
    ],
)
def test_values_that_are_none_of_their_kind_are_refused(kind, value):
    """A wrong value is an error for the dialogue, never half a sentence for the caller."""
    with pytest.raises(SynthesisError):
        say_as.say_as(kind, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Your balance is $342.16.",
            "Your balance is three hundred forty two dollars and sixteen cents.",
        ),
        ("Due 11/21/2026 at 2:05pm", "Due November twenty first, twenty twenty six at two oh five p m"),
        ("Call 555-0198.", "Call five five five, zero one nine eight."),
        ("**Hello** there 😀", "Hello there"),
        ("- one\n- two", "one. two"),
        ("[our site](https://example.com) & more", "our site and more"),
        ("bob.smith7@example.com", "bob dot smith seven at example dot com"),
        ("ref no. 12345678", "ref number one two three four, five six seven eight"),
        ("in 1999", "in nineteen ninety nine"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("5-10 days", "five to ten days"),
        ("the 3rd of May", "the third of May"),
        ("$3.2 million", "three point two million dollars"),
        ("-4.5%", "minus four point five percent"),
        ("Dr. Smith", "doctor Smith"),
        ("AB-12", "ay, bee, one, two"),
        ("on 2026-02-30", "on twenty twenty six zero two thirty"),
        ("No. I don't.", "No. I don't."),
    ],
)
def test_free_text_becomes_words(text, words):
    """The fallback rules for text that nobody typed."""
    assert normalize(text) == words


@pytest.mark.parametrize(
    "piece", ["a-", "1-", "[", "a1", "a.", "\n", "( ", "1 ", "http://", "<", "$", "*a", "a@"]
)
def test_hostile_text_costs_no_more_than_speech(piece):
    """Runs that made naive rules quadratic are cut: 20,000 characters, no long pause."""
    started_s = time.process_time()
    normalize(piece * 10_000)
    assert time.process_time() - started_s < 2.0


def test_nobody_listens_to_more_than_eight_minutes():
    """What comes behind the first 8000 characters is not said."""
    assert len(normalize("word " * 3000)) <= LONGEST_CHARACTERS
