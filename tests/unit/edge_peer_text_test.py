"""Text of a peer at the boundary."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot.edge.peer_text import (
    NameAddress,
    clean_peer_text,
    dialplan_headers,
    outgoing_headers,
    parse_name_address,
    parse_sip_headers,
    request_uri,
)


@given(st.text(st.characters(), max_size=400) | st.just("\udcff\x00\x1b[2J\u202eabc\u2028"))
def test_clean_text_is_short_printable_and_encodable(text):
    """Whatever comes in, the result is at most 256 printable characters that every encoder takes."""
    clean = clean_peer_text(text)
    assert len(clean) <= 256
    assert clean.isprintable()
    clean.encode("utf-8")
    msgspec.json.encode(clean)
    json.dumps(clean)


def test_clean_text_keeps_what_people_are_called():
    """Letters of any script stay; only what does not print is replaced."""
    assert clean_peer_text("Zoë Ångström 张伟") == "Zoë Ångström 张伟"
    assert clean_peer_text("a\r\nb\x00c") == "a\ufffd\ufffdb\ufffdc"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"Ann \\"A\\" Lee" <sip:+4930123@example.org:5060;user=phone>;tag=1',
         NameAddress('Ann "A" Lee', "+4930123", "example.org:5060")),
        ("Bob <sips:bob@h>", NameAddress("Bob", "bob", "h")),
        ("sip:carol%20x@h;tag=2", NameAddress("", "carol x", "h")),
        ("<sip:host-only>", NameAddress("", "", "host-only")),
        ("<tel:+49-30-5;phone-context=x>", NameAddress("", "+49-30-5", "")),
        ("<sip:u:secret@h>", NameAddress("", "u", "h")),
        ("", NameAddress()),
    ],
)  # fmt: skip
def test_name_addresses(value, expected):
    """User, host and display name of the forms that occur; a password is never kept."""
    assert parse_name_address(value) == expected


@given(st.text(max_size=600))
def test_name_address_never_raises(value):
    """Any header value gives cleaned fields."""
    address = parse_name_address(value)
    for part in (address.display_name, address.user, address.host):
        part.encode("utf-8")
        assert part.isprintable()


MESSAGE = (
    "INVITE sip:bot@127.0.0.1:5070;x=1 SIP/2.0\r\n"
    "v: SIP/2.0/UDP h\r\n"
    "f: <sip:a@h>\r\n"
    "X-Long: one\r\n two\r\n"
    "X-Long: second\r\n"
    "User-to-User: 00\r\n"
    "no colon here\r\n"
    "X bad name: 1\r\n"
    "Authorization: Digest secret\r\n"
    "\r\nbody: not a header\r\n"
)


def test_headers_are_unfolded_and_spelt_out():
    """Compact names become long ones, folded lines one, the body stays out."""
    headers = parse_sip_headers(MESSAGE)
    assert ("via", "SIP/2.0/UDP h") in headers
    assert ("from", "<sip:a@h>") in headers
    assert ("x-long", "one two") in headers
    assert "body" not in dict(headers)
    assert request_uri(MESSAGE) == "sip:bot@127.0.0.1:5070;x=1"
    assert request_uri("garbage") == ""


def test_dialplan_gets_few_headers():
    """X-* and identity only, the first of each name, bounded in number."""
    kept = dialplan_headers(parse_sip_headers(MESSAGE))
    assert kept == {"x-long": "one two", "user-to-user": "00"}
    assert len(dialplan_headers([(f"x-{n}", "v") for n in range(100)])) == 32


def test_outgoing_headers_cannot_break_a_message():
    """No line break gets out, and no name that routing or the stack depends on."""
    kept = outgoing_headers(
        {"X-A": "1\r\nVia: evil", "Via": "x", "contact": "y", "Bad Name": "z", "X-B\r\n": "q"}
    )
    assert list(kept) == ["X-A"]
    assert "\r" not in kept["X-A"]
    assert "\n" not in kept["X-A"]
