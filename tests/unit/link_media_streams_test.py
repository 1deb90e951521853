"""The Media Streams compatible dialect, both ends, on the wire and through our messages."""

import base64
import json

import pytest

from voicebot.core.errors import LinkProtocolError
from voicebot.link import messages as m
from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.dialect_choice import FirstMessageDecides, worker_codec
from voicebot.link.media_streams_edge import MediaStreamsEdge
from voicebot.link.media_streams_worker import MARK_GRACE_US, MediaStreamsWorker

SID = "MZ" + "1" * 32
START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": SID,
    "start": {
        "accountSid": "AC1",
        "callSid": "CA1",
        "streamSid": SID,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {
            "caller": "+49151\u202e23",
            "Campaign": "spring",
            "call_id": "c0123456789ab",
        },
    },
}


def text(**message):
    return json.dumps(message).encode()


def media(payload, **more):
    return text(
        event="media",
        streamSid=SID,
        media={"payload": base64.b64encode(payload).decode(), **more},
    )


def wire(step):
    assert all(w.text for w in step.to_peer)
    return [json.loads(w.data) for w in step.to_peer]


@pytest.fixture
def worker():
    codec = MediaStreamsWorker()
    codec.receive(text(event="connected", protocol="Call", version="1.0.0"), 0)
    codec.receive(json.dumps(START).encode(), 0)
    return codec


@pytest.fixture
def edge():
    codec = MediaStreamsEdge()
    codec.send(m.Start(call_id="c0123456789ab", session_id="s1", caller="100"), 0)
    return codec


# ---------------------------------------------------------------- worker's end


def test_a_carrier_s_start_is_an_answered_call_with_ids_of_our_own():
    """Parameters become caller and headers, clean; a peer's call id names nothing."""
    codec = MediaStreamsWorker()
    assert codec.receive(text(event="connected", protocol="Call", version="1.0.0"), 0).to_owner == ()
    (start,) = codec.receive(json.dumps(START).encode(), 7).to_owner
    assert start.answered
    assert (start.caller, start.sip_call_id, start.headers) == (
        "+4915123",
        "CA1",
        {"campaign": "spring"},
    )
    assert start.call_id != "c0123456789ab"
    assert start.call_id[0] == "c"


def test_caller_audio_of_any_size_becomes_frames_of_20_ms(worker):
    """50 ms in two messages are two frames and a rest that waits; timestamps are in samples."""
    first = worker.receive(media(bytes(range(240)), track="inbound", timestamp="1000"), 5).to_owner
    second = worker.receive(media(bytes(range(160)), track="inbound", timestamp="1030"), 6).to_owner
    frames = [*first, *second]
    assert [f.frame for f in frames] == [0, 1]
    assert [f.rtp_timestamp for f in frames] == [8000, 8160]
    assert frames[1].payload == bytes(range(160, 240)) + bytes(range(80))
    assert [f.edge_us for f in frames] == [5, 6]


def test_the_outbound_track_is_not_the_caller(worker):
    """Our own voice does not come back as the caller's."""
    assert worker.receive(media(bytes(160), track="outbound"), 0).to_owner == ()


def test_bot_audio_goes_out_with_the_stream_s_id_and_a_mark(worker):
    """One utterance is media in base64 and a mark of its name."""
    out = wire(worker.send(BotAudio(0, "u1", b"\x01" * 12_000), 0))
    out += wire(worker.send(m.EndUtterance(utterance="u1"), 0))
    assert [(o["event"], o["streamSid"]) for o in out] == [
        ("media", SID),
        ("media", SID),
        ("mark", SID),
    ]
    assert b"".join(base64.b64decode(o["media"]["payload"]) for o in out[:2]) == b"\x01" * 12_000
    assert out[2]["mark"] == {"name": "u1"}
    assert set(out[0]) == {"event", "streamSid", "media"}
    assert set(out[0]["media"]) == {"payload"}


