"""Parts without sockets: codecs, messages, statistics, onset rules, scripts."""

import json
import random
import warnings

import numpy as np
import pytest

from sip_test_harness import ScriptError, UsageError, g711, sdp, write_wav
from sip_test_harness.call_record import find_record
from sip_test_harness.errors import SyntaxRefusedError
from sip_test_harness.measures import barge_in_stop, response_onset, speech_segments
from sip_test_harness.outgoing_stream import OutgoingStream, Utterance
from sip_test_harness.reception import Reception
from sip_test_harness.rtp_packet import RtpPacket, build_sender_report, parse_report_blocks, parse_rtp
from sip_test_harness.rtp_statistics import ReceivedPacket, Spread, extend, measure_stream
from sip_test_harness.script_reader import read_script, turns_of_options
from sip_test_harness.sip_digest import Credentials, answer_challenge
from sip_test_harness.sip_message import (
    SipRequest,
    SipResponse,
    parameter,
    parse,
    parse_uri,
    split_commas,
)
from sip_test_harness.telephone_event import EventReceiver, KeyShape, digit_of_info, event_payloads

MS = 1_000_000


@pytest.mark.parametrize("payload_type", [g711.PCMU, g711.PCMA])
def test_g711_tables_agree_with_audioop(payload_type):
    """Decoding equals audioop's; encoding a decoded value gives a code of that value back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    codes = bytes(range(256))
    reference = audioop.ulaw2lin(codes, 2) if payload_type == 0 else audioop.alaw2lin(codes, 2)
    levels = g711.decode(codes, payload_type)
    assert np.array_equal(levels, np.frombuffer(reference, "<i2"))
    assert np.array_equal(g711.decode(g711.encode(levels, payload_type), payload_type), levels)
    assert (
        g711.encode(np.zeros(3, np.int16), payload_type) == bytes([g711.SILENCE_BYTE[payload_type]]) * 3
    )


def test_level_of_full_scale_square_is_zero_db():
    """A full-scale square wave is about 0 dBFS and silence is at the floor."""
    square = np.tile([32000, -32000], 80).astype(np.int16)
    assert g711.level_dbfs(g711.encode(square, 0), 0) == pytest.approx(-0.2, abs=0.3)
    assert g711.level_dbfs(b"\xff" * 160, 0) == g711.FLOOR_DBFS


def test_sip_parse_folds_compact_and_bytes_survive():
    """Compact names, continuation lines and invalid UTF-8 are read; the body is cut to its length."""
    message = parse(
        b'INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx\r\nf: "\xff" <sip:c@d>\r\n ;tag=1\r\nl: 2\r\n\r\nabcd'
    )
    assert isinstance(message, SipRequest)
    assert (message.branch, message.from_tag, message.body) == ("z9hG4bKx", "1", b"ab")
    assert b"\xff" in message.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\r\n\r\n",
        b"SIP/2.0 20 OK\r\n\r\n",
        b"A b SIP/2.0\r\n: x\r\n\r\n",
        b"A b SIP/2.0\r\nContent-Length: 9\r\n\r\n",
        b"A b SIP/2.0\r\nx: 1",
    ],
)
def test_malformed_sip_is_refused(data):
    """What is not SIP raises SyntaxRefusedError, never anything else."""
    with pytest.raises(SyntaxRefusedError):
        parse(data)


def test_sip_parser_survives_mutations():
    """Ten thousand seeded mutations of a message raise SyntaxRefusedError or parse."""
    chance = random.Random(4)
    base = bytearray(
        SipResponse(headers=[("Via", "a;branch=b"), ("CSeq", "1 INVITE")], body=b"v=0\r\n").encode()
    )
    for _ in range(3000):
        data = bytearray(base)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            message = parse(bytes(data))
            assert message.cseq is not None and message.branch is not None
            sdp.parse(message.body)
        except SyntaxRefusedError:
            pass


def test_commas_in_quotes_and_brackets_do_not_split():
    """A display name and a URI may hold commas."""
    assert split_commas('"a,b" <sip:x,y@z>, <sip:w@v>') == ['"a,b" <sip:x,y@z>', "<sip:w@v>"]
    assert parameter("<sip:x;tag=no@z>;tag=yes", "tag") == "yes"
    with pytest.raises(SyntaxRefusedError):
        parse_uri("sips:a@b")


def test_digest_matches_the_example_of_rfc_7616():
    """SHA-256 and MD5 answers of RFC 7616 section 3.9.1."""
    person = Credentials("Mufasa", "Circle of Life")
    for algorithm, expected in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        challenge = (
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
        )
        answer = answer_challenge(
            challenge, person, "GET", "/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        )
        assert f'response="{expected}"' in answer


def test_sdp_round_trip_and_hold():
    """What is built is read back; sendonly and c=0.0.0.0 are hold."""
    built = sdp.AudioDescription("127.0.0.1", 4000, (0, 8), 96, "sendonly", 30)
    read = sdp.parse(built.build(1, 2))
    assert (read.port, read.payload_types, read.telephone_event, read.ptime_ms) == (4000, (0, 8), 96, 30)
    assert read.on_hold
    with pytest.raises(SyntaxRefusedError):
        sdp.parse(b"v=0\r\nm=video 1 RTP/AVP 0\r\nc=IN IP4 1.2.3.4\r\n")


def stream(arrivals_ms, numbers=None, samples=160):
    numbers = numbers or range(len(arrivals_ms))
    return [
        ReceivedPacket(
            int(at * MS),
            RtpPacket(0, number & 0xFFFF, number * samples & 0xFFFFFFFF, 1, b"\0" * samples),
            -10.0,
        )
        for at, number in zip(arrivals_ms, numbers, strict=True)
    ]


def test_jitter_follows_rfc_3550():
    """A single 16 ms deviation there and back gives 1 and then 1 + (16 - 1) / 16 ms."""
    found = measure_stream(stream([0, 20, 56, 60]))
    assert found.jitter_max_ms == pytest.approx(1 + 15 / 16, abs=0.001)


def test_loss_duplicates_reordering_and_bursts():
    """Counters over a stream with two bursts of loss, a duplicate and a swap, across the wrap."""
    numbers = [65534, 65535, 65536, 65539, 65538, 65538, 65542, 65543]
    found = measure_stream(stream([20 * i for i in range(8)], numbers))
    assert (found.lost, found.duplicates, found.reordered) == (3, 1, 1)
    assert found.loss_bursts == (1, 2)
    assert not found.contiguous
    assert extend([65535, 0, 65534], 16) == [65535, 65536, 65534]


def test_timestamp_break_is_counted():
    """A timestamp that advances by 161 instead of 160 is one break."""
    items = stream([0, 20, 40])
    odd = ReceivedPacket(60 * MS, RtpPacket(0, 3, 481, 1, b"\0" * 160), -10.0)
    assert measure_stream([*items, odd]).timestamp_breaks == 1


def test_rtp_parse_handles_extension_csrc_and_padding():
    """The payload is found behind CSRC list, extension and before padding; broken ones are refused."""
    packet = RtpPacket(0, 1, 2, 3, b"ab", marker=True)
    plain = packet.encode()
    assert parse_rtp(plain) == packet
    dressed = (
        bytes([0x80 | 0x30 | 1])
        + plain[1:12]
        + b"\0" * 4
        + b"\xbe\xde\0\1"
        + b"\0" * 4
        + b"ab"
        + b"\0\2"
    )
    assert parse_rtp(dressed).payload == b"ab"
    for broken in (
        b"",
        plain[:11],
        b"\x00" + plain[1:],
        b"\x8f" + plain[1:],
        b"\x90" + plain[1:12],
        b"\xa0" + plain[1:12] + b"\0",
    ):
        with pytest.raises(SyntaxRefusedError):
            parse_rtp(broken)


def test_sender_report_is_well_formed_and_blocks_are_read():
    """The report parses without blocks, and a receiver report's block gives loss and jitter."""
    report = build_sender_report(1, wall_ns=0, timestamp=2, packets=3, octets=4, cname="x")
    assert len(report) % 4 == 0 and parse_report_blocks(report) == []
    block = (
        (7).to_bytes(4, "big")
        + bytes([64])
        + (5).to_bytes(3, "big")
        + bytes(4)
        + (80).to_bytes(4, "big")
        + bytes(8)
    )
    (read,) = parse_report_blocks(b"\x81\xc9\0\x07" + bytes(4) + block)
    assert (read.ssrc, read.fraction_lost, read.cumulative_lost, read.jitter_samples) == (7, 0.25, 5, 80)


