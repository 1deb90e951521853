"""The subset of SSML 1.1 that every engine can follow: break, say-as, sub, prosody, s and p.

Breaks become inserted silence and the rest becomes words, so all engines behave alike. Unknown elements
are read through: their text is spoken.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from voicebot.core.errors import SynthesisError
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import NEUTRAL, Prosody
from voicebot.tts.say_as import say_as

_LONGEST_BREAK_MS: Final = 10_000
_STRENGTHS_MS: Final = {
    "none": 0,
    "x-weak": 100,
    "weak": 200,
    "medium": 400,
    "strong": 700,
    "x-strong": 1000,
}
_RATES: Final = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "fast": 1.25, "x-fast": 1.6, "default": 1.0}
_PITCHES: Final = {"x-low": 0.8, "low": 0.9, "medium": 1.0, "high": 1.1, "x-high": 1.2, "default": 1.0}
_INTERPRET_AS: Final = {
    "currency": "money",
    "money": "money",
    "digits": "digits",
    "telephone": "phone",
    "phone": "phone",
    "date": "date",
    "time": "time",
    "ordinal": "ordinal",
    "cardinal": "number",
    "number": "number",
    "characters": "spell",
    "spell-out": "spell",
    "spell": "spell",
    "percent": "percent",
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text said in one way, then a break."""

    text: str
    prosody: Prosody
    break_ms: int = 0


def is_ssml(text: str) -> bool:
    """Whether `text` is meant as SSML: it starts with ``<speak``."""
    return re.match(r"\s*(<\?xml[^>]*>\s*)?<speak\b", text) is not None


def parse_ssml(text: str, locale: Locale = "en-US") -> list[Fragment]:
    """Fragments in order.

    Raises:
        SynthesisError: Not well-formed, a document type declaration, or an attribute value that means
            nothing; the message says where.
    """
    return _Reader(locale).read(text)


class _Reader:
    """One document. A stack holds for each open element what to do when it closes."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale
        self._fragments: list[Fragment] = []
        self._text: list[str] = []
        self._prosody = [NEUTRAL]
        self._closers: list[Callable[[], None]] = []
        self._captured: list[list[str]] = []

    def read(self, text: str) -> list[Fragment]:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self._closers.pop()()
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        try:
            parser.Parse(text.strip(), True)
        except expat.ExpatError as error:
            raise SynthesisError(f"SSML is not well-formed: {error}") from error
        self._end_fragment()
        return self._fragments

    def _refuse_doctype(self, *_: object) -> None:
        # Entities could expand without bound.
        raise SynthesisError("SSML must not declare a document type")

    def _characters(self, data: str) -> None:
        (self._captured[-1] if self._captured else self._text).append(data)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match name.rpartition(":")[2]:
            case "break":
                self._end_fragment(_break_ms(attributes))
                self._closers.append(_nothing)
            case "prosody":
                self._end_fragment()
                self._prosody.append(self._prosody[-1] * _prosody(attributes))
                self._closers.append(self._end_prosody)
            case "say-as":
                kind = attributes.get("interpret-as", "")
                if kind not in _INTERPRET_AS:
                    raise SynthesisError(f"SSML say-as has no interpret-as {kind!r}")
                self._captured.append([])
                self._closers.append(lambda: self._end_capture(_INTERPRET_AS[kind]))
            case "sub":
                self._captured.append([])
                self._closers.append(lambda: self._end_sub(attributes.get("alias", "")))
            case "s" | "p":
                self._closers.append(lambda: self._characters(".\n"))
            case _:
                self._closers.append(_nothing)

    def _end_capture(self, kind: str) -> None:
        self._characters(f" {say_as(kind, ''.join(self._captured.pop()).strip(), self._locale)} ")

    def _end_sub(self, alias: str) -> None:
        self._captured.pop()
        self._characters(alias)

    def _end_prosody(self) -> None:
        self._end_fragment()
        self._prosody.pop()

    def _end_fragment(self, break_ms: int = 0) -> None:
        text = "".join(self._text)
        self._text.clear()
        if text.strip() or break_ms:
            self._fragments.append(Fragment(text, self._prosody[-1], break_ms))


def _nothing() -> None:
    pass


def _break_ms(attributes: dict[str, str]) -> int:
    written = attributes.get("time")
    if written is None:
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS_MS:
            raise SynthesisError(f"SSML break has no strength {strength!r}")
        return _STRENGTHS_MS[strength]
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", written)
    if match is None:
        raise SynthesisError(f"SSML break time {written!r} is neither 500ms nor 0.5s")
    length_ms = float(match.group(1)) * (1000 if match.group(2) == "s" else 1)
    return min(_LONGEST_BREAK_MS, round(length_ms))


def _prosody(attributes: dict[str, str]) -> Prosody:
    rate = _factor("rate", attributes.get("rate", "medium"), _RATES)
    pitch = _factor("pitch", attributes.get("pitch", "medium"), _PITCHES)
    return NEUTRAL * Prosody(min(2.0, max(0.5, rate)), min(1.4, max(0.7, pitch)))


def _factor(name: str, written: str, names: dict[str, float]) -> float:
    """A named value, "120%", "+20%" or "1.2"."""
    if written in names:
        return names[written]
    match = re.fullmatch(r"([+-]?)(\d+(?:\.\d+)?)(%?)", written.strip())
    if match is None:
        raise SynthesisError(f"SSML prosody has no {name} {written!r}")
    sign, number, percent = match.groups()
    value = float(number) / 100 if percent else float(number)
    return 1.0 + float(f"{sign}1") * value if sign else value
