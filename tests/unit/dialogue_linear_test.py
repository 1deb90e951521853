"""The linear part of a classifier of many intents."""

import numpy as np
import pytest

from voicebot.dialogue.intent_classifier import IntentClassifier
from voicebot.dialogue.intent_features import FeatureSpace
from voicebot.dialogue.intent_linear import RIDGE, fit_linear
from voicebot.dialogue.intent_meanings import meanings

TEXTS = ["my balance", "how much money", "block my card", "lost card", "opening hours", "when open"]
LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_the_steps_reach_what_the_equations_say():
    views = [FeatureSpace(TEXTS).matrix(TEXTS), FeatureSpace(TEXTS, meanings).matrix(TEXTS)]
    weights = fit_linear(views, LABELS, 3)
    alike = sum((view @ view.T).toarray() for view in views) / 4
    exact = alike @ np.linalg.solve(alike + RIDGE * np.eye(6), np.eye(3)[LABELS])
    found = sum(view @ part for view, part in zip(views, weights, strict=True))
    assert found == pytest.approx(exact, abs=2e-3)
    assert (found.argmax(axis=1) == LABELS).all()


def test_a_classifier_of_many_intents_has_it_in_its_straight_weights(monkeypatch):
    words = ["alpha", "bravo", "charlie", "delta", "echo", "golf", "hotel"]
    examples = {f"{a} {b}": [f"{a} {b} please", f"the {a} of {b}"] for a in words for b in words}
    with_it = IntentClassifier(examples, epochs=1)
    monkeypatch.setattr("voicebot.dialogue.intent_classifier.LINEAR_SHARE", 0.0)
    without = IntentClassifier(examples, epochs=1)
    right = [sum(c.route(f"{i} now").best.intent == i for i in examples) for c in (with_it, without)]
    assert right[0] > 40
    assert right[0] >= right[1]