def test_what_came_is_reported():
    """Loss since the last report and in all, over the wrap of the sequence; jitter of a steady stream is 0."""
    reception = Reception()
    assert reception.block() == b""
    for number in range(100):
        if number not in (50, 51, 52):
            packet = RtpPacket(0, (0xFFF0 + number) & 0xFFFF, number * 160, 9, b"")
            reception.receive(packet, number * 20_000_000)
        if number == 49:
            (first,) = parse_report_blocks(report_with(reception.block()))
    (second,) = parse_report_blocks(report_with(reception.block()))
    assert (first.ssrc, first.fraction_lost, first.cumulative_lost, first.jitter_samples) == (9, 0, 0, 0)
    assert (second.fraction_lost, second.cumulative_lost) == (15 / 256, 3)
    reception.receive(RtpPacket(0, 5, 0, 10, b""), 0)
    (other,) = parse_report_blocks(report_with(reception.block()))
    assert (other.ssrc, other.cumulative_lost) == (10, 0)


def report_with(block):
    report = build_sender_report(1, wall_ns=0, timestamp=2, packets=3, octets=4, cname="x", block=block)
    assert len(report) % 4 == 0
    return report


def test_a_press_is_counted_once_whatever_its_end_packets():
    """Three, one or no end packets make one press; the same key again makes two."""
    for ends in (3, 1, 0):
        receiver = EventReceiver()
        for timestamp in (100, 900):
            for event in event_payloads("5", KeyShape(end_packets=ends), 20):
                receiver.receive(RtpPacket(101, 0, timestamp, 1, event.payload), 0)
        assert [press.digit for press in receiver.digits] == ["5", "5"]
        assert receiver.digits[0].ended == (ends > 0)
    assert digit_of_info("application/dtmf-relay", b"Signal= 7\r\nDuration=100") == "7"
    assert digit_of_info("text/plain", b"7") is None


