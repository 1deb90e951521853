"""Writes the JSON Schema of the control messages: ``python -m voicebot.link.schema [FILE]``.

The schema is generated from ``messages.py``; a test holds docs/link-protocol.schema.json to it.
"""

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from voicebot.link.messages import DIALECT_VOICEBOT_V1, EdgeMessage, WorkerMessage

DEFAULT_FILE: Final = Path("docs/link-protocol.schema.json")


def link_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every control message; ``$defs`` has EdgeMessage and WorkerMessage."""
    (edge, worker), definitions = msgspec.json.schema_components(
        [EdgeMessage, WorkerMessage], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Control messages of the link protocol, dialect {DIALECT_VOICEBOT_V1}",
        "description": (
            "One JSON object per WebSocket text message. Audio is binary, see link-protocol.md. "
            "Unknown properties must be ignored, unknown types must not end the link."
        ),
        "anyOf": [{"$ref": "#/$defs/EdgeMessage"}, {"$ref": "#/$defs/WorkerMessage"}],
        "$defs": {**dict(sorted(definitions.items())), "EdgeMessage": edge, "WorkerMessage": worker},
    }


def schema_text() -> str:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(link_schema()), indent=2).decode() + "\n"


def main(arguments: list[str]) -> None:
    """Write the file named by the only argument, or docs/link-protocol.schema.json."""
    path = Path(arguments[0]) if arguments else DEFAULT_FILE
    path.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
