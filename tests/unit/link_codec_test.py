"""Dialect voicebot.v1, both ends."""

import msgspec
import pytest

from voicebot.core.errors import LinkProtocolError
from voicebot.link import messages as m
from voicebot.link.binary_media import BotAudio, CallerAudio, SentAudio
from voicebot.link.codec import MAX_CONTROL_BYTES, VoicebotV1Edge, VoicebotV1Worker

EDGE_MESSAGES = [
    m.Start(
        call_id="c0123456789ab",
        session_id="s1",
        caller="100",
        headers={"x-a": "b"},
        resume=m.Resume(session_id="s0", acknowledged_frame=7),
    ),
    m.Dtmf(digit="#", duration_ms=100),
    m.Played(utterance="u1", played_ms=100, edge_us=5, finished=True),
    m.Cleared(generation=1, utterances=(m.ClearedUtterance(utterance="u1", played_ms=1, dropped_ms=2),)),
    m.Stats(lost_packets=3, jitter_ms=1.5),
    m.Result(request="r1", ok=False, code=486, reason="busy"),
    m.TransferProgress(request="r1", code=180),
    m.LegEnded(leg="l1"),
    m.LegDtmf(leg="l1", digit="1"),
    m.LegPlayed(leg="l1", utterance="u1"),
    m.Held(held=True),
    m.Stop(reason="bye", stats=m.Stats(sent_packets=9)),
    m.Heartbeat(monotonic_us=1),
]
WORKER_MESSAGES = [
    m.Answer(request="r1"),
    m.Reject(request="r1", code=603),
    m.EndUtterance(utterance="u1"),
    m.Pause(),
    m.Unpause(),
    m.Clear(generation=4),
    m.Transfer(request="r1", uri="sip:a@b"),
    m.Dial(request="r1", leg="l1", uri="sip:a@b"),
    m.LegAudio(leg="l1", utterance="u1", payload=b"\xff" * 16_000, last=True),
    m.Bridge(request="r1", leg="l1"),
    m.Unbridge(request="r1", leg="l1", hang_up_leg=False),
    m.Hold(request="r1", held=True),
    m.SendDtmf(request="r1", digits="12#"),
    m.Record(paused=True),
    m.Hangup(request="r1", drain=False),
    m.Acknowledge(frame=12),
    m.Heartbeat(monotonic_us=1),
]


def _sample(kind):
    """A message of a type that is not listed above, with something in every required field."""
    given = {str: "x", int: 1, float: 1.5, bool: True, bytes: b"\x00\xff"}
    fields = msgspec.structs.fields(kind)
    return kind(**{f.name: given[f.type] for f in fields if f.type in given})


EDGE_MESSAGES += [_sample(k) for k in m.EdgeMessage.__args__ if k not in {*map(type, EDGE_MESSAGES)}]
WORKER_MESSAGES += [
    _sample(k) for k in m.WorkerMessage.__args__ if k not in {*map(type, WORKER_MESSAGES)}
]
CALLER_AUDIO = CallerAudio(
    frame=2**40, rtp_timestamp=2**33, edge_us=17, position_samples=320, payload=b"\x7f" * 160, dtx=True
)
CALLER_AUDIO_WITH_SENT = CallerAudio(1, 160, 20_000, 480, b"\x7f" * 160, sent=b"\x01" * 160)
SENT_AUDIO = SentAudio(position_samples=2**40, payload=b"\x01" * 160)
BOT_AUDIO = BotAudio(generation=3, utterance="u1", payload=b"\xff" * 16_000)


@pytest.mark.parametrize(
    "message",
    [*EDGE_MESSAGES, CALLER_AUDIO, CALLER_AUDIO_WITH_SENT, SENT_AUDIO],
    ids=lambda x: type(x).__name__,
)
def test_what_the_edge_says_arrives_at_the_worker(message):
    """Every message of the edge survives the wire unchanged."""
    (wire,) = VoicebotV1Edge().send(message, 0).to_peer
    assert VoicebotV1Worker().receive(wire.data, 0).to_owner == (message,)
    assert wire.text is not isinstance(message, CallerAudio | SentAudio)


@pytest.mark.parametrize("message", [*WORKER_MESSAGES, BOT_AUDIO], ids=lambda x: type(x).__name__)
def test_what_the_worker_says_arrives_at_the_edge(message):
    """Every message of the worker survives the wire unchanged."""
    (wire,) = VoicebotV1Worker().send(message, 0).to_peer
    assert VoicebotV1Edge().receive(wire.data, 0).to_owner == (message,)


def test_the_lists_above_name_every_message():
    """No message type is left out of the two tests before."""
    assert {type(x) for x in EDGE_MESSAGES} == set(m.EdgeMessage.__args__)
    assert {type(x) for x in WORKER_MESSAGES} == set(m.WorkerMessage.__args__)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x01short",
        b"\x02" + b"\x00" * 50,  # bot audio towards the worker
        b"\x03short",
        b"\x01\x08" + b"\x00" * 195,  # says that what was sent is in it
        b"{",
        b"[]",
        b"null",
        b'{"digit":"1"}',
        b'{"type":"no_such_message"}',
        b'{"type":"answer","request":"r"}',  # a message of the other direction
        b'{"type":"dtmf"}',
        b'{"type":"dtmf","digit":1}',
        b'{"type":"dtmf","digit":"\xff"}',
        b'{"type":"dtmf","digit":"\\ud800"}',
        b'{"type":"dtmf","digit":"1","duration_ms":1e400}',
        b'{"type":"dtmf","digit":"1","more":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"type":"dtmf","digit":"' + b"1" * MAX_CONTROL_BYTES + b'"}',
    ],
    ids=lambda data: repr(data[:32]),
)
def test_a_bad_message_is_refused_and_the_next_one_is_read(data):
    """Malformed input raises LinkProtocolError and leaves the codec usable."""
    codec = VoicebotV1Worker()
    with pytest.raises(LinkProtocolError):
        codec.receive(data, 0)
    assert codec.receive(b'{"type":"dtmf","digit":"1"}', 0).to_owner == (m.Dtmf(digit="1"),)


def test_an_unknown_field_is_ignored():
    """A newer peer may say more than we know."""
    step = VoicebotV1Worker().receive(b'{"type":"dtmf","digit":"1","colour":"red"}', 0)
    assert step.to_owner == (m.Dtmf(digit="1"),)


@pytest.mark.parametrize(
    "message",
    [
        m.Dtmf(digit="\ud800"),
        m.Start(call_id="c", session_id="s", caller="1" * MAX_CONTROL_BYTES),
        CallerAudio(0, 0, 0, 0, bytes(160), generation=2**32),
        CallerAudio(-1, 0, 0, 0, bytes(160)),
        BotAudio(0, "", b"x"),
        BotAudio(0, "x" * 33, b"x"),
        BotAudio(-1, "u1", b"x"),
    ],
    ids=["lone surrogate", "too long", "generation", "frame", "no id", "long id", "minus"],
)
def test_what_cannot_be_written_is_an_error_of_the_link(message):
    """An unwritable message raises LinkProtocolError, not something of the encoder's."""
    with pytest.raises(LinkProtocolError):
        VoicebotV1Edge().send(message, 0)


def test_control_is_one_json_object_with_a_type():
    """The tag is called ``type``; defaults stay away."""
    (wire,) = VoicebotV1Worker().send(m.Clear(generation=2), 0).to_peer
    assert msgspec.json.decode(wire.data) == {"type": "clear", "generation": 2}