def test_a_mark_that_comes_back_is_played(worker):
    """The whole length counts as heard; a second time, or a foreign mark, means nothing."""
    worker.send(BotAudio(0, "u1", bytes(8000)), 0)
    worker.send(m.EndUtterance(utterance="u1"), 0)
    back = text(event="mark", streamSid=SID, mark={"name": "u1"})
    (played,) = worker.receive(back, 50_000).to_owner
    assert played == m.Played(utterance="u1", played_ms=1000, edge_us=50_000, finished=True)
    assert worker.receive(back, 60_000).to_owner == ()
    assert worker.receive(text(event="mark", mark={"name": "foreign"}), 70_000).to_owner == ()


def test_progress_is_estimated_each_100_ms(worker):
    """Playing is in order and in real time: 0.4 s after u1 of 0.3 s, u2 has played 100 ms."""
    worker.send(BotAudio(0, "u1", bytes(2400)), 1_000_000)
    worker.send(BotAudio(0, "u2", bytes(2400)), 1_000_000)
    seen = []
    for at_us in range(1_000_000, 1_700_000, 20_000):
        step = worker.receive(media(bytes(160)), at_us)
        seen += [(p.utterance, p.played_ms) for p in step.to_owner if isinstance(p, m.Played)]
    assert seen == [("u1", 0), ("u1", 100), ("u1", 200), ("u2", 0), ("u2", 100), ("u2", 200)]


def test_clear_reports_what_was_probably_heard_and_drops_what_is_late(worker):
    """Cleared comes at once; audio of the old generation is not sent; late marks mean nothing."""
    worker.send(BotAudio(0, "u1", bytes(8000)), 0)
    worker.send(m.EndUtterance(utterance="u1"), 0)
    worker.send(BotAudio(0, "u2", bytes(800)), 0)
    step = worker.send(m.Clear(generation=1), 250_000)
    assert wire(step) == [{"event": "clear", "streamSid": SID}]
    assert step.to_owner == (
        m.Cleared(
            generation=1,
            utterances=(
                m.ClearedUtterance(utterance="u1", played_ms=250, dropped_ms=750),
                m.ClearedUtterance(utterance="u2", played_ms=0, dropped_ms=100),
            ),
        ),
    )
    assert wire(worker.send(BotAudio(0, "u2", bytes(800)), 260_000)) == []
    assert worker.receive(text(event="mark", mark={"name": "u1"}), 270_000).to_owner == ()
    assert len(wire(worker.send(BotAudio(1, "u3", bytes(800)), 280_000))) == 1


def test_a_pause_clears_and_what_was_not_played_is_sent_again(worker):
    """300 ms of one second were heard: the other 700 ms follow, then what came during the pause."""
    audio = bytes(n % 251 for n in range(8000))
    worker.send(BotAudio(0, "u1", audio), 0)
    (mark,) = wire(worker.send(m.EndUtterance(utterance="u1"), 0))
    assert [o["event"] for o in wire(worker.send(m.Pause(ramp_ms=20), 300_000))] == ["clear"]
    assert wire(worker.send(m.Pause(ramp_ms=20), 310_000)) == []
    cleared = worker.receive(json.dumps(mark).encode(), 320_000)
    assert cleared.to_owner == (), "a mark that comes back for the clear has not been played"
    assert wire(worker.send(BotAudio(0, "u2", b"\x07" * 80), 330_000)) == []
    again = wire(worker.send(m.Unpause(), 900_000))
    assert [o["event"] for o in again] == ["media", "mark", "media"]
    assert base64.b64decode(again[0]["media"]["payload"]) == audio[2400:]
    assert base64.b64decode(again[2]["media"]["payload"]) == b"\x07" * 80
    early = worker.receive(json.dumps(mark).encode(), 910_000).to_owner
    assert not [p for p in early if p.finished], "the mark from before the pause"
    back = worker.receive(json.dumps(again[1]).encode(), 1_600_000).to_owner
    assert m.Played(utterance="u1", played_ms=1000, edge_us=1_600_000, finished=True) in back
    assert wire(worker.send(m.Unpause(), 1_700_000)) == []


