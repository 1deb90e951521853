"""Reading the settings: YAML file, then environment, each mistake with its place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from voicebot.config.located_yaml import LocatedData, load_located_yaml
from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError

PREFIX: Final = "VOICEBOT_"
CONFIG_VARIABLE: Final = "VOICEBOT_CONFIG"
READY_VARIABLE: Final = "VOICEBOT_READY_FD"
_SECRETS: Final = frozenset(
    {
        "VOICEBOT_SIP_PASSWORD",
        "VOICEBOT_DIGEST_PASSWORD",
        "VOICEBOT_LLM_KEY",
        "VOICEBOT_CONSOLE_TOKEN",
        "VOICEBOT_HANDOFF_KEY",
    }
)


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings.

    Args:
        path: A YAML file; None takes ``VOICEBOT_CONFIG``, or no file.
        environment: Variables; ``os.environ`` when None. ``VOICEBOT_SIP__PORT=5070`` sets ``sip.port``.

    Raises:
        ConfigError: Unknown name, wrong type or value, unreadable file; says where and what to do.
    """
    variables = os.environ if environment is None else environment
    if path is None and variables.get(CONFIG_VARIABLE):
        path = Path(variables[CONFIG_VARIABLE])
    located = load_located_yaml(path) if path is not None else None
    data: dict[str, Any] = {}
    if located is not None and located.data is not None:
        if not isinstance(located.data, dict):
            raise ConfigError("the settings file must be a mapping of names", file=str(path), line=1)
        data = cast("dict[str, Any]", located.data)
    origin: dict[tuple[str, ...], str] = {}
    merged = _merge(data, _from_environment(variables, origin))
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise _config_error(error, path, located, origin) from error


def _from_environment(
    variables: Mapping[str, str], origin: dict[tuple[str, ...], str]
) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, text in sorted(variables.items()):
        if not name.startswith(PREFIX) or name in _SECRETS | {CONFIG_VARIABLE, READY_VARIABLE}:
            continue
        keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
        field = _field_annotation(keys)
        if field is None:
            raise ConfigError(
                f"no such setting; 'voicebot settings' lists all (variable {name})", key=".".join(keys)
            )
        origin[keys] = name
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        is_list = "tuple" in str(field)
        node[keys[-1]] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return tree


def _field_annotation(keys: tuple[str, ...]) -> object | None:
    model: Any = Settings
    for depth, key in enumerate(keys):
        if (
            not (isinstance(model, type) and issubclass(model, BaseModel))
            or key not in model.model_fields
        ):
            return None
        model = model.model_fields[key].annotation
        if depth == len(keys) - 1:
            return cast("object", model)
    return None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _config_error(
    error: ValidationError,
    path: Path | None,
    located: LocatedData | None,
    origin: Mapping[tuple[str, ...], str],
) -> ConfigError:
    """The first mistake, as file, line and key; how many more there are is said too."""
    first = error.errors()[0]
    keys = tuple(str(part) for part in first["loc"])
    unknown = first["type"] == "extra_forbidden"
    message = "no such setting; 'voicebot settings' lists all" if unknown else str(first["msg"])
    if error.error_count() > 1:
        message += f" (and {error.error_count() - 1} more)"
    for length in range(len(keys), 0, -1):
        if keys[:length] in origin:
            return ConfigError(f"{message} (variable {origin[keys[:length]]})", key=".".join(keys))
    line, column = located.where(first["loc"]) if located is not None else (None, None)
    return ConfigError(
        message, file=str(path) if path else None, line=line, column=column, key=".".join(keys)
    )
