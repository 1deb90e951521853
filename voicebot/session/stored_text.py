"""What text looks like once it is stored: clean, bounded, without secrets."""

from typing import Final

import msgspec

from voicebot.session.records import SessionRecord, TurnRecord
from voicebot.session.redaction import REDACTED, redact_text

MAX_TEXT_CHARS: Final = 10_000
MAX_FIELD_CHARS: Final = 1_000


def clean_text(text: str, limit_chars: int = MAX_TEXT_CHARS) -> str:
    """Text without what breaks a database, a log line or a terminal.

    Control, format (bidi) and private characters and lone surrogates become U+FFFD; line breaks and
    tabs become a space; longer text is cut.
    """
    if len(text) > limit_chars:
        text = text[: limit_chars - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\t\n\r\u2028\u2029\u00a0" else "\ufffd" for c in text
    )


def clean_turn(turn: TurnRecord) -> TurnRecord:
    """A turn as it may be stored: clean, redacted; sensitive words and values are gone."""
    if turn.sensitive:
        text = REDACTED
        slots = {clean_text(name, MAX_FIELD_CHARS): REDACTED for name in turn.slots}
    else:
        text = redact_text(clean_text(turn.text))
        slots = {
            clean_text(name, MAX_FIELD_CHARS): redact_text(clean_text(value))
            for name, value in turn.slots.items()
        }
    return msgspec.structs.replace(
        turn,
        text=text,
        slots=slots,
        step=clean_text(turn.step, MAX_FIELD_CHARS),
        intent=clean_text(turn.intent, MAX_FIELD_CHARS),
        by=clean_text(turn.by, MAX_FIELD_CHARS),
    )


def clean_session(record: SessionRecord) -> SessionRecord:
    """A session record as it may be stored. Telephone numbers stay: they are what it is found by."""
    fields = {
        name: clean_text(value, MAX_FIELD_CHARS)
        for name, value in msgspec.structs.asdict(record).items()
        if isinstance(value, str)
    }
    return msgspec.structs.replace(record, **fields)