def test_outgoing_stream_is_contiguous_through_words_keys_and_silence():
    """Sequence numbers count every packet; timestamps advance with time, events share theirs."""
    outgoing = OutgoingStream(0, 101, 20, random.Random(1))
    said = Utterance("x")
    outgoing.play(np.full(400, 8000, np.int16), said)
    outgoing.press("1", KeyShape(duration_ms=40, end_packets=2), said)
    packets = [outgoing.next_packet() for _ in range(9)]
    numbers = [item.packet.sequence_number for item in packets]
    assert [(number - numbers[0]) & 0xFFFF for number in numbers] == list(range(9))
    events = [item.packet for item in packets if item.packet.payload_type == 101]
    assert len(events) == 4 and len({event.timestamp for event in events}) == 1
    assert [event.marker for event in events] == [True, False, False, False]
    first = packets[0].packet.timestamp
    assert [(item.packet.timestamp - first) & 0xFFFFFFFF for item in packets[-2:]] == [7 * 160, 8 * 160]


def test_onset_waits_for_the_pause_when_the_bot_was_speaking():
    """The rest of an old prompt is no answer: the onset is that of the words after a pause."""
    prompt = [at * MS for at in range(0, 1001, 20)]
    answer = [at * MS for at in range(1600, 2000, 20)]
    assert response_onset(prompt + answer, 900 * MS) == (700.0, True)
    assert response_onset(answer, 900 * MS) == (700.0, False)
    assert response_onset(prompt, 1500 * MS) == (None, False)
    assert response_onset(answer, 900 * MS, until_ns=1500 * MS) == (None, False)


