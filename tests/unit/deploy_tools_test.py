"""The files under deploy/, read by the programs that they are for (make test-deploy installs them)."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GRAFANA = {"$instance": ".*", "$__rate_interval": "5m", "$__range": "1h"}


def needs(program, package):
    return pytest.mark.skipif(not shutil.which(program), reason=f"Debian package {package} is missing")


def accepted(*command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs("promtool", "prometheus")
def test_prometheus_accepts_configuration_and_rules():
    told = accepted("promtool", "check", "config", "prometheus.yaml", folder=DEPLOY / "prometheus")
    assert re.search(r"SUCCESS: \d\d rules found", told)


@needs("promtool", "prometheus")
def test_each_alert_fires_when_it_should_and_not_otherwise():
    """Found so: callers refused for overload woke nobody, because the rule named a reason that there is not."""
    accepted("promtool", "test", "rules", "alerts_test.yaml", folder=DEPLOY / "prometheus")


@needs("promtool", "prometheus")
def test_every_panel_of_the_dashboard_asks_something_that_can_be_answered(tmp_path):
    dashboard = json.loads((DEPLOY / "grafana/voicebot.json").read_text())
    rules = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in GRAFANA.items():
                expression = expression.replace(variable, value)
            rules.append({"record": f"panel:{len(rules)}", "expr": expression})
    (tmp_path / "panels.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    told = accepted("promtool", "check", "rules", "panels.json", folder=tmp_path)
    assert f"SUCCESS: {len(rules)} rules found" in told


@needs("promtool", "prometheus")
def test_prometheus_reads_what_we_tell(tmp_path):
    """The scrape itself, with all metrics at their beginning."""
    program = "import voicebot.telemetry.metrics as m, sys; from voicebot.telemetry.metrics_folder import render; "
    program += "m.CALLS_REFUSED.labels('rate').inc(); sys.stdout.buffer.write(render())"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    ).stdout
    assert b"voicebot_calls_refused_total" in told
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=told, capture_output=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_name_reasons_that_there_are():
    """Of a refusal; a misspelt one would never be counted."""
    named = re.findall(r'reason=~"([a-z_|]+)"', (DEPLOY / "prometheus/alerts.yaml").read_text())
    assert len(named) == 2
    folders = (ROOT / "voicebot/edge", ROOT / "voicebot/core")
    code = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    for reason in "|".join(named).split("|"):
        assert f'"{reason}"' in code or f'"{reason.replace("_", " ")}"' in code, reason


@needs("systemd-analyze", "systemd")
@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_systemd_understands_the_unit(path, tmp_path):
    """Without a word: unknown keys are only warned of."""
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/opt/voicebot/.venv/bin/voicebot", "/bin/true")
        (tmp_path / unit.name.replace("@", "@1")).write_text(text)
    name = str(tmp_path / path.name.replace("@", "@1"))
    assert accepted("systemd-analyze", "verify", "--man=no", name, folder=tmp_path).strip() == ""


@needs("docker-compose", "docker-compose")
def test_compose_understands_its_file():
    """Its own schema, anchors and variables; nothing is started."""
    told = accepted("docker-compose", "-f", "compose.yaml", "config", folder=DEPLOY)
    assert {"edge-a", "worker-b", "front"} <= set(YAML(typ="safe").load(told)["services"])


def test_kubernetes_accepts_its_manifests():
    """Against the schemas of its own API, strictly: a key that it does not know is refused."""
    checker = pytest.importorskip("kubernetes_validate", reason="make test-deploy installs it")
    documents = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes/voicebot.yaml").read_text()))
    assert len(documents) >= 10
    for document in documents:
        checker.validate(document, checker.latest_version(), strict=True)


def test_the_front_for_tls_names_every_place_that_the_page_explains():
    """Addresses of docs/operations.md and of the configuration are the same ones."""
    page = (ROOT / "docs/operations.md").read_text()
    text = (DEPLOY / "tls-front/kamailio.cfg").read_text()
    for address in re.findall(r'^#!substdef "![A-Z]+!([^!]+)!g"', text, re.MULTILINE):
        assert address.removeprefix("udp:").removesuffix("/32").split(":")[0] in page, address
