"""Destinations, User-to-User, context, brief, signatures: the parts of a handoff that are pure."""

import datetime as dt
from pathlib import Path

import msgspec
import numpy as np
import pytest

from voicebot.audio.g711 import decode_ulaw
from voicebot.config.settings import Settings
from voicebot.core.errors import DialplanError, ProtocolError
from voicebot.dialogue.loader import load_dialplan
from voicebot.handoff.briefing import MAX_BRIEF_CHARS, spoken_brief, spoken_position
from voicebot.handoff.context import ContextBuilder, HandoffContext
from voicebot.handoff.destinations import DestinationRules, classify, refusal
from voicebot.handoff.hold_music import hold_music, ring_back
from voicebot.handoff.signing import body_is_genuine, issue_token, sign_body, token_opens
from voicebot.handoff.user_to_user import (
    decode_fields,
    decode_user_to_user,
    encode_fields,
    encode_user_to_user,
    in_refer_to,
)
from voicebot.worker.handoff_rules import handoff_rules

BANK = Path(__file__).parents[2] / "dialplans/bank.yaml"
RULES = DestinationRules(enabled=True, hosts=("pbx.example",), countries=("44", "1"), home_country="44")


@pytest.mark.parametrize(
    "user",
    ["2000", "desk", "+442071838750", "00442071838750", "02071838750", "+12125550123", "+14165550123"],
)
def test_allowed_destinations(user):
    """Extensions, names and numbers of the countries on the list."""
    assert refusal(f"sip:{user}@pbx.example", RULES) == ""


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("+19005550123", "premium"),
        ("+18095550123", "premium"),
        ("+18765550123", "premium"),
        ("0019005550123", "premium"),
        ("01119005550123", "premium"),
        ("+449098790879", "premium"),
        ("09098790879", "premium"),
        ("+447012345678", "premium"),
        ("+88216123456", "satellite"),
        ("+870773123456", "satellite"),
        ("00881612345678", "satellite"),
        ("+97912345678", "satellite"),
        ("112", "emergency"),
        ("911", "emergency"),
        ("999", "emergency"),
        ("+44999", "emergency"),
        ("0112", "emergency"),
        ("+1-900-555-0123", "premium"),
        ("+331555012345", "country"),
        ("+2521234567", "country"),
        ("call19005550123", "premium"),
    ],
)
def test_refused_destinations(user, why):
    """Premium, satellite, emergency, +1 809 and its like, and countries that nobody allowed."""
    assert why in refusal(f"sip:{user}@pbx.example", RULES)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:2000@elsewhere.example",
        "sip:2000@pbx.example?Replaces=x",
        "sip:2000@pbx.example;maddr=203.0.113.9",
        "tel:+442071838750",
        "sip:2000@pbx.example\r\nX: y",
        "sips:2000@pbx.example",
        "sip:20%30@pbx.example",
    ],
)
def test_only_plain_uris_of_known_hosts(uri):
    """No header part, no parameters that redirect, no escapes."""
    assert refusal(uri, RULES)


def test_outgoing_is_off_by_default():
    assert refusal("sip:2000@pbx.example", DestinationRules(hosts=("pbx.example",))) == (
        "outgoing calls are switched off"
    )
    assert classify("2000") == ("extension", "")


def test_user_to_user_is_rfc_7433_hex():
    """The example bytes of RFC 7433 section 4.1, parameters in any place, and errors."""
    assert (
        encode_user_to_user(bytes.fromhex("56a390f3d2b7310023a2")) == "56a390f3d2b7310023a2;encoding=hex"
    )
    assert decode_user_to_user("56A390F3;purpose=foo;encoding=hex").hex() == "56a390f3"
    for bad in ("", "abc", "xyz0", "00;encoding=base64"):
        with pytest.raises(ProtocolError):
            decode_user_to_user(bad)
    with pytest.raises(ValueError, match="129 bytes"):
        encode_user_to_user(bytes(129))


def test_user_to_user_fields_fit_into_128_bytes():
    """What does not fit is left out from the end, whole."""
    fields = {"call_id": "c123", "intent": "block card", "note": "x" * 200, "verified": "yes"}
    value = encode_fields(fields)
    assert decode_fields(value) == {"call_id": "c123", "intent": "block card", "verified": "yes"}
    assert in_refer_to("sip:2000@pbx", "6162;encoding=hex") == (
        "sip:2000@pbx?User-to-User=6162%3Bencoding%3Dhex"
    )


def collected():
    builder = ContextBuilder(
        sensitive=frozenset({"passcode"}), verified_by=frozenset({"check_passcode"})
    )
    builder.turn("bot", "How can I help?", 900, slots={})
    builder.turn("caller", "my card was stolen", 3000, intent="block_card", slots={})
    builder.turn("caller", "one two three", 6000, slots={"account": "12345678", "passcode": "4321"})
    builder.turn(
        "caller", "my pin is 4321 and card 4111 1111 1111 1111", 8000, slots={"other": "[redacted]"}
    )
    builder.action("check_passcode", "ok", 9000)
    builder.action("block_card", "timeout", 12000)
    return builder.build(
        HandoffContext(
            handoff_id="h1", call_id="c1", caller="+442071838750", queue="fraud", reason="error"
        )
    )


