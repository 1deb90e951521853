"""Words without their endings and spelling variants: "cancelling", "cancelled" and "cancels" are one."""

from typing import Final

SHORTEST: Final = 3
_SPELLINGS: Final = {
    "cheque": "check", "cheques": "check", "tyre": "tire", "tyres": "tire", "colour": "color",
    "favourite": "favorite", "neighbour": "neighbor", "programme": "program", "metre": "meter",
    "metres": "meter", "litre": "liter", "litres": "liter", "kilometres": "kilometer",
    "neighbours": "neighbor", "jewellery": "jewelry", "grey": "gray", "licence": "license",
    "bought": "buy", "paid": "pay", "sent": "send", "spent": "spend", "lost": "lose", "stole": "steal",
    "stolen": "steal", "broke": "break", "broken": "break", "made": "make", "gave": "give",
    "given": "give", "took": "take", "taken": "take", "got": "get", "gotten": "get",
    "went": "go", "gone": "go",
    "told": "tell", "said": "say", "says": "say", "forgot": "forget", "forgotten": "forget",
    "flew": "fly", "flown": "fly", "drove": "drive", "froze": "freeze", "frozen": "freeze",
    "children": "child", "people": "person", "feet": "foot", "men": "man", "women": "woman",
    "does": "do", "did": "do", "done": "do", "has": "have", "had": "have", "having": "have",
    "is": "be", "am": "be", "are": "be", "was": "be", "were": "be", "been": "be",
    "better": "good", "best": "good", "worse": "bad", "worst": "bad", "wasn't": "be", "isn't": "be",
}  # fmt: skip
_VOWELS: Final = frozenset("aeiouy")


def stem(word: str) -> str:
    """The stem of a word in lower case."""
    word = _SPELLINGS.get(word, word)
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) <= SHORTEST:
        return word
    if word.endswith("ies") and len(word) > SHORTEST + 1:
        return word[:-3] + "y"
    for ending in ("sses", "shes", "ches", "xes"):
        if word.endswith(ending):
            return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ingly", "ing", "edly", "ed"):
        base = word.removesuffix(ending)
        if (
            base != word
            and not word.endswith("eed")
            and len(base) >= SHORTEST
            and not _VOWELS.isdisjoint(base)
        ):
            return _undouble(base)
    return word.removesuffix("e") if len(word) > SHORTEST else word


def _undouble(base: str) -> str:
    """Make "cancel" of "cancell"; a silent e is dropped everywhere, so that "making" meets "make"."""
    if base[-1] == base[-2] and base[-1] not in "aeiouslz":
        return base[:-1]
    if base.endswith("ll") and len(base) > SHORTEST + 1:
        return base[:-1]
    return base.removesuffix("e")