def test_a_clear_in_a_pause_reports_what_was_heard_before_it(worker):
    """The pause's own time is no playing; a second pause counts from where playing went on."""
    worker.send(BotAudio(0, "u1", bytes(8000)), 0)
    worker.send(m.Pause(), 200_000)
    worker.send(m.Unpause(), 700_000)
    worker.send(m.Pause(), 800_000)
    step = worker.send(m.Clear(generation=1), 1_500_000)
    assert step.to_owner[0].utterances == (
        m.ClearedUtterance(utterance="u1", played_ms=300, dropped_ms=700),
    )
    assert len(wire(worker.send(BotAudio(1, "u2", bytes(80)), 1_600_000))) == 1


def test_a_mark_that_never_comes_back_does_not_hang_the_call(worker):
    """Two seconds after it should have been played the utterance counts as finished."""
    worker.send(BotAudio(0, "u1", bytes(800)), 0)
    worker.send(m.EndUtterance(utterance="u1"), 0)
    assert not [
        p
        for p in worker.receive(media(bytes(160)), 100_000 + MARK_GRACE_US).to_owner
        if isinstance(p, m.Played) and p.finished
    ]
    later = worker.receive(media(bytes(160)), 100_001 + MARK_GRACE_US).to_owner
    assert [p.utterance for p in later if isinstance(p, m.Played) and p.finished] == ["u1"]


def test_keys_and_the_end(worker):
    """Dtmf is a key, stop is the end by the caller; after it nothing counts."""
    key = text(event="dtmf", streamSid=SID, dtmf={"track": "inbound_track", "digit": "#"})
    assert worker.receive(key, 0).to_owner == (m.Dtmf(digit="#", source="link"),)
    stop = text(event="stop", streamSid=SID, stop={"accountSid": "AC1", "callSid": "CA1"})
    assert worker.receive(stop, 0).to_owner == (m.Stop(reason="stop"),)
    assert worker.receive(key, 0).to_owner == ()
    assert worker.closed(clean=True).to_owner == ()


def test_a_close_is_an_end_only_when_it_was_meant(worker):
    """A clean close ends the call; a lost link is no Stop."""
    assert worker.closed(clean=False).to_owner == ()
    assert worker.closed(clean=True).to_owner == (m.Stop(reason="closed"),)


def test_what_the_dialect_cannot_say_is_answered_at_once(worker):
    """Answer succeeds, call control fails with 501, the rest is silently dropped."""
    assert worker.send(m.Answer(request="r"), 0).to_owner == (m.Result(request="r", ok=True, code=200),)
    for request in (
        m.Transfer(request="r", uri="sip:a@b"),
        m.Dial(request="r", leg="l", uri="sip:a@b"),
        m.Bridge(request="r", leg="l"),
        m.Unbridge(request="r", leg="l"),
        m.Hold(request="r", held=True),
        m.SendDtmf(request="r", digits="1"),
    ):
        (result,) = worker.send(request, 0).to_owner
        assert (result.request, result.ok, result.code) == ("r", False, 501)
    for dropped in (m.Record(paused=True), m.Acknowledge(frame=1)):
        step = worker.send(dropped, 0)
        assert (step.to_peer, step.to_owner, step.close) == ((), (), False)


def test_hangup_waits_for_what_is_queued(worker):
    """With drain the link closes when the mark behind the audio comes back; without, at once."""
    worker.send(BotAudio(0, "u1", bytes(8000)), 0)
    step = worker.send(m.Hangup(request="r", reason="done"), 0)
    assert (step.close, step.to_owner) == (False, (m.Result(request="r", ok=True, code=200),))
    (mark,) = wire(step)
    back = worker.receive(json.dumps(mark).encode(), 1_000_000)
    assert back.close
    assert back.to_owner == (m.Stop(reason="done", ended_by="bot"),)


