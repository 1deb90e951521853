"""Colours of the console against WCAG 2.1: text 4.5 to 1 (1.4.3), edges of controls and focus 3 to 1 (1.4.11)."""

import re
from pathlib import Path

import pytest

import voicebot.console

SHEET = (Path(voicebot.console.__file__).parent / "static/console.css").read_text()
TEXT = [
    ("ink", "paper"),
    ("ink", "card"),
    ("muted", "paper"),
    ("muted", "card"),
    ("accent", "paper"),
    ("accent", "card"),
    ("accent-ink", "accent"),
    ("caller", "card"),
    ("caller", "paper"),
    ("bot", "card"),
    ("bot", "paper"),
    ("high", "card"),
    ("high", "paper"),
    ("paper", "high"),
    ("good", "card"),
]
EDGES = [("edge", "card"), ("edge", "paper"), ("accent", "paper"), ("accent", "card")]


def colours(scheme):
    light, dark = re.findall(r":root\s*{([^}]*)}", SHEET)
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]+)", light if scheme == "light" else dark))


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula():
    assert contrast("#000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_controls_can_be_seen(scheme):
    found = colours(scheme)
    for pairs, least in ((TEXT, 4.5), (EDGES, 3.0)):
        for one, other in pairs:
            ratio = contrast(found[one], found[other])
            assert ratio >= least, f"{scheme}: {one} on {other} has {ratio:.2f}, {least} is needed"


def test_every_colour_of_the_sheet_is_a_checked_one():
    """No colour outside the two lists of names, no transparency that would weaken one."""
    rules = SHEET[SHEET.rindex(":root") :].partition("}")[2]
    assert not re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|hsl", rules)
    assert re.findall(r"opacity: [^;]+", rules) == ["opacity: .5"]  # disabled buttons, exempt
    used = set(re.findall(r"var\(--([\w-]+)\)", rules))
    assert used <= {name for pair in TEXT + EDGES for name in pair} | {"line"}
