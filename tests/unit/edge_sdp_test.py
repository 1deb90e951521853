"""SDP targets and their rewriting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot.edge.sdp import MediaTarget, audio_target, rewrite_audio_target

BODY = (
    "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 101\r\na=rtcp:4001 IN IP4 10.0.0.1\r\na=sendrecv\r\n"
)


def test_target_is_the_session_address_unless_the_stream_has_its_own():
    """Media-level c= wins (RFC 4566 section 5.7)."""
    assert audio_target(BODY) == MediaTarget("10.0.0.1", 4000)
    assert audio_target(BODY + "c=IN IP4 10.0.0.2/127\r\n") == MediaTarget("10.0.0.2", 4000)


@pytest.mark.parametrize(
    ("sdp", "expected"),
    [
        ("", None),
        (BODY.replace("m=audio 4000", "m=video 4000"), None),
        (BODY.replace("m=audio 4000", "m=audio 0"), None),
        (BODY.replace("m=audio 4000", "m=audio x"), None),
        (BODY.replace("m=audio 4000", "m=audio ²"), None),
        (
            BODY.replace("m=audio 4000", "m=audio 0 RTP/AVP 0\r\nm=audio 5000"),
            MediaTarget("10.0.0.1", 5000),
        ),
        (BODY.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0"), MediaTarget("0.0.0.0", 4000)),
    ],
)
def test_targets(sdp, expected):
    """Switched-off and foreign streams are passed over; the old hold is seen as such."""
    target = audio_target(sdp)
    assert target == expected
    if target is not None:
        assert target.is_hold == (target.address == "0.0.0.0")


def test_rewriting_puts_our_socket_in_every_place():
    """c=, m=audio and a=rtcp name our socket; all else stays."""
    written = rewrite_audio_target(BODY + "m=audio 0 RTP/AVP 8\r\n", "192.0.2.9", 20000)
    assert audio_target(written) == MediaTarget("192.0.2.9", 20000)
    assert "a=rtcp:20001 IN IP4 192.0.2.9\r\n" in written
    assert "m=audio 0 RTP/AVP 8" in written
    assert "o=- 1 1 IN IP4 10.0.0.1\r\n" in written
    assert written.count("\r\n") == BODY.count("\r\n") + 1


@given(st.text(alphabet="vocm=audio 0123456789IN4./\r\n", max_size=300))
def test_no_text_raises(sdp):
    """A body is a peer's text: reading it never raises."""
    audio_target(sdp)
    rewrite_audio_target(sdp, "127.0.0.1", 4000)