def test_hangup_at_once_and_hangup_of_a_mute_carrier(worker):
    """Without drain nothing is waited for; a mark that never comes back is not waited for either."""
    worker.send(BotAudio(0, "u1", bytes(8000)), 0)
    assert not worker.send(m.Hangup(request="r"), 0).close
    assert not worker.receive(media(bytes(160)), 1_000_000).close
    assert worker.receive(media(bytes(160)), 1_000_001 + MARK_GRACE_US).close
    other = MediaStreamsWorker()
    other.receive(json.dumps(START).encode(), 0)
    other.send(BotAudio(0, "u1", bytes(8000)), 0)
    assert other.send(m.Hangup(request="r", drain=False), 0).close


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"event":5}',
        b'{"event":"media"}',
        b'{"event":"media","media":{}}',
        b'{"event":"media","media":{"payload":"***"}}',
        b'{"event":"media","media":{"payload":5}}',
        b'{"event":"dtmf","dtmf":{"digit":"12"}}',
        b'{"event":"dtmf","dtmf":{"digit":""}}',
        b'{"event":"mark","mark":{"name":"\\ud800"}}',
        b'{"event":"mark","mark":{"name":"\xff"}}',
        b'{"event":"media","x":' + b"[" * 40_000 + b"]" * 40_000 + b"}",
        json.dumps(START).encode(),  # a second one
    ],
    ids=lambda data: repr(data[:40]),
)
def test_a_bad_message_is_refused_and_the_next_one_is_read(worker, data):
    """Malformed input raises LinkProtocolError and leaves the codec usable."""
    with pytest.raises(LinkProtocolError):
        worker.receive(data, 0)
    assert len(worker.receive(media(bytes(160)), 0).to_owner) == 1


def test_unknown_events_and_fields_are_ignored(worker):
    """The dialect has many speakers, some of which say more."""
    assert worker.receive(text(event="weather", media=5), 0).to_owner == ()
    assert len(worker.receive(text(event="media", media={"payload": "", "x": 1}, y=2), 0).to_owner) == 0
    numbers = media(bytes(160), chunk=3, timestamp=40)
    assert worker.receive(numbers, 0).to_owner[0].rtp_timestamp == 320


def test_other_audio_than_mu_law_is_refused():
    """A stream in another format never becomes a call."""
    start = json.loads(json.dumps(START))
    start["start"]["mediaFormat"]["sampleRate"] = 16000
    codec = MediaStreamsWorker()
    with pytest.raises(LinkProtocolError, match="mu-law"):
        codec.receive(json.dumps(start).encode(), 0)
    with pytest.raises(LinkProtocolError, match="before start"):
        codec.receive(media(bytes(160)), 0)
    with pytest.raises(LinkProtocolError):
        codec.send(BotAudio(0, "u1", b"x"), 0)


# ---------------------------------------------------------------- edge's end


