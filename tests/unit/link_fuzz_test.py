"""Whatever a peer sends: a codec raises LinkProtocolError or nothing, and what it delivers is sound."""

import base64
import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.core.errors import LinkProtocolError
from voicebot.link import messages as m
from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.codec import FromEdge, FromWorker, VoicebotV1Edge, VoicebotV1Worker
from voicebot.link.media_streams_edge import MediaStreamsEdge
from voicebot.link.media_streams_worker import MediaStreamsWorker

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAGS = [k.__struct_config__.tag for k in (*m.EdgeMessage.__args__, *m.WorkerMessage.__args__)]
EVENTS = ["connected", "start", "media", "dtmf", "mark", "stop", "clear", "other"]
V1_LIKE = st.builds(
    lambda tag, more: json.dumps({**more, "type": tag}).encode(),
    st.sampled_from(TAGS),
    st.dictionaries(
        st.sampled_from(["digit", "request", "frame", "generation", "utterance", "headers", "code"]),
        JSON_VALUE,
    ),
)
MEDIA_BODY = st.fixed_dictionaries(
    {"payload": st.binary(max_size=500).map(lambda b: base64.b64encode(b).decode()) | st.text()},
    optional={"timestamp": st.text() | st.integers(), "track": st.sampled_from(["inbound", "x"])},
)
MEDIA_STREAMS_LIKE = st.builds(
    lambda event, bodies: json.dumps({"event": event, **bodies}).encode(),
    st.sampled_from(EVENTS),
    st.fixed_dictionaries(
        {},
        optional={
            "media": MEDIA_BODY,
            "mark": st.fixed_dictionaries({"name": st.text()}) | JSON_VALUE,
            "dtmf": st.fixed_dictionaries({"digit": st.text(max_size=2)}),
            "start": st.fixed_dictionaries({"customParameters": JSON_VALUE}) | JSON_VALUE,
            "stop": JSON_VALUE,
            "streamSid": st.text() | JSON_VALUE,
        },
    ),
)


def feed(codec, messages):
    delivered = []
    for at, data in enumerate(messages):
        try:
            step = codec.receive(data, at * 20_000)
        except LinkProtocolError:
            continue
        delivered += step.to_owner
        if step.close:
            break
    return delivered


@given(st.lists(st.binary(max_size=300) | V1_LIKE, max_size=5))
def test_v1_takes_anything(messages):
    """Both ends deliver messages of the other's direction only, all of which can be written again."""
    for codec, other, kinds in (
        (VoicebotV1Worker(), VoicebotV1Edge(), FromEdge.__args__),
        (VoicebotV1Edge(), VoicebotV1Worker(), FromWorker.__args__),
    ):
        for message in feed(codec, messages):
            assert isinstance(message, kinds)
            other.send(message, 0)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=100) | MEDIA_STREAMS_LIKE, max_size=12))
def test_media_streams_takes_anything(messages):
    """Frames are whole and numbered without gap, one Start at most and first, one Stop and last."""
    delivered = feed(MediaStreamsWorker(), messages)
    frames = [x for x in delivered if isinstance(x, CallerAudio)]
    assert [f.frame for f in frames] == list(range(len(frames)))
    assert all(len(f.payload) == 160 and 0 <= f.rtp_timestamp < 2**64 for f in frames)
    kinds = [type(x) for x in delivered]
    assert kinds.count(m.Start) <= 1 and kinds[:1] in ([], [m.Start])
    assert kinds.count(m.Stop) <= 1 and m.Stop not in kinds[:-1]
    for message in delivered:
        VoicebotV1Edge().send(message, 0)  # ids, numbers and texts fit the other dialect too
    bot = MediaStreamsEdge()
    bot.send(m.Start(call_id="c1", session_id="s1"), 0)
    for message in feed(bot, messages):
        VoicebotV1Worker().send(message, 0)


@given(U32, U64, U64, U64, U64, st.binary(max_size=400), st.booleans(), st.booleans(), st.booleans())
def test_caller_audio_survives_the_wire(generation, frame, stamp, at_us, position, payload, a, b, c):
    """Every field over its whole range."""
    audio = CallerAudio(frame, stamp, at_us, position, payload, generation, a, b, c)
    (wire,) = VoicebotV1Edge().send(audio, 0).to_peer
    assert VoicebotV1Worker().receive(wire.data, 0).to_owner == (audio,)


@given(U32, st.text(st.characters(max_codepoint=127), min_size=1, max_size=32), st.binary(max_size=400))
def test_bot_audio_survives_the_wire(generation, utterance, payload):
    """Every field over its whole range."""
    audio = BotAudio(generation, utterance, payload)
    (wire,) = VoicebotV1Worker().send(audio, 0).to_peer
    assert VoicebotV1Edge().receive(wire.data, 0).to_owner == (audio,)


@given(
    st.lists(
        st.sampled_from(["audio", "mark", "clear", "played", "cleared"])
        | st.integers(1, 50_000).map(lambda n: n),
        max_size=40,
    )
)
def test_every_mark_of_a_bot_comes_back_once(steps):
    """Whatever the order of audio, marks, clears and playing: no mark is lost or doubled."""
    edge = MediaStreamsEdge()
    edge.send(m.Start(call_id="c1", session_id="s1"), 0)
    sent, back, ended, generation = [], [], [], 0

    def take(step):
        nonlocal generation
        for wire in step.to_peer:
            message = msgspec.json.decode(wire.data)
            if message["event"] == "mark":
                back.append(message["mark"]["name"])
        for message in step.to_owner:
            match message:
                case m.EndUtterance():
                    ended.append(message.utterance)
                case m.Clear():
                    ended.clear()
                    generation = message.generation

    for step in [*steps, "clear", "cleared"]:
        match step:
            case "mark":
                sent.append(str(len(sent)))
                body = {"event": "mark", "mark": {"name": sent[-1]}}
                take(edge.receive(json.dumps(body).encode(), 0))
            case "clear":
                take(edge.receive(b'{"event":"clear"}', 0))
            case "played" if ended:
                take(edge.send(m.Played(utterance=ended.pop(0), played_ms=1, finished=True), 0))
            case "cleared":
                take(edge.send(m.Cleared(generation=generation), 0))
            case "audio" | int():
                payload = base64.b64encode(b"\xff" * (step if isinstance(step, int) else 160)).decode()
                take(
                    edge.receive(
                        json.dumps({"event": "media", "media": {"payload": payload}}).encode(), 0
                    )
                )
    assert sorted(back) == sorted(sent)
