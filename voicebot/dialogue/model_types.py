"""The small types of a dialplan: durations, names, keys, one-or-many lists."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_DURATION = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|s|m|h)\Z")


_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def parse_duration_ms(value: object) -> object:
    """``"800ms"``, ``"6s"``, ``"2m"`` in milliseconds; other types are left for the model to refuse."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        raise ValueError('a duration needs a unit: "6s" or "800ms"')
    match = _DURATION.match(value)
    if match is None:
        raise ValueError('not a duration; write "6s", "800ms" or "2m"')
    return round(float(match[1]) * _UNIT_MS[match[2]])


def as_list(value: object) -> object:
    """A single item as a list of one; the model refuses what is neither."""
    return [value] if isinstance(value, str | Mapping) else value


class OneOrMany:
    """In the JSON Schema, a list that may also be written as its only item."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        return {"anyOf": [schema["items"], schema]}


DurationMs = Annotated[
    int,
    BeforeValidator(parse_duration_ms),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,7}(\.[0-9]{1,3})?(ms|s|m|h)$"}),
]


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


Key = Annotated[str, StringConstraints(pattern=r"^[0-9*#]$")]


Texts = Annotated[list[str], BeforeValidator(as_list), OneOrMany()]


Language = Literal["en-GB", "en-US"]
"""What can be both heard and spoken; they differ in number words, dates and money."""


Outcome = Literal["ok", "denied", "error", "timeout"]


ValueType = Literal["text", "digits", "number", "money", "date", "time", "datetime", "boolean"]


class Model(BaseModel):
    """Frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


AnyModel = TypeVar("AnyModel", bound=Model)


def inherited(own: AnyModel | None, default: AnyModel) -> AnyModel:
    """What holds at a step: the keys that it gives, and the plan's defaults for the others."""
    if own is None:
        return default
    return default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