def test_an_answer_before_the_callers_end_is_a_negative_onset():
    """The bot was silent when the caller began and speaks at the end: it answered early."""
    answer = [at * MS for at in range(1600, 2600, 20)]
    assert response_onset(answer, 2000 * MS, speech_start_ns=1000 * MS) == (-400.0, True)
    # A bot that was speaking when the caller began has not answered, it has not yet stopped.
    assert response_onset(answer, 2000 * MS, speech_start_ns=1700 * MS) == (None, True)


def test_barge_in_stop_ends_at_the_first_pause():
    """First caller packet to last audible packet before a pause; None when the bot was silent."""
    prompt = [at * MS for at in range(0, 1001, 20)]
    later = [at * MS for at in range(2000, 2500, 20)]
    assert barge_in_stop(prompt + later, 800 * MS) == 200.0
    assert barge_in_stop(prompt + later, 1700 * MS) is None
    assert speech_segments(prompt + later, 300) == [(0, 1000 * MS), (2000 * MS, 2480 * MS)]


def test_spread_of_nothing_is_zero():
    """Percentiles of no values are zeros, not an error."""
    assert Spread.of([]) == Spread()
    assert Spread.of([1.0, 3.0]).p50_ms == 2.0


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("turns:\n  - say: missing.wav\n", 2, "turns[0].say"),
        ("turns:\n  - dtmf: 1234\n", 2, "turns[0].dtmf"),
        ("turns:\n  - dtmf: '12x'\n", 2, "turns[0].dtmf"),
        ("turns: []\nspeed: 3\n", 2, "speed"),
        ("turns:\n  - hang_up: true\n    wait_ms: 3\n", 2, "turns[0]"),
        ("turns:\n  - hang_up: true\n  - wait_ms: -3\n", 3, "turns[1].wait_ms"),
        ("turns:\n  - {}\n", 2, "turns[0]"),
        ("target: http://x\nturns: []\n", 1, "target"),
        ("turns: []\nturns: []\n", 2, ""),
        ("turns: [\n", 2, ""),
        ("headers: {'a b': c}\nturns: []\n", 1, "headers.a b"),
        ("- 1\n", 1, ""),
    ],
)
def test_a_bad_script_names_line_and_key(tmp_path, text, line, key):
    """Each kind of mistake is a ScriptError with its line and key."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ScriptError) as caught:
        read_script(path)
    assert caught.value.line == line
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{path}:{line}:")


def test_a_good_script_resolves_its_wavs(tmp_path):
    """WAV names are looked up beside the script; headers and limits are read."""
    write_wav(tmp_path / "a.wav", np.ones(80, np.int16))
    (tmp_path / "s.yaml").write_text(
        "target: sip:a@127.0.0.1\nheaders: {X-A: b}\nlimit_s: 9\nturns:\n  - say: a.wav\n    barge_in_ms: 5\n  - expect_hang_up_s: 2\n"
    )
    script = read_script(tmp_path / "s.yaml")
    assert script.turns[0].say == str(tmp_path / "a.wav") and script.turns[0].barge_in_ms == 5
    assert script.headers == (("X-A", "b"),) and script.limit_s == 9


@pytest.mark.parametrize(
    "option", ["say=none.wav", "dance", "wait_ms=soon", "dtmf=1,hang_up", "pause_ms=3"]
)
def test_a_bad_turn_option_is_a_usage_error(option):
    """Wrong --turn options say which option is wrong."""
    with pytest.raises(UsageError, match="--turn"):
        turns_of_options([option])


def test_the_bots_record_is_found_by_call_id(tmp_path):
    """Of several lines the one with the Call-ID is read; a half-written line is passed over."""
    entry = {"sip_call_id": "x@y", "transcript": [{"who": "bot", "text": "hello"}], "recording": "r.wav"}
    (tmp_path / "calls.jsonl").write_text(
        '{"sip_call_id": "z"}\n' + json.dumps(entry) + '\n{"sip_call_id": "x@y", "tr'
    )
    record = find_record(tmp_path, "x@y", wait_s=0)
    assert record.transcript == (("bot", "hello"),) and record.recording == "r.wav"
    assert find_record(tmp_path, "q", wait_s=0) is None
