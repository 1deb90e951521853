"""The stereo recording: places, pauses, crash, full disk, names."""

import errno
import json
import os
import resource
import stat
import subprocess
import sys
import wave

import numpy as np
import pytest

from voicebot.audio.g711 import encode_ulaw
from voicebot.core.errors import SessionStoreError
from voicebot.edge import recorder as module
from voicebot.edge.recorder import CallRecorder

CALL = "c0123456789ab"
QUIET = b"\xff" * 160


def mark(value):
    """20 ms of a constant that survives mu-law."""
    return encode_ulaw(np.full(160, value, dtype=np.int16))


def read(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    return samples[:, 0], samples[:, 1]


def sidecar(folder):
    return json.loads((folder / f"{CALL}.json").read_text())


async def record(folder, steps):
    recorder = CallRecorder.start(folder, CALL, session_id="s1")
    for step in steps:
        step(recorder)
    summary = await recorder.close()
    return (*read(recorder.path), summary)


async def test_caller_left_bot_right_on_one_time_line(tmp_path):
    """A frame that arrives when 3 frames were sent lies 60 ms after the beginning."""
    steps = [lambda r, n=n: r.bot(mark(1000 * (n + 1))) for n in range(3)]
    steps += [lambda r: r.caller(mark(-5000), 123_456), lambda r: r.bot(mark(4000))]
    left, right, summary = await record(tmp_path, steps)
    assert len(left) == 640
    assert not left[:480].any()
    assert (abs(left[480:] + 5000) < 200).all()
    assert [round(float(right[n * 160]), -3) for n in range(4)] == [1000, 2000, 3000, 4000]
    assert (summary.duration_ms, summary.partial, summary.complete) == (80, False, True)


async def test_a_burst_after_a_stall_lands_where_it_was_spoken(tmp_path):
    """Ten frames that arrive 200 ms late keep the places that their timestamps give."""

    def call(recorder):
        for n in range(10):
            recorder.bot(QUIET)
            recorder.caller(mark(100 * (n + 1)), n * 160)
        for _ in range(10):
            recorder.bot(QUIET)
        for n in range(10, 20):
            recorder.caller(mark(100 * (n + 1)), n * 160)

    left, _, summary = await record(tmp_path, [call])
    assert summary.anchors == 1
    steps = [left[160 + n * 160 + 80] for n in range(20)]
    assert steps == sorted(steps)
    assert steps[0] > 0


async def test_a_jump_of_the_timestamp_is_followed(tmp_path):
    """A caller's clock that jumps by an hour inserts no hour of silence."""

    def call(recorder):
        for n in range(50):
            recorder.bot(QUIET)
            recorder.caller(mark(1000), n * 160 + (3600 * 8000 if n >= 25 else 0))

    left, _, summary = await record(tmp_path, [call])
    assert len(left) == 51 * 160
    assert (summary.anchors, summary.dropped_frames) == (2, 0)


async def test_a_clock_that_is_off_by_more_than_100_ms_is_anchored_again(tmp_path):
    """A jump of 200 ms is taken for a late burst first, and for a new clock after half a second."""

    def call(recorder):
        for n in range(100):
            recorder.bot(QUIET)
            recorder.caller(mark(1000), n * 160 + (1600 if n >= 10 else 0))

    *_, summary = await record(tmp_path, [call])
    assert summary.anchors == 2


async def test_on_hold_the_caller_keeps_the_time(tmp_path):
    """While nothing is sent, what comes in is recorded in its full length; then both go on together."""

    def call(recorder):
        for n in range(300):
            if not 50 <= n < 250:
                recorder.bot(mark(1000))
            recorder.caller(mark(-1000 - 100 * n), n * 160)

    left, right, summary = await record(tmp_path, [call])
    assert (summary.anchors, summary.dropped_frames) == (1, 0)
    assert abs(summary.duration_ms - 6000) <= 220
    levels = left[240::160][:290].astype(int)
    assert (np.diff(levels) <= 0).all()
    assert right[:8000].all()
    assert right[-8000:].all()


async def test_a_pause_silences_both_sides(tmp_path):
    """Between pause and resume nothing is recorded, the time line goes on, the pause is noted."""

    def call(recorder):
        for n in range(30):
            recorder.paused = 10 <= n < 20
            recorder.caller(mark(3000), n * 160)
            recorder.bot(mark(2000))

    left, right, summary = await record(tmp_path, [call])
    assert summary.pauses_ms == ((200, 400),)
    assert not left[1600:3200].any() and not right[1600:3200].any()
    assert left[:1600].all() and right[3200:].all()
    assert len(right) == 4800


async def test_a_long_call_is_written_piece_by_piece(tmp_path):
    """Ten seconds go through the two-second window without loss."""

    def call(recorder):
        for n in range(500):
            recorder.bot(mark(1000 + 20 * n))
            recorder.caller(mark(-1000 - 20 * n), n * 160)

    left, right, summary = await record(tmp_path, [call])
    assert summary.duration_ms == 10_020
    assert (np.diff(right[80::160][:500].astype(int)) >= 0).all()
    assert left[160:].all() and right[: 500 * 160].all()


async def test_what_is_known_of_the_call_lies_beside_it(tmp_path):
    """The JSON file names ids, events and whether all is there; both files are private."""
    recorder = CallRecorder.start(
        tmp_path / "recordings", CALL, session_id="s1", sip_call_id="a@b", started_at="2026"
    )
    recorder.bot(QUIET)
    recorder.note("answered")
    await recorder.close()
    assert await recorder.close() == await recorder.close()
    beside = sidecar(tmp_path / "recordings")
    assert beside["events"] == [{"at_ms": 20, "name": "answered"}]
    assert (beside["sip_call_id"], beside["complete"], beside["partial"]) == ("a@b", True, False)
    for path in (recorder.path, recorder.path.with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "recordings").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["", "../c0123456789ab", "c0123456789ab/x", "C0123456789AB", "c\n123456"]
)
def test_only_our_own_ids_name_files(tmp_path, name):
    """No peer's text becomes a path."""
    with pytest.raises(SessionStoreError):
        CallRecorder.start(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_or_followed(tmp_path):
    """An existing file or a symbolic link of that name is refused."""
    target = tmp_path / "target"
    (tmp_path / f"{CALL}.wav").symlink_to(target)
    with pytest.raises(SessionStoreError):
        CallRecorder.start(tmp_path, CALL)
    assert not target.exists()


async def test_a_full_disk_marks_the_recording_partial(tmp_path, monkeypatch):
    """The call is told nothing; what was written before stays readable."""
    write = os.pwrite

    def full(descriptor, content, offset):
        if offset > 60_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content, offset)

    monkeypatch.setattr(module.os, "pwrite", full)

    def call(recorder):
        for n in range(250):
            recorder.bot(mark(1000))
            recorder.caller(mark(1000), n * 160)

    left, _, summary = await record(tmp_path, [call])
    assert summary.partial
    assert summary.problem == "No space left on device"
    assert summary.duration_ms == len(left) // 8
    assert 0 < summary.duration_ms < 5000
    assert sidecar(tmp_path)["partial"]


