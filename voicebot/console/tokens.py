"""Secrets of this installation: made at first use, readable for its owner alone.

Small on purpose: the supervisor imports it to say how one logs in, without loading the console.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from voicebot.config.settings import Settings

TOKEN_FILE: Final = "console-token"  # noqa: S105 - a file's name
SECRET_FILE: Final = "console-secret"  # noqa: S105 - a file's name


def console_token(settings: Settings) -> str:
    """The bearer token: from the environment, else the installation's own, made at first use."""
    return os.environ.get(settings.console.token_env) or installation_secret(
        settings.data_dir, TOKEN_FILE
    )


def handoff_secret(settings: Settings) -> bytes:
    """Key of the tokens for ``GET /handoffs/{id}``: the webhook's, since the webhook carries them."""
    found = os.environ.get(settings.handoff.webhook_key_env)
    return (found or installation_secret(settings.data_dir, SECRET_FILE)).encode()


def invitation(settings: Settings, *, to_a_person: bool) -> str:
    """How one logs in; the token itself only for a person at a terminal, never for a log file.

    The part behind ``#`` stays in the browser, which puts it into the form.
    """
    address = f"http://{settings.console.host}:{settings.console.port}/"
    token = console_token(settings)
    if to_a_person:
        return f"talk to it in the browser: {address}login#token={token}"
    if os.environ.get(settings.console.token_env):
        return f"console: {address} (log in as admin with ${settings.console.token_env})"
    return f"console: {address} (log in as admin with the token in {settings.data_dir / TOKEN_FILE})"


def installation_secret(folder: Path, name: str) -> str:
    """The secret in this file.

    Raises:
        OSError: It can be neither read nor made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text().strip()
