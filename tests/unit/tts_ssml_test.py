import pytest

from voicebot.core.errors import SynthesisError
from voicebot.tts.lexicon import Lexicon
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS, Prosody
from voicebot.tts.speech_plan import CLAUSE_PAUSE_MS, SENTENCE_PAUSE_MS, Segment, plan_speech
from voicebot.tts.ssml import Fragment, is_ssml, parse_ssml


def spoken(ssml, **options):
    return [s.words for s in plan_speech(f"<speak>{ssml}</speak>", **options)]


def test_a_break_is_silence_of_its_length():
    """Time in ms or s, strength by name, and at most ten seconds."""
    plan = plan_speech(
        '<speak>One.<break time="1.5s"/>Two.<break time="99s"/>Three<break/>four.</speak>'
    )
    assert [(s.words, s.pause_ms) for s in plan] == [
        ("One.", 1500),
        ("Two.", 10_000),
        ("Three", 400),
        ("four.", 0),
    ]


def test_a_break_before_the_first_word_is_kept():
    """Leading silence that was asked for is not trimmed away."""
    assert plan_speech('<speak><break time="300ms"/>Hello.</speak>') == (
        Segment("", NEUTRAL, 300),
        Segment("Hello."),
    )


@pytest.mark.parametrize(
    ("ssml", "words"),
    [
        (
            '<say-as interpret-as="digits">1234567890</say-as>',
            "one two three, four five six, seven eight nine zero",
        ),
        ('<say-as interpret-as="currency">42.10 GBP</say-as>', "forty two pounds ten pence"),
        ('<say-as interpret-as="ordinal">3</say-as>', "third"),
        ('<say-as interpret-as="characters">ab</say-as>', "ay as in Alpha, bee as in Bravo"),
        ('<sub alias="World Wide Web Consortium">W3C</sub> meets', "World Wide Web Consortium meets"),
        ("<emphasis>really</emphasis> good", "really good"),
        ("five &lt; six &amp; more", "five less than six and more"),
    ],
)
def test_elements_become_words_within_their_sentence(ssml, words):
    """say-as and sub are put into words in place; unknown elements are read through."""
    assert spoken(ssml) == [words.replace("pounds ten", "pounds and ten")]


def test_sentences_and_paragraphs_end_sentences():
    """S and p need no full stop."""
    assert spoken("<p><s>One</s><s>Two</s></p>Three") == ["One.", "Two.", "Three"]


def test_prosody_nests_by_multiplying():
    """A rate inside a rate; afterwards the outer one holds again."""
    fragments = parse_ssml(
        '<speak>a<prosody rate="80%">b<prosody rate="+10%" pitch="high">c</prosody>d</prosody>e</speak>'
    )
    assert [(f.text, round(f.prosody.rate, 3), f.prosody.pitch) for f in fragments] == [
        ("a", 1.0, 1.0),
        ("b", 0.8, 1.0),
        ("c", 0.88, 1.1),
        ("d", 0.8, 1.0),
        ("e", 1.0, 1.0),
    ]


@pytest.mark.parametrize(
    ("ssml", "complaint"),
    [
        ("<speak>open", "not well-formed"),
        ('<speak><break time="soon"/></speak>', "neither 500ms nor 0.5s"),
        ('<speak><break strength="huge"/></speak>', "no strength 'huge'"),
        ('<speak><say-as interpret-as="riddle">1</say-as></speak>', "no interpret-as 'riddle'"),
        ('<speak><prosody rate="warp">x</prosody></speak>', "no rate 'warp'"),
        ('<speak><say-as interpret-as="date">2026-02-30</say-as></speak>', "no date"),
    ],
)
def test_unusable_ssml_is_refused_and_still_spoken(ssml, complaint):
    """The parser says what is wrong; the plan speaks the text without its tags."""
    with pytest.raises(SynthesisError, match=complaint):
        parse_ssml(ssml)
    assert not any("<" in s.words for s in plan_speech(ssml))


def test_entities_cannot_be_declared():
    """A document type (the billion laughs attack) is refused at once."""
    bomb = '<?xml version="1.0"?><!DOCTYPE speak [<!ENTITY a "aaaa">]><speak>&a;</speak>'
    with pytest.raises(SynthesisError):
        parse_ssml(bomb)


def test_plain_text_is_no_ssml():
    """Only a speak element makes it one."""
    assert is_ssml("  <speak version='1.1'>x</speak>")
    assert not is_ssml("<speaker>")
    assert not is_ssml("speak up")


def test_a_long_first_sentence_starts_with_its_first_clause():
    """The caller hears the clause while the rest is synthesised; later sentences stay whole."""
    text = "Thank you for calling the bank, and please tell me in a few words what you would like to do today."
    plan = plan_speech(f"{text} {text}")
    assert [s.pause_ms for s in plan] == [CLAUSE_PAUSE_MS, SENTENCE_PAUSE_MS, 0]
    assert plan[0].words == "Thank you for calling the bank,"
    assert plan[2].words == text


def test_a_short_list_is_not_cut():
    """Commas of short sentences and of single words are no clauses."""
    for text in (
        "Say yes, no, or help.",
        "Paris, Rome or anything else in a very long sentence without any other commas.",
    ):
        assert len(plan_speech(text)) == 1


def test_the_plan_carries_the_preset():
    """The voice's preset multiplies what the document says."""
    plan = plan_speech(
        '<speak><prosody rate="fast">x</prosody></speak>', prosody=PROSODY_PRESETS["calm"]
    )
    assert plan[0].prosody == Prosody(0.9 * 1.25, 0.95)


def test_prosody_out_of_range_is_refused():
    """No voice says things at half pitch."""
    with pytest.raises(SynthesisError):
        Prosody(pitch=0.5)


def test_fragments_keep_only_what_is_said():
    """White space between elements is no fragment."""
    assert parse_ssml("<speak> \n <s>a</s></speak>") == [Fragment(" \n a.\n", NEUTRAL)]


@pytest.mark.parametrize(
    ("entries", "text", "words"),
    [
        ({"IVR": "eye vee are"}, "The ivr and the IVRs", "The eye vee are and the IVRs"),
        ({"C++": "see plus plus", "C": "sea"}, "C++ or C", "see plus plus or sea"),
        ({"3CX": "three see ex"}, "Use 3CX.", "Use three see ex."),
        ({"New  York": "noo york", "York": "yawk"}, "new york, York", "noo york, yawk"),
        ({"a": "b", "b": "c"}, "a b", "b c"),
    ],
)
def test_a_lexicon_respells_whole_words_once(entries, text, words):
    """Case does not matter, the longest entry wins, respellings are not looked up again."""
    assert [s.words for s in plan_speech(text, lexicon=Lexicon(entries))] == [words]


@pytest.mark.parametrize("entries", [{"": "x"}, {"x": ""}, {"x": "5"}, {"x": "<b>"}])
def test_a_lexicon_that_an_engine_cannot_read_is_refused(entries):
    """Respellings are plain letters."""
    with pytest.raises(SynthesisError, match="lexicon entry"):
        Lexicon(entries)
