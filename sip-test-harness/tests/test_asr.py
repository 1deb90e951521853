"""Measuring a recogniser: lines, scores, and a whole run against a program that is made up here."""

import io
import json
import sys
import tarfile
import textwrap

import numpy as np
import pytest
import soundfile

from sip_test_harness.asr_condition import CONDITIONS, Line, chosen_conditions, speech_end_ms
from sip_test_harness.asr_corpus import Clip, Corpus, joined, normalised, split_of
from sip_test_harness.asr_recogniser import Heard, RecogniserError, RecogniserProgram
from sip_test_harness.asr_report import as_json, markdown, table, write
from sip_test_harness.asr_run import digits_said, meaning, read_sets, run
from sip_test_harness.asr_score import (
    Score,
    calibration_error,
    edit_distance,
    false_accepts,
    reliability,
)
from sip_test_harness.errors import UsageError

# Hears the pitch: n hundred hertz is the digit n; "unsure" when packets are lost.
PROGRAM = textwrap.dedent(
    """
    import base64, json, sys
    import numpy as np
    words = "zero one two three four five six seven eight nine".split()
    print(json.dumps({"engine": "pitch"}), flush=True)
    for line in sys.stdin:
        r = json.loads(line)
        x = np.frombuffer(base64.b64decode(r["pcm"]), "<i2").astype(float)
        x = x[1600:-4800]
        f = np.argmax(np.abs(np.fft.rfft(x))) * 8000 / len(x)
        n = round(f / 300)
        text = words[n] if 1 <= n <= 9 else ""
        print(json.dumps({"id": r["id"], "text": text, "confidence": 0.5 if r["lost"] else 0.9,
            "partials": [{"text": text, "audio_ms": 400}], "audio_ms": len(x) / 8 + 800,
            "cpu_ms": 20, "final_ms": 2, "error": ""}), flush=True)
    """
)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "pitch.py"
    path.write_text(PROGRAM)
    return f"{sys.executable} {path}"


def tone(hz, seconds=0.4):
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(8000 * seconds)) / 8000)).astype(np.int16)


def put(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def flac(samples):
    out = io.BytesIO()
    soundfile.write(out, samples, 8000, format="FLAC")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "fsdd.tar", "w") as tar:
        for digit in range(1, 10):
            for speaker in ("theo", "jackson"):
                put(tar, f"fsdd/{digit}_{speaker}_0.flac", flac(tone(300 * digit)))
    return data


def test_edit_distance_counts_words():
    """Substitutions, deletions, insertions."""
    assert edit_distance(["a", "b", "c"], ["a", "b", "c"]) == 0
    assert edit_distance(["a", "b", "c"], ["a", "x", "c", "d"]) == 2
    assert edit_distance(["a", "b"], []) == 2


def test_digits_are_compared_as_people_say_them():
    """Repeats and "oh" are digits, fillers are nothing."""
    assert digits_said("uh oh double four please") == ["zero", "four", "four"]
    assert meaning("yeah that's right") == "yes"
    assert meaning("yes no") == ""


def test_a_transcript_is_compared_without_case_and_punctuation():
    assert normalised("Don\u2019t go, West-End!") == "don't go west end"


def test_false_accepts_at_the_threshold_that_keeps_the_good_ones():
    """The threshold lets 95 % pass; nothing understood never counts as accepted."""
    found = false_accepts([0.5 + 0.005 * i for i in range(100)], [0.0, 0.1, 0.6, 0.99])
    assert found.threshold == pytest.approx(0.525, abs=0.01)
    assert found.kept >= 95
    assert found.accepted == 50
    assert false_accepts([0.0, 0.0], [0.0]).accepted == 0


def test_reliability_of_a_liar():
    """Always 0.95 sure and half right: 45 % off."""
    bins = reliability([(0.95, True), (0.95, False)] * 10)
    assert [(b.confidence, b.right, b.answers) for b in bins] == [(pytest.approx(0.95), 0.5, 20)]
    assert calibration_error(bins) == pytest.approx(0.45)


@pytest.mark.parametrize("name", ["loss 10 %", "bursts 10 %"])
def test_a_line_loses_what_it_says_and_hides_it(name):
    """A tenth of the packets of a minute, zeroed in what arrives; bursts are longer."""
    line = Line(CONDITIONS[name], seed=3)
    samples, lost = line.send(tone(500, 59.2))
    packets = len(samples) // 160
    assert len(lost) / packets == pytest.approx(0.1, abs=0.01)
    assert all(not samples[n * 160 : n * 160 + 160].any() for n in lost)
    runs = np.split(lost, np.flatnonzero(np.diff(lost) != 1) + 1)
    mean_run = len(lost) / len(runs)
    assert mean_run > 2 if "bursts" in name else mean_run < 1.5


