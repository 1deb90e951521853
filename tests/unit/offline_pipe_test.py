"""The bot behind the offline pipe, with fake engines: equal each time, keys, losses, hostile messages."""

import base64
import io
import json
import struct

import pytest

from voicebot.config.settings import AsrSettings, Settings, TtsSettings
from voicebot.offline.engines import Latencies, OfflineBot
from voicebot.offline.pipe import BrokenMessageError, PipeServer, packets_of

HEAD = struct.Struct("!Ic")
SILENCE = b"\xff" * 160


@pytest.fixture(scope="module")
def bot():
    settings = Settings(
        asr=AsrSettings(engine="fake", fake_script=("balance",)), tts=TtsSettings(engine="tone")
    )
    with_fakes = OfflineBot(settings, Latencies())
    yield with_fakes
    with_fakes.close()


def message(kind, content=b""):
    return HEAD.pack(len(content) + 1, kind) + content


def packet(number, payload=SILENCE, payload_type=0):
    return struct.pack("!BBHII", 0x80, payload_type, number, 160 * number, 7) + payload


def tick(*packets):
    return message(
        b"T", b"".join(struct.pack("!IH", 1000 * n, len(p)) + p for n, p in enumerate(packets))
    )


def call(*messages):
    return message(b"S", b'{"called":"bank","sip_call_id":"t"}') + b"".join(messages)


def served(bot, data):
    """What the bot answers: a list of (kind, content), the greeting of the protocol left out."""
    out = io.BytesIO()
    PipeServer(bot, io.BytesIO(data), out).serve()
    answers, data = [], out.getvalue()
    while data:
        length, kind = HEAD.unpack_from(data)
        answers.append((kind, data[HEAD.size : HEAD.size + length - 1]))
        data = data[HEAD.size + length - 1 :]
    assert answers[0][0] == b"R" and json.loads(answers[0][1])["protocol"] == 1
    return answers[1:]


def test_two_calls_with_the_same_packets_are_equal_byte_for_byte(bot):
    data = call(*(tick(packet(n)) for n in range(300) if n % 7), message(b"H"))
    assert served(bot, data) == served(bot, data)


def test_a_call_is_answered_greeted_and_recorded(bot):
    answers = served(bot, call(*(tick(packet(n)) for n in range(200)), message(b"H")))
    kinds = [kind for kind, _ in answers]
    assert kinds == [b"A", *[b"F"] * 200, b"E"]
    assert any(content != SILENCE for kind, content in answers if kind == b"F")
    end = json.loads(answers[-1][1])
    assert end["record"]["transcript"][0]["who"] == "bot"
    assert end["record"]["reason"] == "caller hung up"
    assert end["record"]["line"]["received_packets"] == 200
    assert base64.b64decode(end["heard"]) == SILENCE * 200


def test_losses_are_concealed_in_what_the_bot_hears(bot):
    speech = bytes([0x20 if n % 8 < 4 else 0xA0 for n in range(160)])
    lost = {20, 21, 40}
    ticks = [tick(*([] if n in lost else [packet(n, speech)])) for n in range(60)]
    end = json.loads(served(bot, call(*ticks, message(b"H")))[-1][1])
    assert end["record"]["line"]["lost_packets"] == 3
    assert end["record"]["line"]["concealed_ms"] == 60
    heard = base64.b64decode(end["heard"])
    assert SILENCE not in [heard[at : at + 160] for at in range(160, len(heard), 160)]


def test_a_key_reaches_the_dialogue_once(bot):
    """Three end packets are one press: 0 asks for a person."""
    event = [struct.pack("!BBH", 0, 10 | (0x80 if n >= 3 else 0), 160 * n) for n in range(6)]
    ticks = [tick(packet(n)) for n in range(50)]
    ticks += [
        tick(struct.pack("!BBHII", 0x80, 101, 50 + n, 160 * 50, 7) + e) for n, e in enumerate(event)
    ]
    ticks += [tick(packet(56 + n)) for n in range(100)]
    end = json.loads(served(bot, call(*ticks, message(b"H")))[-1][1])
    pressed = [line for line in end["record"]["transcript"] if line.get("by") == "dtmf"]
    assert len(pressed) == 1


@pytest.mark.parametrize(
    "data",
    [
        message(b"T", b""),
        message(b"H"),
        message(b"Q", b"?"),
        message(b"S", b"{"),
        message(b"S", b'{"unknown":1}'),
        call(message(b"T", b"\0\0")),
        call(message(b"T", struct.pack("!IH", 10, 500))),
        call(message(b"T", struct.pack("!IH", 90_000, 0))),
        struct.pack("!Ic", 0, b"T"),
        struct.pack("!Ic", 1 << 31, b"T"),
    ],
)
def test_what_does_not_fit_is_refused_and_ends_nothing_else(bot, data):
    kinds = [kind for kind, _ in served(bot, data)]
    assert kinds[-1] == b"X"


def test_a_pipe_that_breaks_off_ends_quietly(bot):
    data = call(tick(packet(0)))
    for size in range(0, len(data), 7):
        assert b"X" not in [kind for kind, _ in served(bot, data[:size])]


def test_packets_that_are_no_rtp_are_counted_not_fatal(bot):
    end = json.loads(served(bot, call(tick(b"", b"x" * 40, packet(1)), message(b"H")))[-1][1])
    assert end["record"]["line"]["malformed_packets"] == 2


def test_packets_are_cut_by_their_lengths():
    content = struct.pack("!IH", 5, 2) + b"ab" + struct.pack("!IH", 20_000, 0)
    assert packets_of(content) == [(5, b"ab"), (20_000, b"")]
    with pytest.raises(BrokenMessageError):
        packets_of(content[:-1])
