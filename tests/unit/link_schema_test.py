"""The published JSON Schema."""

from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.unit.link_codec_test import EDGE_MESSAGES, WORKER_MESSAGES
from voicebot.link.messages import Resume, Start
from voicebot.link.schema import link_schema, main, schema_text

FILE = Path(__file__).parents[2] / "docs" / "link-protocol.schema.json"


def validator(side):
    schema = link_schema()
    return jsonschema.Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{side}"}]})


def test_the_published_schema_is_the_one_of_the_messages():
    """docs/link-protocol.schema.json is up to date: else run python -m voicebot.link.schema."""
    assert FILE.read_text(encoding="utf-8") == schema_text()


def test_the_document_names_every_message_and_field_of_the_start():
    """docs/link-protocol.md lists all types, and all that a worker gets with Start and Resume."""
    document = (FILE.parent / "link-protocol.md").read_text(encoding="utf-8")
    tags = {type(x).__struct_config__.tag for x in (*EDGE_MESSAGES, *WORKER_MESSAGES)}
    fields = {*Start.__struct_fields__, *Resume.__struct_fields__}
    assert {name for name in tags | fields if f"`{name}`" not in document} == set()


def test_the_command_writes_it(tmp_path):
    """``python -m voicebot.link.schema FILE``."""
    main([str(tmp_path / "schema.json")])
    assert (tmp_path / "schema.json").read_text() == schema_text()


@pytest.mark.parametrize(
    ("side", "messages"), [("EdgeMessage", EDGE_MESSAGES), ("WorkerMessage", WORKER_MESSAGES)]
)
def test_every_message_fits_its_schema(side, messages):
    """What we encode is what we publish."""
    jsonschema.Draft202012Validator.check_schema(link_schema())
    for message in messages:
        validator(side).validate(msgspec.json.decode(msgspec.json.encode(message)))


def test_the_schema_refuses_what_we_refuse():
    """A message of the other side, without its fields, or of wrong types does not fit."""
    for wrong in (
        {"type": "answer", "request": "r"},
        {"type": "dtmf"},
        {"type": "dtmf", "digit": 1},
        {"type": "?"},
        {},
    ):
        assert not validator("EdgeMessage").is_valid(wrong)