def test_the_bot_is_introduced_as_it_expects():
    """connected, then start with format and parameters; the call is answered at once."""
    codec = MediaStreamsEdge()
    step = codec.send(
        m.Start(
            call_id="c0123456789ab",
            session_id="s1",
            caller="100",
            called="200",
            headers={"x-a": "b"},
        ),
        0,
    )
    connected, start = wire(step)
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert (start["event"], start["sequenceNumber"]) == ("start", "1")
    body = start["start"]
    assert body["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert body["tracks"] == ["inbound"]
    assert body["streamSid"] == start["streamSid"]
    assert [len(start["streamSid"]), len(body["callSid"]), len(body["accountSid"])] == [34, 34, 34]
    assert body["customParameters"] == {
        "x-a": "b",
        "call_id": "c0123456789ab",
        "session_id": "s1",
        "caller": "100",
        "called": "200",
    }
    assert [type(x) for x in step.to_owner] == [m.Answer]


def test_caller_audio_is_numbered_and_timed(edge):
    """Chunk counts from 1, timestamp in milliseconds from the first frame, all as text."""
    out = []
    for frame in (7, 8):
        audio = CallerAudio(frame, frame * 160, 0, 0, bytes([frame]) * 160)
        out += wire(edge.send(audio, 0))
    assert [(o["media"]["chunk"], o["media"]["timestamp"]) for o in out] == [("1", "0"), ("2", "20")]
    assert [o["sequenceNumber"] for o in out] == ["2", "3"]
    assert base64.b64decode(out[1]["media"]["payload"]) == bytes([8]) * 160
    assert {o["media"]["track"] for o in out} == {"inbound"}


def test_a_burst_is_one_utterance_until_its_mark(edge):
    """Audio of any size belongs to one utterance; the mark comes back once that was played."""
    (first,) = edge.receive(media(bytes(16_000)), 0).to_owner
    (second,) = edge.receive(media(bytes(10)), 0).to_owner
    assert first.utterance == second.utterance
    mark = text(event="mark", streamSid=SID, mark={"name": "greeting"})
    assert edge.receive(mark, 0).to_owner == (m.EndUtterance(utterance=first.utterance),)
    assert wire(edge.send(m.Played(utterance=first.utterance, played_ms=500), 0)) == []
    (back,) = wire(edge.send(m.Played(utterance=first.utterance, played_ms=2001, finished=True), 0))
    assert (back["event"], back["mark"]) == ("mark", {"name": "greeting"})
    (third,) = edge.receive(media(bytes(10)), 0).to_owner
    assert third.utterance != first.utterance


def test_a_mark_without_audio_comes_back_at_once_or_after_what_is_queued(edge):
    """With nothing to wait for it is returned; behind an unplayed utterance it waits for that."""

    def mark(name):
        return edge.receive(text(event="mark", mark={"name": name}), 0)

    assert [o["mark"]["name"] for o in wire(mark("a"))] == ["a"]
    (audio,) = edge.receive(media(bytes(10)), 0).to_owner
    mark("b")
    assert wire(mark("c")) == []
    done = edge.send(m.Played(utterance=audio.utterance, played_ms=1, finished=True), 0)
    assert [o["mark"]["name"] for o in wire(done)] == ["b", "c"]


def test_clear_returns_the_marks_of_what_was_thrown_away(edge):
    """Clear becomes a new generation; pending marks come back when the edge has cleared."""
    (old,) = edge.receive(media(bytes(10)), 0).to_owner
    edge.receive(text(event="mark", mark={"name": "a"}), 0)
    assert edge.receive(text(event="clear", streamSid=SID), 0).to_owner == (m.Clear(generation=1),)
    (new,) = edge.receive(media(bytes(10)), 0).to_owner
    edge.receive(text(event="mark", mark={"name": "b"}), 0)
    assert (old.generation, new.generation) == (0, 1)
    back = wire(edge.send(m.Cleared(generation=1), 0))
    assert [o["mark"]["name"] for o in back] == ["a"]


def test_a_long_burst_is_cut_into_messages_of_ten_seconds(edge):
    """No BotAudio is larger than what voicebot.v1 allows."""
    parts = edge.receive(media(bytes(200_000)), 0).to_owner
    assert [len(p.payload) for p in parts] == [80_000, 80_000, 40_000]


def test_closing_is_hanging_up_after_what_is_queued(edge):
    """The bot's clean close is a Hangup with drain; a lost bot is not."""
    assert edge.closed(clean=False).to_owner == ()
    (hangup,) = edge.closed(clean=True).to_owner
    assert hangup.drain


def test_keys_and_the_end_reach_the_bot(edge):
    """Dtmf and stop as the dialect has them; after stop nothing of the bot counts."""
    (key,) = wire(edge.send(m.Dtmf(digit="5"), 0))
    assert key["dtmf"] == {"track": "inbound_track", "digit": "5"}
    (stop,) = wire(edge.send(m.Stop(reason="bye"), 0))
    assert set(stop["stop"]) == {"accountSid", "callSid"}
    assert edge.receive(media(bytes(10)), 0).to_owner == ()
    assert edge.closed(clean=True).to_owner == ()


def test_a_bot_that_comes_back_goes_on_with_the_generation():
    """After a takeover its audio is not older than the last clear, its utterances are new ones."""
    codec = MediaStreamsEdge()
    step = codec.send(
        m.Start(
            call_id="c1",
            session_id="s1",
            answered=True,
            resume=m.Resume(session_id="s1", generation=4, lease=2),
        ),
        0,
    )
    assert step.to_owner == ()
    (audio,) = codec.receive(media(bytes(10)), 0).to_owner
    assert (audio.generation, audio.utterance) == (4, "m2-1")


def test_marks_are_bounded(edge):
    """A bot cannot fill the edge's memory with marks."""
    edge.receive(media(bytes(10)), 0)
    for n in range(1000):
        edge.receive(text(event="mark", mark={"name": str(n)}), 0)
    with pytest.raises(LinkProtocolError):
        edge.receive(text(event="mark", mark={"name": "one more"}), 0)
    with pytest.raises(LinkProtocolError):
        edge.receive(text(event="mark", mark={"name": "x" * 2000}), 0)


def test_nothing_is_said_before_start():
    """Audio for a bot that has not been introduced is an error."""
    with pytest.raises(LinkProtocolError):
        MediaStreamsEdge().send(m.Dtmf(digit="1"), 0)


# ---------------------------------------------------------------- both ends together


def test_our_edge_and_our_worker_understand_each_other():
    """Frames, keys, audio, marks and the end survive edge → wire → worker and back."""
    edge, worker = MediaStreamsEdge(), MediaStreamsWorker()

    def to_worker(message):
        step = edge.send(message, 0)
        return [x for w in step.to_peer for x in worker.receive(w.data, 0).to_owner]

    def to_edge(message):
        return [x for w in worker.send(message, 0).to_peer for x in edge.receive(w.data, 0).to_owner]

    (start,) = to_worker(
        m.Start(call_id="c1", session_id="s1", sip_call_id="a@b", caller="100", headers={"x-a": "b"})
    )
    assert (start.sip_call_id, start.caller, start.headers) == ("a@b", "100", {"x-a": "b"})
    (audio,) = to_worker(CallerAudio(0, 0, 0, 0, bytes(160)))
    assert audio.payload == bytes(160)
    (heard,) = to_edge(BotAudio(0, "u1", b"\x05" * 320))
    assert heard.payload == b"\x05" * 320
    (ended,) = to_edge(m.EndUtterance(utterance="u1"))
    (played,) = to_worker(m.Played(utterance=ended.utterance, played_ms=40, finished=True))
    assert (played.utterance, played.finished) == ("u1", True)
    assert to_worker(m.Dtmf(digit="1")) == [m.Dtmf(digit="1", source="link")]
    assert to_worker(m.Stop(reason="bye")) == [m.Stop(reason="stop")]


def test_the_dialect_is_chosen_by_path_subprotocol_or_first_message():
    """/media-streams wins; voicebot.v1 by subprotocol; else connected decides, anything else ends."""
    assert worker_codec(None, "/media-streams?x=1").dialect == "media-streams"
    assert worker_codec("voicebot.v1", "/").dialect == "voicebot.v1"
    undecided = worker_codec(None, "/")
    assert isinstance(undecided, FirstMessageDecides)
    assert undecided.dialect == ""
    with pytest.raises(LinkProtocolError):
        undecided.send(m.Pause(), 0)
    undecided.receive(text(event="connected"), 0)
    assert undecided.dialect == "media-streams"
    assert undecided.receive(json.dumps(START).encode(), 0).to_owner[0].answered
    assert worker_codec(None, "/").receive(b'{"type":"start"}', 0).close
    assert worker_codec(None, "/").receive(b"\x01\x00", 0).close
