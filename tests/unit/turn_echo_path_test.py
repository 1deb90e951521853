import numpy as np
import pytest

from sip_test_harness.echo_simulator import EchoLine, EchoSimulator
from tests.bench.concealment import load_clips
from voicebot.config.echo_settings import EchoDelaySettings, EchoSettings
from voicebot.core.errors import EngineError
from voicebot.turn import echo_canceller
from voicebot.turn.echo_canceller import Aec3, NoCanceller
from voicebot.turn.echo_delay import EchoDelayTracker
from voicebot.turn.echo_path import EchoPath, EchoState
from voicebot.turn.echo_trigger import EchoTrigger
from voicebot.turn.voice_activity import VadWindow

TICK = 160
SILENCE = np.zeros(TICK, np.int16)


@pytest.fixture(scope="module")
def clips():
    return load_clips()


def prompt(clips, *indices: int) -> np.ndarray:
    speech = np.concatenate([clips[i] for i in indices])
    return speech[: speech.size // TICK * TICK]


def run(
    line: EchoLine, sent: np.ndarray, caller: np.ndarray | None = None, path: EchoPath | None = None
):
    """One call that starts with 400 ms of silence; returns the path and its results, tick by tick."""
    path = path or EchoPath(make_canceller=NoCanceller)
    line_end = EchoSimulator(line)
    caller = np.zeros_like(sent) if caller is None else caller
    results = [path.process(line_end.tick(SILENCE), SILENCE, False) for _ in range(20)]
    for start in range(0, sent.size, TICK):
        block = slice(start, start + TICK)
        results.append(path.process(line_end.tick(sent[block], caller[block]), sent[block], True))
    return path, results


@pytest.mark.parametrize("kind", ["hybrid", "speakerphone"])
@pytest.mark.parametrize("delay_ms", [10, 150, 600, 900])
def test_delay_is_found(clips, kind, delay_ms):
    """The bulk delay is found to within 25 ms for any path, and the line is then known to have echo."""
    _, results = run(EchoLine(kind, 12.0, delay_ms, seed=delay_ms), prompt(clips, 4, 8))
    assert results[-1].state is EchoState.ECHO
    assert results[-1].delay_ms == pytest.approx(delay_ms + 6, abs=25)


def test_lock_is_fast(clips):
    """An echo of 150 ms is known less than a second after the first word."""
    _, results = run(EchoLine("hybrid", 12.0, 150, seed=3), prompt(clips, 5))
    first = next(k for k, result in enumerate(results) if result.state is EchoState.ECHO)
    assert (first - 20) * 20 < 1000


def test_noise_alone_never_locks(clips):
    """Loud line noise without echo is never taken for echo."""
    _, results = run(EchoLine("none", noise_dbov=-50.0, seed=1), prompt(clips, 4, 8, 1))
    assert all(result.state is not EchoState.ECHO for result in results)


def test_quiet_line_is_no_echo_and_passes_unchanged(clips):
    """Where the line stays quiet under our speech it has no echo, and from then on nothing is touched."""
    _, results = run(EchoLine("none", noise_dbov=-60.0, seed=1), prompt(clips, 4, 8, 1))
    assert results[-1].state is EchoState.NO_ECHO
    assert not results[-1].echo_expected
    assert results[-1].unexplained == 1.0


def test_caller_on_a_line_without_echo_is_heard_before_chance_makes_it_one(clips):
    """Two voices can be alike by chance, but not before the trigger fired, and the lock does not outlive that."""
    sent = prompt(clips, 4, 8)
    caller = np.zeros_like(sent)
    caller[8000:24000] = prompt(clips, 10, 3)[1600:17600]
    line, path = (
        EchoSimulator(EchoLine("none", noise_dbov=-60.0, seed=1)),
        EchoPath(make_canceller=NoCanceller),
    )
    trigger, states, fired = EchoTrigger(), [], []
    for start in range(0, sent.size, TICK):
        block = slice(start, start + TICK)
        answer = path.process(line.tick(sent[block], caller[block]), sent[block], True)
        states.append(answer.state)
        fired.append(trigger.feed(answer, voice(0.9 if 8000 <= start < 24000 else 0.1)))
    locked = states.index(EchoState.ECHO) if EchoState.ECHO in states else len(states)
    assert fired.index(True) < locked
    assert fired.index(True) * 20 - 1000 <= 400
    assert states[-1] is not EchoState.ECHO


def test_echo_is_explained_and_the_caller_is_not(clips):
    """After the lock the echo leaves next to nothing unexplained; a caller as loud as it does."""
    sent = prompt(clips, 4, 8)
    caller = np.zeros_like(sent)
    onset = 32000
    caller[onset : onset + clips[1].size - 160] = (clips[1] * 10 ** (-6 / 20)).astype(np.int16)[:-160][
        : sent.size - onset
    ]
    line = EchoLine("hybrid", 6.0, 200, seed=5)
    _, quiet = run(line, sent)
    _, double = run(line, sent, caller)
    start = 20 + onset // TICK
    assert np.mean([result.unexplained > 0.2 for result in quiet[start - 80 :]]) < 0.02
    assert np.mean([result.unexplained > 0.2 for result in double[start : start + 150]]) > 0.3


def test_bypass_when_silent_for_longer_than_the_echo(clips):
    """Once the echo must be over, the microphone comes through untouched and no echo is expected."""
    path, _ = run(EchoLine("hybrid", 12.0, 150, seed=3), prompt(clips, 5))
    noise = np.random.default_rng(1).integers(-500, 500, TICK).astype(np.int16)
    results = [path.process(noise, SILENCE, False) for _ in range(40)]
    assert results[5].echo_expected
    assert not results[-1].echo_expected
    assert results[-1].residual is noise


def test_canceller_is_made_only_when_needed():
    """A call that never speaks makes no canceller."""
    made = []
    path = EchoPath(make_canceller=lambda: made.append(1) or NoCanceller())
    for _ in range(100):
        path.process(SILENCE, SILENCE, False)
    assert made == []


def test_caller_on_an_unknown_line_is_not_eaten(clips):
    """Before echo is known the recogniser gets what was heard, whatever the canceller makes of it."""

    class Mute:
        def process(self, microphone, reference):
            return np.zeros_like(microphone)

    path = EchoPath(make_canceller=Mute)
    sent = prompt(clips, 4)
    line = EchoSimulator(EchoLine("hybrid", 12.0, 150, seed=3))
    for start in range(0, sent.size, TICK):
        heard = line.tick(sent[start : start + TICK])
        answer = path.process(heard, sent[start : start + TICK], True)
        assert np.array_equal(answer.residual, heard) == (answer.state is EchoState.UNKNOWN)
    assert answer.state is EchoState.ECHO


def test_reference_is_delayed_for_long_echoes(clips):
    """Beyond 350 ms the canceller gets the reference late, so that 60 ms of echo delay are left for it."""
    pairs = []

    class Spy:
        def process(self, microphone, reference):
            pairs.append((microphone, reference))
            return microphone

    sent = prompt(clips, 4, 8)
    line = EchoLine("hybrid", 12.0, 700, seed=2, noise_dbov=-80)
    run(line, sent, path=EchoPath(make_canceller=Spy))
    tracker = EchoDelayTracker()
    for microphone, reference in pairs[-150:]:
        tracker.feed(microphone, reference)
    assert tracker.delay_ms == pytest.approx(66, abs=25)


def test_own_jitter_buffer_moves_shift_the_delay(clips):
    """A move of our own jitter buffer is followed at once, without a new search."""
    path, _ = run(EchoLine("hybrid", 12.0, 150, seed=3), prompt(clips, 5))
    before = path.process(SILENCE, SILENCE, True).delay_ms
    path.shift(40)
    assert path.process(SILENCE, SILENCE, True).delay_ms == before + 40
    path.shift(-40)
    assert path.process(SILENCE, SILENCE, True).delay_ms == before


def test_move_of_the_far_end_is_followed(clips):
    """An unknown step of the delay is found again."""
    line = EchoLine("hybrid", 12.0, 150, delay_steps=((3000, 60),), seed=3)
    _, results = run(line, prompt(clips, 4, 8))
    assert results[140].delay_ms == pytest.approx(156, abs=25)
    assert results[-1].delay_ms == pytest.approx(216, abs=25)


def test_echo_that_stops_is_forgotten(clips):
    """When the carrier's canceller takes over, the line becomes one without echo."""
    path, _ = run(EchoLine("hybrid", 12.0, 150, seed=3), prompt(clips, 5))
    assert path.state is EchoState.ECHO
    assert path.return_loss_db is not None
    _, results = run(EchoLine("none", seed=4, noise_dbov=-70), prompt(clips, 4, 8), path=path)
    assert results[-1].state is EchoState.NO_ECHO
    assert path.return_loss_db is None


def test_aec3_takes_the_echo_out(clips):
    """AEC3 behind the bulk delay lowers the echo by more than 15 dB, also at 700 ms where alone it cannot."""
    sent = prompt(clips, 4, 8)
    line = EchoLine("hybrid", 12.0, 700, seed=2, noise_dbov=-75)
    _, results = run(line, sent, path=EchoPath(make_canceller=Aec3))
    _, heard = run(line, sent)
    late = slice(-150, None)
    power = [
        np.mean(np.concatenate([r.residual for r in rows[late]]).astype(float) ** 2)
        for rows in (results, heard)
    ]
    assert 10 * np.log10(power[1] / power[0]) > 15


def test_missing_livekit_says_what_to_do(monkeypatch):
    """Without the wheel the error names the package."""
    monkeypatch.setitem(echo_canceller.__dict__, "_load_livekit", echo_canceller._load_livekit)
    monkeypatch.setitem(__import__("sys").modules, "livekit", None)
    with pytest.raises(EngineError, match="uv pip install livekit"):
        Aec3()


def voice(probability: float) -> list[VadWindow]:
    return [VadWindow(probability, 0)]


def result(
    state: EchoState,
    *,
    expected=True,
    unmodelled=0.0,
    evidence=0.0,
    over_noise=30.0,
    heard=-20.0,
    unexplained=1.0,
    stranger=0.0,
    unechoed_ms=0,
):
    from voicebot.turn.echo_path import EchoResult

    return EchoResult(
        SILENCE,
        state,
        None,
        expected,
        0.0,
        unmodelled,
        evidence,
        over_noise,
        heard,
        unexplained,
        unechoed_ms,
        stranger,
    )


@pytest.mark.parametrize(
    ("answer", "needed_ms"),
    [
        (result(EchoState.NO_ECHO, expected=False), 120),
        (result(EchoState.UNKNOWN, expected=False), 120),
        (result(EchoState.UNKNOWN, stranger=9.0), 140),
        (result(EchoState.UNKNOWN, stranger=1.0), 400),
        (result(EchoState.ECHO), 100),
        (result(EchoState.NO_ECHO, expected=False, heard=-55.0), None),
        (result(EchoState.NO_ECHO, expected=False, over_noise=5.0), None),
        (result(EchoState.UNKNOWN, stranger=-0.5), None),
        (result(EchoState.UNKNOWN, stranger=9.0, heard=-55.0), None),
        (result(EchoState.NO_ECHO, expected=False, evidence=6.6), None),
        (result(EchoState.ECHO, unexplained=0.1), None),
        (result(EchoState.ECHO, unmodelled=30.0), None),
    ],
)
def test_trigger_waits_as_long_as_the_state_demands(answer, needed_ms):
    """Voice must last 100 ms or more by state and odds; our own voice and faint sounds never trigger."""
    trigger = EchoTrigger(no_echo_ms=120)
    fired = [trigger.feed(answer, voice(0.9)) for _ in range(50)]
    assert (fired.index(True) + 1) * 20 == needed_ms if needed_ms else not any(fired)


def test_odds_of_a_voice_outlast_a_short_gap_and_no_more():
    """On an unknown line 40 ms without voice keep what was heard before; 100 ms start anew."""
    answer = result(EchoState.UNKNOWN, stranger=3.0)
    for gap_ticks, needed_ticks in ((2, 4), (5, 7)):
        trigger = EchoTrigger()
        assert not any(trigger.feed(answer, voice(0.9)) for _ in range(3))
        assert not any(trigger.feed(answer, voice(0.1)) for _ in range(gap_ticks))
        fired = [trigger.feed(answer, voice(0.9)) for _ in range(10)]
        assert fired.index(True) + 1 == needed_ticks


@pytest.mark.parametrize(("unechoed_ms", "needed_ticks"), [(0, 7), (500, 5), (1000, 5), (9000, 5)])
def test_a_voice_is_believed_sooner_where_nothing_came_back_before(unechoed_ms, needed_ticks):
    """A second of our own speech without an answer of the line counts for 12, more for no more."""
    answer = result(EchoState.UNKNOWN, stranger=3.0, unechoed_ms=unechoed_ms)
    trigger = EchoTrigger()
    fired = [trigger.feed(answer, voice(0.9)) for _ in range(10)]
    assert fired.index(True) + 1 == needed_ticks
    own = result(EchoState.UNKNOWN, stranger=-1.0, unechoed_ms=unechoed_ms)
    assert not any(EchoTrigger().feed(own, voice(0.9)) for _ in range(50))


def test_our_speech_without_an_echo_is_counted_until_something_is_heard(clips):
    """The first second of a prompt, nothing heard, counts; a sound that passes starts it again."""
    sent = prompt(clips, 4, 2)
    caller = np.zeros_like(sent)
    caller[8000:9600] = np.random.default_rng(1).normal(0, 2000, 1600)
    _, results = run(EchoLine("none", noise_dbov=-60.0), sent, caller)
    heard = [r.unechoed_ms for r in results[20:]]
    assert max(heard[:50]) >= 300
    assert heard[54] == max(heard[:50])
    assert heard[75] < 300


@pytest.mark.parametrize(("kind", "is_caller"), [("hybrid", False), ("none", True)])
def test_half_a_second_into_a_first_prompt_a_stranger_is_told_from_our_echo(clips, kind, is_caller):
    """Before the line is known the odds over a voice's first 300 ms are for the caller, or against."""
    sent = prompt(clips, 4, 8)
    caller = np.zeros_like(sent)
    if is_caller:
        caller[4000 : 4000 + clips[1].size] = clips[1][: caller.size - 4000]
    _, results = run(EchoLine(kind, 12.0, 150, seed=3), sent, caller)
    heard = [r.stranger for r in results[20:] if r.state is EchoState.UNKNOWN and r.stranger][:15]
    assert len(heard) >= 10
    assert (sum(heard) > 0) == is_caller


def test_trigger_needs_voice_without_a_break():
    """A window without voice starts the count again, ticks without a window keep the last answer."""
    trigger = EchoTrigger(no_echo_ms=60)
    quiet = result(EchoState.NO_ECHO, expected=False)
    assert not trigger.feed(quiet, voice(0.9))
    assert not trigger.feed(quiet, [])
    assert not trigger.feed(quiet, voice(0.1))
    assert not trigger.feed(quiet, voice(0.9))
    assert not trigger.feed(quiet, [])
    assert trigger.feed(quiet, [])
    trigger.reset()
    assert not trigger.feed(quiet, [])


def test_settings_reach_the_parts():
    """The nested settings are those the parts use."""
    path = EchoPath(EchoSettings(delay=EchoDelaySettings(longest_delay_ms=400)), NoCanceller)
    assert path._tracker._longest == 3200
