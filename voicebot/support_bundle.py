"""``voicebot support-bundle``: what somebody needs to help, without anything that is nobody's business.

Everything passes an allow-list: settings without secrets and addresses' credentials, records without who
called and what was said, log lines without texts. No file is copied: all content is made here.
"""

import hashlib
import importlib.metadata
import io
import json
import platform
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from voicebot.config.settings import Settings
from voicebot.doctor import examine
from voicebot.session.call_detail_record import CallDetailLog, CallDetailRecord

MAX_CALLS: Final = 200
MAX_LOG_BYTES: Final = 20_000_000
MAX_LOG_LINES: Final = 5000
SCRAPE_LIMIT_S: Final = 3.0
HIDDEN: Final = "[hidden]"

_SECRET_NAME = re.compile(r"password|token|secret|key$|credential|authorization|cookie", re.IGNORECASE)
_NAMES_A_VARIABLE = re.compile(r"_env$")
# What a log line may keep: ours by construction. Texts, names, numbers of callers are not among them.
_LOG_TEXTS: Final = frozenset(
    {
        *("event", "level", "timestamp", "program", "call_id", "session_id", "child", "stage", "kind"),
        *("reason", "ended_by", "end_reason", "by", "speculation", "method", "outcome", "worker"),
    }
)
_PLAIN = re.compile(r"[\w .:/+-]{0,80}")
_SIP_USER = re.compile(r"\b(sips?:)[^@\s]*@", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d{5,}")
_RECORD_FIELDS: Final = (
    *(
        "call_id",
        "session_id",
        "dialplan",
        "started_at",
        "answered_at",
        "ended_at",
        "ring_ms",
        "talk_ms",
    ),
    *("ended_by", "sip_code", "turns", "recording_partial", "workers"),
)


def write_bundle(
    settings: Settings,
    target: Path,
    *,
    log_file: Path | None = None,
    scrape: Callable[[Settings], str] | None = None,
) -> list[str]:
    """Write the bundle, readable by its owner only; an existing file is not replaced.

    Args:
        settings: The whole tree.
        target: The ZIP file.
        log_file: JSON lines of the bot, when its log goes to a file.
        scrape: Gives the metrics; over HTTP when None.

    Returns:
        Names of what is in it.

    Raises:
        OSError: The file cannot be written, or is there already.
    """
    parts: dict[str, Callable[[], str]] = {
        "versions.json": _versions,
        "doctor.json": lambda: _doctor(settings),
        "settings.json": lambda: json.dumps(public_settings(settings.model_dump(mode="json")), indent=1),
        "metrics.txt": lambda: (scrape or _scrape)(settings),
        "calls.jsonl": lambda: "".join(_calls(settings.data_dir)),
        "disk.json": lambda: _disk(settings),
        "dialplan.json": lambda: _dialplan(settings.dialplan),
    }
    if log_file is not None:
        parts["log.jsonl"] = lambda: "".join(_log(log_file))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, make in parts.items():
            try:
                text = make()
            except Exception as error:  # noqa: BLE001 - half a bundle is better than none
                name, text = f"{name}.failed", type(error).__name__  # noqa: PLW2901 - its text may hold secrets
            bundle.writestr(name, text)
        names = bundle.namelist()
    target.touch(mode=0o600, exist_ok=False)
    target.write_bytes(content.getvalue())
    return names


def default_name() -> str:
    """A name with the time of day, for a bundle in the working directory."""
    return time.strftime("voicebot-support-%Y%m%d-%H%M%S.zip", time.gmtime())


def public_settings(tree: Any, name: str = "") -> Any:
    """Settings as they may be shown: no secret, no credentials in addresses, no telephone numbers."""
    if isinstance(tree, dict):
        return {key: public_settings(value, str(key)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [public_settings(value, name) for value in tree]
    if not isinstance(tree, str) or not tree:
        return tree
    if _NAMES_A_VARIABLE.search(name):
        return tree if re.fullmatch(r"[A-Z][A-Z0-9_]*", tree) else HIDDEN
    if _SECRET_NAME.search(name) or name in {"username", "aor", "sip"}:
        return HIDDEN
    tree = _SIP_USER.sub(f"\\1{HIDDEN}@", tree)
    if "://" in tree:
        parts = urlsplit(tree)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return _LONG_NUMBER.sub(HIDDEN, tree) if name not in {"data_dir", "model_path", "dialplan"} else tree


def _versions() -> str:
    packages = {d.name: d.version for d in importlib.metadata.distributions()}
    return json.dumps(
        {
            "python": platform.python_version(),
            "system": platform.platform(),
            "packages": dict(sorted(packages.items())),
        },
        indent=1,
    )


def _doctor(settings: Settings) -> str:
    found = [{"verdict": f.verdict, "subject": f.subject, "advice": f.advice} for f in examine(settings)]
    return json.dumps(found, indent=1)


def _scrape(settings: Settings) -> str:
    address = f"http://{settings.metrics.host}:{settings.metrics.port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=SCRAPE_LIMIT_S) as answer:
            return str(answer.read(4_000_000).decode("utf-8", "replace"))
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"# not reachable: {type(error).__name__}\n"


def _calls(data_dir: Path) -> Iterable[str]:
    for record in list(CallDetailLog(data_dir).read())[-MAX_CALLS:]:
        yield json.dumps(_public_record(record)) + "\n"


def _public_record(record: CallDetailRecord) -> dict[str, Any]:
    """A call without who called whom and what was said: times, ends, line."""
    kept: dict[str, Any] = {name: getattr(record, name) for name in _RECORD_FIELDS}
    kept["reason"] = _plain(record.reason)
    kept["line"] = record.line
    kept["latency"] = msgspec.to_builtins(record.latency)
    kept["sip"] = [{"at_ms": s.at_ms, "sent": s.sent, "text": _plain(s.text)} for s in record.sip]
    kept["turns_ms"] = [
        {"who": t.who, "at_ms": t.at_ms, "stages_ms": t.stages_ms, "overspent": list(t.overspent)}
        for t in record.transcript
    ]
    return kept


def _disk(settings: Settings) -> str:
    usage = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else Path())
    sizes: dict[str, list[int]] = {}
    for path in settings.data_dir.rglob("*"):
        if path.is_file() and not path.is_symlink():
            kind = path.relative_to(settings.data_dir).parts[0] if len(path.parts) > 1 else path.name
            count, size = sizes.get(kind, [0, 0])
            sizes[kind] = [count + 1, size + path.stat().st_size]
    public = {_plain(kind): value for kind, value in sizes.items()}
    return json.dumps({"free_bytes": usage.free, "files_and_bytes": public}, indent=1)


def _dialplan(path: Path) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return json.dumps({"name": path.name, "bytes": len(content), "sha256": digest})


def _log(path: Path) -> Iterable[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
        lines = file.read(MAX_LOG_BYTES).splitlines()[-MAX_LOG_LINES:]
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield json.dumps({str(k): v for k, v in entry.items() if _may_stay(str(k), v)}) + "\n"


def _may_stay(name: str, value: object) -> bool:
    if isinstance(value, str):
        return name in _LOG_TEXTS and _plain(value) == value
    if isinstance(value, dict):
        return name in {"hops_ms", "stages_ms"}
    return isinstance(value, bool | int | float) and abs(value) < 100_000  # no telephone number


def _plain(text: str) -> str:
    hidden = _LONG_NUMBER.sub(HIDDEN, text) if not re.fullmatch(r"[0-9TZ:.+-]{10,32}", text) else text
    ours = re.fullmatch(r"[a-z][0-9a-f]{6,32}", text)
    return text if ours else (hidden if _PLAIN.fullmatch(text) else HIDDEN)
