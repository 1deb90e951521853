"""The dialplan language as a JSON Schema, made from the models that read it."""

import json

from voicebot.dialogue.model import Dialplan


def schema_text() -> str:
    """The schema as it stands in ``dialplans/dialplan.schema.json``."""
    schema = Dialplan.model_json_schema(by_alias=True)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "voicebot dialplan",
    }
    return json.dumps({**schema, **head}, indent=1, sort_keys=True) + "\n"
