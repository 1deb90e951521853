"""Card numbers and other long digit strings never reach a disk.

A run of digits may be written (``4111 1111-1111 1111``) or spoken as the recogniser writes it
(``four one one one``, ``double one``, ``forty one eleven``). Policy:

- 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1) become ``[card]``;
- other runs of 12 and more become ``[digits]``: a card number of which one digit was misheard;
- a number that begins with ``+`` and has at most 15 digits (ITU-T E.164) stays: it is a telephone
  number;
- shorter runs stay: what else is secret is marked ``sensitive`` in the dialplan.
"""

import re
from typing import Final

CARD: Final = "[card]"
DIGITS: Final = "[digits]"
REDACTED: Final = "[redacted]"
MIN_LONG_RUN: Final = 12
MIN_CARD: Final = 13
MAX_CARD: Final = 19
MAX_E164: Final = 15

_SPOKEN_UNITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SPOKEN_TEENS: Final = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen"),
    *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_SPOKEN_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = {w: str(v) for v, w in enumerate(_SPOKEN_UNITS)} | {"oh": "0", "o": "0", "nought": "0"}
_TEENS = {w: str(v) for v, w in enumerate(_SPOKEN_TEENS, 10)}
_TENS = {w: str(v) for v, w in enumerate(_SPOKEN_TENS, 2)}
_REPEATS = {"double": 2, "triple": 3}
_TOKEN = re.compile(r"\+?[0-9]+|[^\W\d_]+")
_GAP = re.compile(r"[\s.,/()-]*")


def redact_text(text: str) -> str:
    """Replace card numbers and long digit strings in ``text``."""
    tokens = list(_TOKEN.finditer(text))
    pieces: list[str] = []
    copied = 0
    first = 0
    while first < len(tokens):
        digits, after = _run(text, tokens, first)
        if after == first:
            first += 1
            continue
        start, end = tokens[first].start(), tokens[after - 1].end()
        mark = _mark(digits, international=text[start] == "+")
        if mark:
            pieces += [text[copied:start], mark]
            copied = end
        first = after
    return "".join(pieces) + text[copied:]


def luhn_valid(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _mark(digits: str, *, international: bool) -> str:
    if len(digits) < MIN_LONG_RUN or (international and len(digits) <= MAX_E164):
        return ""
    return CARD if MIN_CARD <= len(digits) <= MAX_CARD and luhn_valid(digits) else DIGITS


def _run(text: str, tokens: list[re.Match[str]], first: int) -> tuple[str, int]:
    """The digits of the run that begins at token ``first`` and the index of the token after it."""
    digits = ""
    index = first
    repeat = 1
    after = first
    after_ten = False
    while index < len(tokens):
        token = tokens[index]
        if index > first and not _GAP.fullmatch(text, tokens[index - 1].end(), token.start()):
            break
        word = token.group().lower()
        if index > first and word[0] == "+":
            break
        value = word.lstrip("+") if word[-1].isdigit() else _UNITS.get(word)
        if word in _REPEATS and repeat == 1:
            repeat = _REPEATS[word]
            index += 1
            continue
        if after_ten and word in _UNITS and value != "0":
            digits = digits[:-1] + _UNITS[word]  # forty one is 41
        elif word in _TENS:
            digits += _TENS[word] + "0"
        elif value is None and word not in _TEENS:
            break
        else:
            digits += (_TEENS[word] if value is None else value) * repeat
        after_ten = word in _TENS
        repeat = 1
        index += 1
        after = index
    return digits, after
