"""Pronunciation lexicon: how names and trade words are respelled for the engines."""

import re
from collections.abc import Mapping

from voicebot.core.errors import SynthesisError


class Lexicon:
    """Respells whole words and phrases, case ignored, the longest entry first.

    Args:
        entries: Written form to respelling, as ``{"IVR": "eye vee are"}``. Written forms may hold
            digits and symbols; respellings are letters, spaces, apostrophes, hyphens and commas.

    Raises:
        SynthesisError: An empty form, or a respelling that is no words.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._spoken = {}
        for written, spoken in entries.items():
            if not written.strip() or not re.fullmatch(r"[A-Za-z][A-Za-z ,'-]*", spoken.strip()):
                raise SynthesisError(
                    f"lexicon entry {written!r}: {spoken!r} is no respelling in plain letters"
                )
            self._spoken[_key(written)] = spoken.strip()
        longest_first = sorted(self._spoken, key=len, reverse=True)
        # Not \b: an entry may begin or end with a symbol, as C++ does.
        alternatives = "|".join(re.escape(w).replace(r"\ ", r"\s+") for w in longest_first)
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)

    def __bool__(self) -> bool:
        """Whether there is any entry."""
        return bool(self._spoken)

    def apply(self, text: str) -> str:
        """`text` with every entry respelled once; respellings are not looked up again."""
        if not self._spoken:
            return text
        return self._pattern.sub(lambda m: self._spoken.get(_key(m.group()), m.group()), text)


def _key(written: str) -> str:
    return " ".join(written.split()).casefold()


NO_LEXICON = Lexicon({})
