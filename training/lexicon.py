"""Pronunciations: CMUdict as shipped in the pocketsphinx wheel (39 ARPAbet phones, no stress)."""

import re
from functools import cache
from pathlib import Path

import pocketsphinx

_PHONES = """
AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH
"""
PHONES = _PHONES.split()
"""Network output k + 1 is PHONES[k]; output 0 is the CTC blank."""

PHONE_INDEX = {phone: index + 1 for index, phone in enumerate(PHONES)}

Pronunciation = tuple[str, ...]

# Reduced forms that callers use on the phone and CMUdict does not list.
EXTRA: dict[str, list[str]] = {
    "account": ["AH K AW N"],
    "balance": ["B AE L AH N T S"],
    "seven": ["S EH V N", "S EH B M"],
    "eleven": ["IH L EH V N"],
    "yeah": ["Y AE", "Y EH"],
    "yep": ["Y EH P"],
    "nope": ["N OW P"],
    "uh": ["AH"],
    "um": ["AH M"],
    "zero": ["Z IY R OW", "Z IH R OW"],
    "operator": ["AA P R EY T ER"],
    "okay": ["K EY"],
    "want": ["W AA N"],
    "voicebot": ["V OY S B AA T"],
    "zed": ["Z EH D"],
    "juliett": ["JH UW L IY EH T"],
    "whisky": ["W IH S K IY"],
    "alfa": ["AE L F AH"],
    "papa": ["P AA P AH", "P AH P AA"],
    "decaf": ["D IY K AE F"],
    "cortado": ["K AO R T AA D OW"],
    "ristretto": ["R IH S T R EH T OW"],
    "americano": ["AH M EH R IH K AA N OW"],
    "macchiato": ["M AA K IY AA T OW"],
    "voicemail": ["V OY S M EY L"],
    "login": ["L AO G IH N"],
    "iban": ["AY B AE N"],
    "passcode": ["P AE S K OW D"],
}

LETTERS = {
    "a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY",
    "h": "EY CH", "i": "AY", "j": "JH EY", "k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N",
    "o": "OW", "p": "P IY", "q": "K Y UW", "r": "AA R", "s": "EH S", "t": "T IY", "u": "Y UW",
    "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S", "y": "W AY", "z": "Z IY",
}  # fmt: skip


@cache
def lexicon() -> dict[str, list[Pronunciation]]:
    """Every word with its pronunciations, most usual first."""
    path = Path(pocketsphinx.__file__).parent / "model" / "en-us" / "cmudict-en-us.dict"
    entries: dict[str, list[Pronunciation]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        entries.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(tuple(phones))
    for word, phones_text in LETTERS.items():
        _add(entries, word, phones_text)
    for word, forms in EXTRA.items():
        for form in forms:
            _add(entries, word, form)
    return entries


def _add(entries: dict[str, list[Pronunciation]], word: str, phones_text: str) -> None:
    phones = tuple(phones_text.split())
    known = entries.setdefault(word, [])
    if phones not in known:
        known.append(phones)


def normalise(text: str) -> list[str] | None:
    """Words of a transcript in lexicon form; None when a word has no pronunciation.

    Digits, stars and hashes become words ("press 0" -> "press zero"); editorial hints in
    brackets are dropped.
    """
    text = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>", " ", text.lower().replace("\u2019", "'"))
    for sign, word in zip("0123456789*#", SIGNS, strict=True):
        text = text.replace(sign, f" {word} ")
    words = []
    for raw in re.sub(r"[^a-z' ]", " ", text).split():
        word = raw if raw in lexicon() else raw.strip("'")
        if not word:
            continue
        if word not in lexicon():
            return None
        words.append(word)
    return words or None


DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SIGNS = [*DIGITS, "star", "pound"]