def test_the_context_tells_what_happened():
    context = collected()
    assert context.intent == "block_card" and context.verified == "yes" and context.urgency == "high"
    assert "It is about block card" in context.summary
    assert "account 12345678" in context.summary and "Failed: block card" in context.summary
    assert [a.outcome for a in context.actions] == ["ok", "timeout"]


def test_no_sensitive_byte_leaves():
    """Neither a sensitive slot nor a card number is anywhere in the bytes, whatever the turn said."""
    data = msgspec.json.encode(collected())
    for secret in (b"4321", b"4111", b'passcode":'):
        assert secret not in data.replace(b"check_passcode", b"")
    assert b"[card]" in data and b"other" not in data


def test_a_colleague_is_shown_the_slots_that_the_dialplan_lists():
    builder = ContextBuilder(shown=frozenset({"account"}))
    builder.turn("caller", "one two", 0, slots={"account": "12", "reason": "lost"})
    assert builder.memory().slots == {"account": "12"}


def test_the_dialplan_says_how_a_handoff_is_taken():
    """Key, time and slots of the plan come before those of the installation; unknown keys are mistakes."""
    source = BANK.read_text()
    now = dt.datetime(2026, 11, 18, 11, tzinfo=dt.UTC)

    def chosen(extra):
        return handoff_rules(Settings(), load_dialplan(source.replace("\nhandoff:\n", extra)), now)

    own = chosen(
        "\nhandoff:\n  accept: { digit: '5', timeout: 20s }\n"
        "  context: { slots: [] }\n  outcomes: { busy: wait }\n"
    )
    assert (own.settings.accept_digit, own.settings.accept_timeout_s) == ("5", 20.0)
    assert own.shown == frozenset()
    assert own.busy_waits
    assert chosen("\nhandoff:\n").shown is None
    with pytest.raises(DialplanError, match="no_answer"):
        chosen("\nhandoff:\n  outcomes: { no_answer: wait }\n")


def test_the_brief_is_short_and_ends_with_the_key():
    brief = spoken_brief(collected(), accept_digit="1")
    assert brief.startswith("Call from plus 4 4 2 0 7 1") and brief.endswith("Press 1 to accept.")
    assert len(brief) <= MAX_BRIEF_CHARS + 1
    nobody = HandoffContext(handoff_id="h", call_id="c", caller="<script>")
    assert "script" not in spoken_brief(nobody, accept_digit="1")
    assert spoken_position(1, None) == "You are next."
    assert spoken_position(3, 170) == "You are number 3 in the queue. The wait is about 3 minutes."


def test_a_webhook_signature_covers_body_and_time():
    header = sign_body(b"key", b'{"a":1}', 1000)
    assert body_is_genuine(b"key", b'{"a":1}', header, 1100)
    assert not body_is_genuine(b"key", b'{"a":2}', header, 1100)
    assert not body_is_genuine(b"other", b'{"a":1}', header, 1100)
    assert not body_is_genuine(b"key", b'{"a":1}', header, 1301)
    assert not body_is_genuine(b"key", b"", "nonsense", 1000)


def test_a_token_opens_one_handoff_for_a_while():
    token = issue_token(b"key", "h1", 2000)
    assert token_opens(b"key", token, "h1", 1999)
    assert not token_opens(b"key", token, "h1", 2000)
    assert not token_opens(b"key", token, "h2", 1000)
    assert not token_opens(b"key", token.replace("2000", "9000"), "h1", 1000)
    for bad in ("", "h1", "h1.x.y", "h1.²000.z", "h1.2000.é"):
        assert not token_opens(b"key", bad, "h1", 1000)


def test_ring_back_rings_twice_in_three_seconds():
    """400 and 450 Hz, as ITU-T E.180 has it for the United Kingdom."""
    samples = decode_ulaw(ring_back()).astype(float)
    loud = [bool(np.abs(piece).max() > 1000) for piece in samples.reshape(-1, 1600)]
    assert loud == [True, True, False, True, True] + [False] * 10
    power = np.abs(np.fft.rfft(samples[:3200]))
    assert {int(bin_ * 2.5) for bin_ in np.argsort(power)[-2:]} == {400, 450}


def test_hold_music_is_quiet_and_has_no_seam():
    """Eight seconds between -30 and -15 dBov, no click where it begins again."""
    samples = decode_ulaw(hold_music()).astype(float) / 32768
    assert len(samples) == 8 * 8000
    level_dbov = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert -32 < level_dbov < -15
    steps = np.abs(np.diff(np.concatenate([samples[-400:], samples[:400]])))
    assert steps.max() <= np.abs(np.diff(samples)).max()
