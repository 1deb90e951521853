"""Intent routing on CLINC150: accuracy, out-of-scope recall, time per utterance, few examples.

Trained on the training part and the out-of-scope training sentences, measured on the validation part. The bar
from which an answer is accepted was chosen on a share of the training part (``--choose-bar``). ``--data`` is a JSON file with
train, val, oos_train, oos_val: [text, intent].
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import numpy as np

from voicebot.dialogue.intent_classifier import IntentClassifier


def by_intent(rows):
    groups = {}
    for text, intent in rows:
        groups.setdefault(intent, []).append(text)
    return groups


def accuracy(classifier, rows):
    return statistics.fmean(classifier.route(text).best.intent == intent for text, intent in rows)


BAR = 0.15
HELD_OUT = 20  # per intent, of the training part: they choose the bar
REJECTED = 0.01  # share of good utterances that the bar may turn away


def choose_bar(data):
    """The bar, by a classifier that has not seen the utterances that choose it."""
    random.seed(0)
    train = {i: random.sample(texts, len(texts)) for i, texts in by_intent(data["train"]).items()}
    outside = [t for t, _ in data["oos_train"]]
    classifier = IntentClassifier(
        {i: texts[HELD_OUT:] for i, texts in train.items()}, out_of_scope=outside[HELD_OUT:]
    )
    held = [classifier.route(t).best.score for texts in train.values() for t in texts[:HELD_OUT]]
    bar = float(np.quantile(held, REJECTED))
    recall = statistics.fmean(classifier.route(t).best.score < bar for t in outside[:HELD_OUT])
    print(f"bar {bar:.3f}, rejects {recall:.2f} of {HELD_OUT} utterances out of scope")


def measure_full(data):
    began = time.perf_counter()
    classifier = IntentClassifier(
        by_intent(data["train"]), out_of_scope=[t for t, _ in data["oos_train"]]
    )
    train_s = time.perf_counter() - began
    took_ms = []
    right = accepted_right = 0
    for text, intent in data["val"]:
        start = time.perf_counter()
        routed = classifier.route(text)
        took_ms.append((time.perf_counter() - start) * 1000)
        hit = routed.best.intent == intent
        right += hit
        accepted_right += hit and routed.best.score >= BAR
    outside = statistics.fmean(classifier.route(t).best.score < BAR for t, _ in data["oos_val"])
    count = len(data["val"])
    return {
        "accuracy": right / count,
        "accepted": accepted_right / count,
        "oos_recall": outside,
        "p50_ms": float(np.percentile(took_ms, 50)),
        "p99_ms": float(np.percentile(took_ms, 99)),
        "train_s": train_s,
    }


def measure_few(data, per_intent, intents, draws):
    """Mean accuracy over random sets of intents, as many as a dialplan has."""
    train, val = by_intent(data["train"]), by_intent(data["val"])
    found = []
    for seed in range(draws):
        rng = random.Random(seed)
        chosen = rng.sample(sorted(train), intents)
        # a dialplan's router learns the intent's name too, as it stands in the file
        examples = {i: [*rng.sample(train[i], per_intent), i.replace("_", " ")] for i in chosen}
        classifier = IntentClassifier(examples, seed=seed)
        found.append(accuracy(classifier, [(t, i) for i in chosen for t in val[i]]))
    return statistics.fmean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--choose-bar", action="store_true", help="only that, on the training part")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    data = json.loads(options.data.read_text())
    if options.choose_bar:
        choose_bar(data)
        return
    full = measure_full(data)
    rows = [
        row("12", "in-scope accuracy, 150 intents (intent right)", full["accuracy"], "share", ">= 0.95", full["accuracy"] >= 0.95),
        row("12", "in-scope accuracy, right and accepted", full["accepted"], "share", ">= 0.95", full["accepted"] >= 0.95),
        row("12", "out-of-scope recall at the same bar", full["oos_recall"], "share", ">= 0.60", full["oos_recall"] >= 0.6),
        row("12", "time per utterance, p50", full["p50_ms"], "ms", "<= 2", full["p50_ms"] <= 2),
        row("", "time per utterance, p99", full["p99_ms"], "ms", "", True),
        row("", "training, 150 intents, 15,000 examples", full["train_s"], "s", "", True),
    ]  # fmt: skip
    for intents in (10, 20, 150):
        for per_intent in (5, 10, 20):
            draws = options.draws if intents < 150 else 1
            value = measure_few(data, per_intent, intents, draws)
            limit = ">= 0.90" if per_intent == 10 else ""
            rows.append(
                row("12" if limit else "", f"{per_intent} examples each of {intents} intents", value,
                    "share", limit, not limit or value >= 0.9, f"mean of {draws} draws")
            )  # fmt: skip
    out = Path("var/bench/router.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))


def row(target, figure, value, unit, limit, ok, note=""):
    print(f"{figure:<48} {value:>9.4f} {unit:<6} {limit:<8} {'ok' if ok else 'MISSED'}", flush=True)
    return {
        "target": target, "figure": figure, "value": round(float(value), 4), "unit": unit,
        "limit": limit, "ok": bool(ok), "note": note,
    }  # fmt: skip


if __name__ == "__main__":
    main()
