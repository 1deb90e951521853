"""From text or SSML to what is synthesised piece by piece, with prosody and pauses."""

from dataclasses import dataclass, replace
from typing import Final

import structlog

from voicebot.core.errors import SynthesisError
from voicebot.tts.lexicon import NO_LEXICON, Lexicon
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import NEUTRAL, Prosody
from voicebot.tts.sentences import split_first_clause, split_sentences
from voicebot.tts.ssml import Fragment, is_ssml, parse_ssml
from voicebot.tts.text_normalizer import normalize

SENTENCE_PAUSE_MS: Final = 200
CLAUSE_PAUSE_MS: Final = 120
_FOR_ENGINES: Final = Lexicon({"a m": "ay em", "Juliett": "Juliet"})
"""Words that read well and that flite says wrongly ("uh em")."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """Words for the engine, then silence; no words means silence only."""

    words: str
    prosody: Prosody = NEUTRAL
    pause_ms: int = 0


def plan_speech(
    text: str,
    *,
    locale: Locale = "en-US",
    lexicon: Lexicon = NO_LEXICON,
    prosody: Prosody = NEUTRAL,
) -> tuple[Segment, ...]:
    """Segments in order; empty when there is not a word in `text`.

    SSML that cannot be used is spoken as plain text, without its tags: a caller hears the sentence.
    """
    segments: list[Segment] = []
    for fragment in _fragments(text, locale):
        sentences = split_sentences(_FOR_ENGINES.apply(normalize(fragment.text, locale, lexicon)))
        how = prosody * fragment.prosody
        parts = [Segment(s, how, SENTENCE_PAUSE_MS) for s in sentences]
        if parts and fragment.break_ms:
            parts[-1] = replace(parts[-1], pause_ms=fragment.break_ms)
        elif fragment.break_ms:
            parts = [Segment("", how, fragment.break_ms)]
        elif parts and not parts[-1].words.endswith((".", "?", "!")):
            # A change of prosody in mid-sentence is no place for a pause.
            parts[-1] = replace(parts[-1], pause_ms=0)
        segments.extend(parts)
    if not any(s.words for s in segments):
        return ()
    if segments[-1].pause_ms == SENTENCE_PAUSE_MS:
        segments[-1] = replace(segments[-1], pause_ms=0)
    return _with_short_start(segments)


def _fragments(text: str, locale: Locale) -> list[Fragment]:
    if not is_ssml(text):
        return [Fragment(text, NEUTRAL)]
    try:
        return parse_ssml(text, locale)
    except SynthesisError as error:
        _log.warning("ssml_spoken_as_text", reason=str(error))
        return [Fragment(text, NEUTRAL)]


def _with_short_start(segments: list[Segment]) -> tuple[Segment, ...]:
    first = segments[0]
    clause, rest = split_first_clause(first.words)
    if not rest:
        return tuple(segments)
    start = replace(first, words=clause, pause_ms=CLAUSE_PAUSE_MS)
    return start, replace(first, words=rest), *segments[1:]
