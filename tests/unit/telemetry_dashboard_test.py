"""Dashboard and alert rules ask for metrics and labels that exist, and each alert is explained."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from ruamel.yaml import YAML

from voicebot.telemetry import metrics
from voicebot.telemetry.metrics_folder import ProcessCollector

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/voicebot.json").read_text())
ALERTS = YAML(typ="safe").load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
OF_PROMETHEUS = {"instance", "job", "le"}


def known():
    """Sample name to the labels it carries."""
    assert metrics.TURNS
    found = {}
    processes = CollectorRegistry(auto_describe=False)
    processes.register(ProcessCollector(lambda: {"self": 1}))
    families = [(f.name, f.type, {"program"}) for f in processes.collect()]
    families += [
        (c._name, c._type, set(c._labelnames))
        for c in REGISTRY._collector_to_names
        if getattr(c, "_name", "").startswith("voicebot_")
    ]
    for name, kind, labels in families:
        for suffix in SUFFIXES[kind]:
            found[name + suffix] = labels
    return found


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"dashboard: {panel['title']}", target["expr"]
    for rule in RULES:
        yield f"alert: {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_metrics_and_labels_exist(where, expression):
    """A misspelt metric shows nothing, for ever."""
    names = known()
    used = set(re.findall(r"\b(?:voicebot_[a-z_0-9]+|up\b)", expression))
    assert used, where
    assert used <= {*names, "up"}, where
    for name, matchers in re.findall(r"(voicebot_[a-z_0-9]+)\{([^}]*)\}", expression):
        assert set(re.findall(r"([a-z_]+)\s*[=!]~?", matchers)) <= names[name] | OF_PROMETHEUS, where
    grouped = re.findall(r"\b(?:by|ignoring)\s*\(([^)]*)\)", expression)
    carried = set().union(*(names.get(name, set()) for name in used)) | OF_PROMETHEUS
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= carried, where
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_shown():
    """What nobody looks at need not be counted."""
    shown = " ".join(expression for _, expression in expressions())
    families = {re.sub(r"_(?:total|bucket|sum|count)$", "", name) for name in known()}
    assert {family for family in families if family not in shown} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule):
    """docs/operations.md has a line for each alert."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert f"`{rule['alert']}`" in (ROOT / "docs/operations.md").read_text()
