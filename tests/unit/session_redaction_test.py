"""Card numbers and long digit strings are found, telephone numbers and short answers stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot.session.redaction import luhn_valid, redact_text

SPOKEN = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("4111111111111111", "[card]"),
        ("it is 4111-1111 1111.1111, thanks", "it is [card], thanks"),
        ("378282246310005", "[card]"),
        ("four one one one one one one one one one one one one one one one", "[card]"),
        ("four triple one double one one one triple one double one triple one", "[card]"),
        ("forty one eleven eleven eleven eleven eleven eleven eleven please", "[card] please"),
        ("4111 one one one one 11111111 right", "[card] right"),
        ("4111111111111112", "[digits]"),
        ("123456789012", "[digits]"),
        ("one two three four five six seven eight nine oh one two", "[digits]"),
        ("12345678901", "12345678901"),
        (
            "account one two three four five six seven eight",
            "account one two three four five six seven eight",
        ),
        ("call +49 1512 3456789", "call +49 1512 3456789"),
        ("+4111111111111111", "[card]"),
        ("double", "double"),
        ("", ""),
        ("two cards: 4111111111111111 and 5500005555555559", "two cards: [card] and [card]"),
        ("twenty", "twenty"),
    ],
)
def test_policy(text, stored):
    """One line per rule."""
    assert redact_text(text) == stored


@pytest.mark.parametrize("number", ["79927398713", "4111111111111111", "378282246310005", "0"])
def test_luhn_accepts(number):
    """Published test numbers pass; with another last digit they do not."""
    assert luhn_valid(number)
    assert not luhn_valid(number[:-1] + str((int(number[-1]) + 1) % 10))


@given(
    st.lists(st.integers(0, 9), min_size=15, max_size=15),
    st.lists(st.sampled_from(["", " ", "-", ". "]), min_size=15, max_size=15),
    st.booleans(),
)
def test_no_valid_card_survives(body, gaps, spoken):
    """Any 16 digits with a right check digit are redacted, written with any gaps or spoken."""
    start = "".join(map(str, body))
    check = next(d for d in range(10) if luhn_valid(start + str(d)))
    digits = [*body, check]
    text = (
        " ".join(SPOKEN[d] for d in digits)
        if spoken
        else "".join(str(d) + gap for d, gap in zip(digits, [*gaps, ""], strict=True))
    )
    assert redact_text(f"number {text} thanks") == "number [card] thanks"


@given(st.text())
def test_any_text_is_taken(text):
    """No text makes it fail, and nothing is redacted twice."""
    redacted = redact_text(text)
    assert redact_text(redacted) == redacted


@given(st.text(alphabet="abcdxyz ,.+-"))
def test_text_without_digits_stays(text):
    """Only digits and number words are touched."""
    assert redact_text(text) == text
