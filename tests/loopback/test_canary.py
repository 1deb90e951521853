"""A secret keyed in and spoken in a whole call is found in nothing that the bot leaves behind.

Looked through: log lines, session store, call record, everything else in the data directory, what the
language model was asked, and the audio of the recording.
"""

import asyncio
import json
import re
import wave

import numpy as np
import pytest

from sip_test_harness import Caller, CallerOptions, read_wav
from tests.loopback.bot_program import ROOT, running_bot

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio]

KEYED, SPOKEN = "864275319086", "marmalade"
UNSURE = "hm well the thing with the stuff in it"
ACCOUNT = "12345678"
CHOICE = {"message": {"content": '{"intent": "balance", "confidence": 0.95}'}, "finish_reason": "stop"}
FRAME_SAMPLES = 160
AUDIBLE = 200  # of 32767, root mean square of a frame


class Model:
    """A language model that always means the balance, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *exc):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *([0-9]+)", head)[1])
                self.asked.append(head.decode() + (await reader.readexactly(length)).decode())
                answer = json.dumps({"choices": [CHOICE]})
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    + f"Content-Length: {len(answer)}\r\n\r\n{answer}".encode()
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def plan_with_a_model(folder):
    """The bank sample, routed by a model where unsure, with a passcode that no number is like by chance.

    It speaks twice as fast, so that the test takes half the time.
    """
    text = (ROOT / "dialplans/bank.yaml").read_text()
    text = text.replace("length: 4\n", f"length: {len(KEYED)}\n").replace("4321", KEYED)
    assert text.count(KEYED) >= 1
    path = folder / "bank.yaml"
    more = "router:\n  llm: { deadline: 3s }\n\nspeech: { prosody: { rate: 2.0 } }\n\nqueues:"
    path.write_text(re.sub(r"(?m)^queues:", more, text))
    return path


@pytest.mark.timeout(240)
async def test_a_secret_is_in_no_artefact_of_a_call(tmp_path):
    data_dir, plan_dir = tmp_path / "data", tmp_path / "plan"
    plan_dir.mkdir()
    speech = read_wav(ROOT / "tests/data/caller/my_balance.wav")
    script = [UNSURE, f"my code is {SPOKEN}", UNSURE]
    async with (
        Model() as model,
        running_bot(
            data_dir,
            dialplan=plan_with_a_model(plan_dir),
            dialplan_at="2026-11-23T10:00:00+00:00",
            asr__engine="fake",
            asr__fake_script=",".join(script),
            tts__engine="tone",
            llm__engine="openai",
            llm__endpoint=model.url,
            llm__model="scripted",
        ) as bot,
    ):
        async with Caller(bot.uri, CallerOptions(limit_s=90)) as call:
            await call.invite()
            await call.wait_bot_audible(10)
            for turn in (speech, ACCOUNT, speech, KEYED, speech):
                if isinstance(turn, str):
                    await call.press(turn)  # a key cuts the prompt
                else:
                    await call.wait_bot_silent(900)
                    await call.say(turn)
                await call.wait_bot_audible(15, since_ns=call.last_said_ns)
        record = await bot.record_of(call.call_id, limit_s=15)

    texts = [line["text"] for line in record["transcript"] if line["who"] == "caller"]
    assert texts == [UNSURE, ACCOUNT, "[redacted]", "[redacted]", UNSURE], texts
    assert any("forty two pounds" in line["text"] for line in record["transcript"])
    assert len(model.asked) == 2 and all(UNSURE in asked for asked in model.asked)
    for secret in (KEYED, SPOKEN):
        assert not [line for line in bot.log if secret in line]
        assert not [asked for asked in model.asked if secret in asked]
        for path in data_dir.rglob("*"):
            if path.is_file() and path.suffix not in {
                ".wav",
                ".ulaw",
            }:  # sound holds any bytes by chance
                assert secret.encode() not in path.read_bytes(), path
    recording = next(data_dir.rglob("*.wav"))
    assert_muted(recording, speech)


def assert_muted(path, speech):
    """Between the passcode's question and its answer neither side is in the recording."""
    with wave.open(str(path)) as file:
        stereo = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    (pause,) = json.loads(path.with_suffix(".json").read_text())["pauses_ms"]
    inside = slice(pause[0] * 8 + FRAME_SAMPLES, pause[1] * 8 - FRAME_SAMPLES)
    assert pause[1] - pause[0] > len(speech) / 8  # what was said there would have fitted in
    assert not stereo[inside].any()
    outside = np.concatenate((stereo[: inside.start, 0], stereo[inside.stop :, 0]))
    assert audible_frames(outside) == pytest.approx(2 * audible_frames(speech), rel=0.2)


def audible_frames(samples):
    frames = samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return int((np.sqrt(np.mean(frames.astype(float) ** 2, axis=1)) > AUDIBLE).sum())
