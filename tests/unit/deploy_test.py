"""The files under deploy/: well-formed, and every setting that they name exists."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from voicebot.config.load import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PLACEHOLDERS = {"${PUBLIC_ADDRESS:-127.0.0.1}": "192.0.2.1", "${TRUNKS:-127.0.0.0/8}": "10.0.0.0/8"}


def documents(name):
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text()))


def voicebot_variables(tree):
    """All VOICEBOT_ names with their values, wherever they stand."""
    found = []
    if isinstance(tree, dict):
        if str(tree.get("name", "")).startswith("VOICEBOT_"):
            found.append((tree["name"], tree.get("value")))
        for key, value in tree.items():
            if str(key).startswith("VOICEBOT_"):
                found.append((key, value))
            found += voicebot_variables(value)
    elif isinstance(tree, list):
        for item in tree:
            found += voicebot_variables(item)
    return found


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes/voicebot.yaml"])
def test_every_setting_named_exists_and_takes_its_value(name):
    pairs = voicebot_variables(documents(name))
    assert len(pairs) > 10
    for variable, value in pairs:
        if value is None:
            continue  # filled in by Kubernetes: an address of the pod
        text = str(value)
        for placeholder, example in PLACEHOLDERS.items():
            text = text.replace(placeholder, example)
        load_settings(environment={variable: text})


def test_the_services_of_compose_run_commands_that_exist():
    from voicebot.cli import app

    known = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    known.add("console")
    (compose,) = documents("compose.yaml")
    ours = [s for s in compose["services"].values() if s["image"] == "voicebot"]
    assert {s["command"][0] for s in ours} == {"worker", "edge", "front", "console"} <= known


def test_systemd_units_start_programs_that_exist_and_drain_long_enough():
    for path in (DEPLOY / "systemd").glob("*.service"):
        text = path.read_text()
        command = re.search(r"^ExecStart=\S+/voicebot (\w+)", text, re.MULTILINE)
        if path.stem == "voicebot-purge":
            assert command and "voicebot calls purge --older-than 30d --yes\n" in text
            continue
        assert command and command[1] in {"serve", "worker", "edge"}
        assert "TimeoutStopSec=1h" in text


@pytest.mark.peer
def test_haproxy_understands_its_configuration():
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert program, "haproxy is missing: apt-get install haproxy (make install-dev does it)"
    addresses = {"LINK_ADDRESS": "127.0.0.1:1", "WORKER_A": "127.0.0.1:2", "WORKER_B": "127.0.0.1:3"}
    addresses |= {"WORKER_A_HEALTH": "4", "WORKER_B_HEALTH": "5"}
    checked = subprocess.run(
        [program, "-c", "-f", str(DEPLOY / "haproxy/haproxy.cfg")],
        env=os.environ | addresses,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