@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_noise_has_the_stated_level(snr_db):
    """Within 1 dB of the ratio, over the speech itself."""
    voice = tone(700, 2)
    noisy, _ = (
        Line(CONDITIONS[f"noise {snr_db} dB"], [tone(400, 1)], seed=5)._noise(
            len(voice), float(np.sqrt((voice.astype(float) ** 2).mean())), snr_db
        ),
        None,
    )
    ratio_db = 10 * np.log10((voice.astype(float) ** 2).mean() / (noisy**2).mean())
    assert ratio_db == pytest.approx(snr_db, abs=1)


def test_the_telephone_cuts_what_is_below_300_hz():
    """A low tone is gone, a middle one stays."""
    line = Line(CONDITIONS["phone"])
    low, middle = (line.send(tone(hz))[0].astype(float) for hz in (60, 1000))
    assert (middle**2).mean() > 100 * (low**2).mean()
    assert len(low) % 160 == 0


def test_the_end_of_speech_counts_the_silence_in_front():
    sound = np.concatenate([tone(500, 0.4), np.zeros(1600, np.int16)])
    assert speech_end_ms(sound) == pytest.approx(600)


def test_unknown_conditions_and_sets_are_usage_errors(folder):
    with pytest.raises(UsageError, match="known: clean, phone"):
        chosen_conditions("fax")
    with pytest.raises(UsageError, match="known: digits"):
        read_sets(Corpus(folder), ["songs"], 10)
    with pytest.raises(UsageError, match="no held-out recordings"):
        read_sets(Corpus(folder), ["orders"], 10)


def test_only_held_out_speakers_are_read(folder):
    """Theo is a test speaker, jackson trains."""
    clips = Corpus(folder).digits()
    assert {clip.speaker for clip in clips} == {"theo"}
    assert len(clips) == 9
    assert split_of("fsdd", "nicolas") == "dev"


def test_strings_are_of_one_speaker():
    clips = [Clip(tone(300 * n), str(n), s, s) for s in ("a", "b") for n in range(1, 6)]
    strings = joined(clips, 3, 4, seed=1)
    assert [len(s.text.split()) for s in strings] == [3, 3, 3, 3]
    assert [s.speaker for s in strings] == ["a", "b", "a", "b"]
    assert joined([], 3, 4, seed=1) == []


def test_a_whole_run_is_reported(program, folder, tmp_path):
    """A program that hears pitch: right on clean lines, in all three reports."""
    tests = read_sets(Corpus(folder), ["digits"], 9)
    done = []
    with RecogniserProgram(program, answer_limit_s=60) as recogniser:
        lines = chosen_conditions("clean,loss 10 %,noise 20 dB")
        measured = run(recogniser, tests, lines, lambda *what: done.append(what))
    assert len(done) == 3
    score = measured.score("digits", "clean")
    assert (score.clips, score.accuracy, score.word_error) == (9, 100.0, 0.0)
    assert score.real_time_factor == pytest.approx(20 / 1200, rel=0.01)
    assert score.groups == {"theo": [True] * 9}
    report = as_json(measured, {"split": "test"})
    assert report["engine"] == "pitch"
    assert report["tests"]["digits"]["clean"]["groups"]["theo"]["right_percent"] == 100.0
    assert "| digits, right % | 9 | 100.0 |" in markdown(measured)
    assert table(measured).row_count == 2
    paths = write(tmp_path / "out", measured, {})
    assert json.loads(paths[0].read_text())["tests"]["digits"]["clean"]["clips"] == 9
    for path in paths[2:]:
        assert path.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("print('hello')", "no JSON"),
        ("pass", "ended"),
        ("import time; time.sleep(60)", "in time"),
        (
            'print(\'{"engine": "x"}\', flush=True); input(); print(\'{"id": "1", "error": "no"}\')',
            "refused",
        ),
    ],
)
def test_a_program_that_misbehaves_ends_the_run_with_a_sentence(tmp_path, code, match):
    """It writes no JSON, ends, hangs, refuses."""
    path = tmp_path / "bad.py"
    path.write_text(code)

    def use():
        limit_s = 1.0 if "sleep" in code else 60
        with RecogniserProgram(f"{sys.executable} {path}", answer_limit_s=limit_s) as program:
            program.hear(tone(500))

    with pytest.raises(RecogniserError, match=match):
        use()


def test_a_program_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="cannot start"), RecogniserProgram("/no/such/recogniser"):
        pass


def test_the_partial_counts_only_when_it_was_right_already():
    score = Score()
    heard = Heard("one", 1.0, (("one", 500.0),), 1000, 10, 1)
    score.add(heard, right=True, speech_end_ms=450.0)
    score.add(Heard("one", 1.0, (("two", 500.0),), 1000, 10, 1), right=True, speech_end_ms=450.0)
    assert score.partial_late_ms == [50.0]
