"""Cardinal numbers in words."""

from voicebot.asr.spoken import DIGITS, TEENS, TENS

ONES = {word: value for value, word in enumerate(DIGITS)}
SMALL = {**ONES, **{word: 10 + i for i, word in enumerate(TEENS)}}
TENS_VALUES = {word: 20 + 10 * i for i, word in enumerate(TENS)}
SCALES = {"thousand": 1_000, "million": 1_000_000}
NUMBER_WORDS = frozenset({*SMALL, *TENS_VALUES, *SCALES, "hundred", "oh"})


def read_number(text: str) -> int | None:
    """A whole number, 0 to 999,999,999, or None when the words are no single number.

    "a hundred and five" is 105, "nineteen hundred" is 1900; "one two" is no number (it is a digit
    string) and neither is "twenty twelve".
    """
    words = [
        word for word in text.lower().replace("-", " ").split() if word not in ("uh", "um", "please")
    ]
    return parse_number(words)


def parse_number(words: list[str]) -> int | None:
    """As `read_number`, from words without fillers."""
    if not words or words[-1] == "and" or words[0] == "and":
        return None
    total, group, last = 0, 0, 0
    # `last` is the value of the smallest unit that may still be added to: 100 after a hundred, 10
    # after twenty, 1 after a digit or teen; 0 at the start of a group.
    limit, seen = 1_000_000_000, False
    for index, word in enumerate(words):
        if word in ("a", "an") and index + 1 < len(words) and words[index + 1] in ("hundred", *SCALES):
            word = "one"  # noqa: PLW2901 - the article counts as the digit
        if word == "and":
            if last != 100 and not (last == 0 and seen):
                return None
        elif word in SMALL:
            value = SMALL[word]
            if last == 1 or (last == 10 and not 1 <= value <= 9):
                return None
            group, last = group + value, 1
        elif word in TENS_VALUES:
            if last in (1, 10):
                return None
            group, last = group + TENS_VALUES[word], 10
        elif word == "hundred":
            if not 1 <= group <= 99:
                return None
            group, last = group * 100, 100
        elif word in SCALES:
            scale = SCALES[word]
            if group == 0 or scale >= limit:
                return None
            total, group, last, limit = total + group * scale, 0, 0, scale
        else:
            return None
        seen = True
    return total + group
