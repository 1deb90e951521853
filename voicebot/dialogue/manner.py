"""How prompts are given: voice and prosody as a plan chooses them, and what it takes to cut one."""

from collections.abc import Mapping
from dataclasses import dataclass

from voicebot.core.delivery import Delivery
from voicebot.dialogue.model_steps import BargeIn, ProsodyFactors, SpeakingOptions, Speech
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS, Prosody


@dataclass(frozen=True, slots=True)
class Manner:
    """Who speaks and how; None is left to what stands behind it."""

    voice: str | None = None
    prosody: Prosody | None = None

    def over(self, other: "Manner") -> "Manner":
        """This choice, and the other one's where this has none."""
        return Manner(
            self.voice if self.voice is not None else other.voice,
            self.prosody if self.prosody is not None else other.prosody,
        )

    def delivery(self, locale: Locale) -> Delivery:
        """What the worker gets with an utterance."""
        prosody = self.prosody or NEUTRAL
        return Delivery(voice=self.voice or "", locale=locale, rate=prosody.rate, pitch=prosody.pitch)


PLAIN = Manner()


@dataclass(frozen=True, slots=True)
class Prompting:
    """How a step gives its prompts.

    Attributes:
        speech: Whether the caller's voice may cut them.
        dtmf: Whether a key may.
        min_words: So many words it takes, unless they are an answer that is expected.
        manner: Who speaks and how.
    """

    speech: bool = True
    dtmf: bool = True
    min_words: int = 1
    manner: Manner = PLAIN


BY_KEY_ONLY = Prompting(speech=False)
UNCUT = Prompting(speech=False, dtmf=False)
OPEN = Prompting()


def prompting_of(options: SpeakingOptions, barge_in: BargeIn) -> Prompting:
    """The choices of one step."""
    return Prompting(barge_in.speech, barge_in.dtmf, barge_in.min_words, manner_of(options))


def manner_of(options: SpeakingOptions) -> Manner:
    """The choice that stands at one place of the plan."""
    match options.prosody:
        case None:
            return Manner(options.voice)
        case ProsodyFactors(rate=rate, pitch=pitch):
            return Manner(options.voice, Prosody(rate, pitch))
        case preset:
            return Manner(options.voice, PROSODY_PRESETS[preset])


def manners_of(speech: Speech) -> Mapping[str, Manner]:
    """Per language with a choice of its own; ``""`` is every other one."""
    plain = manner_of(speech)
    return {"": plain, **{name: manner_of(own).over(plain) for name, own in speech.languages.items()}}