async def test_a_disk_that_stands_still_costs_audio_not_memory(tmp_path, monkeypatch):
    """Beyond the queue's limit frames are dropped and counted."""
    monkeypatch.setattr(module, "MAX_QUEUED", 10)

    def call(recorder):
        for _ in range(50):
            recorder.bot(mark(1000))

    *_, summary = await record(tmp_path, [call])
    assert summary.partial
    assert summary.dropped_frames == 40
    assert summary.duration_ms == 1000


_DIES = """
import os, sys, time
from pathlib import Path
from voicebot.edge import recorder
recorder.FLUSH_S = 0.01
r = recorder.CallRecorder.start(Path(sys.argv[1]), "c0123456789ab")
for n in range(200):
    r.bot(b"\\x20" * 160)
while r.path.stat().st_size < 60_000:
    time.sleep(0.005)
os.kill(os.getpid(), 9)
"""


def test_after_a_crash_the_file_can_be_played(tmp_path):
    """Kill -9 in mid-call leaves a valid WAV of what was written and a JSON file that says partial."""
    died = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)], timeout=30, check=False)
    assert died.returncode == -9
    left, right = read(tmp_path / f"{CALL}.wav")
    assert len(left) >= 8000
    assert right.all()
    assert (sidecar(tmp_path)["complete"], sidecar(tmp_path)["partial"]) == (False, True)


_FILLS = """
import asyncio, resource, sys
from pathlib import Path
from voicebot.edge.recorder import CallRecorder
async def main():
    r = CallRecorder.start(Path(sys.argv[1]), "c0123456789ab")
    for n in range(500):
        r.bot(b"\\x20" * 160)
        r.caller(b"\\x20" * 160, n * 160)
    print((await r.close()).problem)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
asyncio.run(main())
"""


def test_a_real_write_error_is_survived(tmp_path):
    """With the kernel refusing to write beyond 100 kB the process lives and the file stays valid."""
    assert resource.RLIMIT_FSIZE  # the limit is set in the child only
    done = subprocess.run(
        [sys.executable, "-c", _FILLS, str(tmp_path)],
        timeout=30,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "File too large"
    left, _ = read(tmp_path / f"{CALL}.wav")
    assert 0 < len(left) <= 25_000
    assert sidecar(tmp_path)["problem"] == "File too large"
