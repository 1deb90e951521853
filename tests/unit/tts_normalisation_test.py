from pathlib import Path

import pytest

from voicebot.tts.say_as import say_as
from voicebot.tts.speech_plan import plan_speech
from voicebot.tts.text_normalizer import normalize

CASES = [
    tuple(field.strip() for field in line.split("|"))
    for line in (Path(__file__).parent / "tts_normalisation_cases.txt").read_text("utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.mark.parametrize(("locale", "kind", "written", "spoken"), CASES)
def test_a_written_form_is_spoken_so(locale, kind, written, spoken):
    """Typed values and free text read as a person would say them; what is spoken is stable."""
    said = normalize(written, locale) if kind == "text" else say_as(kind, written, locale)
    assert said == spoken
    assert normalize(said, locale) == said


def test_there_are_at_least_two_hundred_cases_and_none_twice():
    """The bar of the project, and a guard against a table that was not read."""
    assert len(CASES) >= 200
    assert len({c[:3] for c in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("text", "words"), [("at 9:30 am", "at nine thirty ay em"), ("J as in Juliett", "J as in Juliet")]
)
def test_engines_get_a_spelling_that_they_say_right(text, words):
    """Flite reads "a m" as "uh em"."""
    assert [s.words for s in plan_speech(text)] == [words]
