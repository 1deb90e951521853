"""The map in voicebot/__init__.py and in docs/frame-path.md names things that exist."""

import importlib
import re
from pathlib import Path

import pytest

import voicebot

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"voicebot\.[a-z_.]+[a-z]", voicebot.__doc__))))
def test_every_module_of_the_map_can_be_imported(name):
    importlib.import_module(name)


def test_every_file_that_the_frame_path_page_names_exists():
    page = (ROOT / "docs/frame-path.md").read_text()
    stages = "edge|worker|rtp|audio|turn|asr|tts|dialogue|session|link"
    names = set(re.findall(rf"\b(?:{stages})/[a-z_0-9]+\b", page))
    missing = [n for n in names if not (ROOT / "voicebot" / f"{n}.py").exists()]
    assert not missing


def test_signalling_library_is_imported_in_one_file_only():
    users = [
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "voicebot").rglob("*.py")
        if re.search(r"^\s*(import|from) pjsua2", p.read_text(), re.MULTILINE)
    ]
    assert users
    assert all(user.startswith("voicebot/edge/sip_agent/") for user in users)


def test_no_project_file_names_a_path_of_a_machine_or_a_registry_host():
    """People install from mirrors and other folders: neither belongs into the project."""
    forbidden = re.compile(
        "|".join(["/wo" + "rk/", "pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npmjs"])
    )
    offenders = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if (
            not path.is_file()
            or any(p.startswith(".") and p != ".ci" for p in parts)
            or parts[0] == "var"
        ):
            continue
        if (
            (
                path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ".json", ".txt", ""}
                or path.name == "Makefile"
            )
            and path.stat().st_size < 2_000_000
            and forbidden.search(path.read_text(errors="ignore"))
        ):
            offenders.append("/".join(parts))
    assert not offenders
