"""Recordings as a call would be heard, and the JSON lines that let another program measure it."""

import base64
import json
import string
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from sip_test_harness import asr_corpus
from tests.loopback.bot_program import ROOT
from training.splits import split_of
from voicebot.asr.fake import FakeFactory
from voicebot.asr.transcribing import answer_requests, transcribe

SECOND = np.random.default_rng(1).normal(0, 800, 8000).astype(np.int16)
PCM = base64.b64encode(SECOND.tobytes()).decode()


def answers(factory, *requests):
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in requests]
    return list(answer_requests(factory, lines))


class Listening(FakeFactory):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__(["one two"] * 20)
        self.asked, self.audio = [], []

    def start(self, grammar, kind=""):
        self.asked.append((grammar, kind))
        recogniser = super().start(grammar, kind)
        accept = recogniser.accept

        def keep(pcm):
            self.audio.append(pcm)
            return accept(pcm)

        recogniser.accept = keep
        return recogniser


def test_the_answer_has_text_words_partials_and_times():
    """One request, one line."""
    (found,) = answers(FakeFactory(["one two"]), {"id": "7", "pcm": PCM, "kind": "digits"})
    assert (found.id, found.text, found.error, found.audio_ms) == ("7", "one two", "", 1000)
    assert [w.word for w in found.words] == ["one", "two"]
    assert [(p.text, p.audio_ms) for p in found.partials] == [("one two", 100)]
    assert found.cpu_ms >= found.final_ms >= 0


def test_the_bots_own_grammar_is_taken_for_a_kind():
    """Strict grammar, the kind's own with further phrases, none for free speech."""
    engine = Listening()
    answers(
        engine,
        {"id": "1", "pcm": PCM, "grammar": ["yes"], "kind": "choice"},
        {"id": "2", "pcm": PCM, "kind": "yes_no", "phrases": ["operator"]},
        {"id": "3", "pcm": PCM},
    )
    assert engine.asked[0] == (["yes"], "choice")
    assert {"operator", "yes", "nope"} <= set(engine.asked[1][0])
    assert engine.asked[2] == (None, "free")


def test_lost_packets_are_concealed_not_looked_at():
    """The third packet holds a shout that nobody received."""
    engine = Listening()
    loud = SECOND.copy()
    loud[320:480] = 30000
    transcribe(engine, loud, lost=[2])
    heard = np.concatenate(engine.audio)
    assert len(heard) == 8000
    assert np.array_equal(heard[:320], loud[:320])
    assert np.abs(heard[320:480]).max() < 10000


@pytest.mark.parametrize(
    "request_",
    [
        b"no json",
        {"id": "1"},
        {"id": "1", "pcm": "A"},
        {"id": "1", "pcm": "AAAA"},
        {"id": "1", "pcm": PCM, "kind": "songs"},
        {"id": "1", "pcm": PCM, "grammar": []},
        {"id": "1", "pcm": PCM, "grammar": "yes"},
        {"id": "1", "pcm": PCM, "colour": "red"},
        {"id": "1", "pcm": base64.b64encode(bytes(2 * 8000 * 121)).decode()},
    ],
)
def test_a_bad_request_is_answered_and_the_next_is_served(request_):
    """Malformed, half samples, unknown kind, empty grammar, unknown field, too long."""
    bad, good = answers(FakeFactory(["yes", "yes"]), request_, {"id": "2", "pcm": PCM})
    assert bad.error
    assert not bad.text
    assert (good.id, good.text) == ("2", "yes")


@pytest.mark.models
@pytest.mark.timeout(180)
def test_the_command_answers_json_lines():
    """`voicebot asr answer`: the engine first, then a line for each request."""
    request = json.dumps({"id": "a", "pcm": PCM, "kind": "digits"})
    done = subprocess.run(
        [sys.executable, "-m", "voicebot.cli", "asr", "answer"],
        input=request.encode() + b"\n\n",
        capture_output=True,
        cwd=ROOT,
        timeout=150,
        check=True,
    )
    engine, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert "8000 Hz" in engine["engine"]
    assert (answer["id"], answer["audio_ms"], answer["error"]) == ("a", 1000, "")


@pytest.mark.models
@pytest.mark.timeout(180)
def test_a_recording_can_be_tried_at_the_terminal(tmp_path):
    """`voicebot asr transcribe`: text, confidence, words; a sentence for a file it cannot take."""
    from voicebot.asr.cli import app

    clip = ROOT / "tests/data/caller/account_number.wav"
    done = CliRunner().invoke(app, ["transcribe", str(clip), "--kind", "digits"])
    assert done.exit_code == 0, done.output
    assert "one two three four five six seven eight" in done.output
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    assert CliRunner().invoke(app, ["transcribe", str(bad)]).exit_code == 1
    assert CliRunner().invoke(app, ["transcribe", str(clip), "--kind", "songs"]).exit_code == 1


def test_harness_and_training_hold_out_the_same_speakers():
    """The oracle states the rule anew; both must agree for ever."""
    names = [
        f"{prefix}{a}{n}"
        for prefix in ("sc-", "cv-", "")
        for a in string.ascii_lowercase
        for n in range(9)
    ]
    for source in ("speech_commands", "barista", "speechocean762", "commonvoice_en", "librispeech_tc5"):
        for name in names:
            assert asr_corpus.split_of(source, name) == split_of(source, name)
    for name in ("theo", "yweweler", "nicolas", "jackson", "george", "lucas"):
        assert asr_corpus.split_of("fsdd", name) == split_of("fsdd", f"fsdd-{name}")
