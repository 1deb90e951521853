"""No dead ends: whatever callers, tools, colleagues and our own programs do, in whatever order.

Looked at in every 20 ms of every call: nobody waits in silence; a secret is in no turn, state, context or
prompt, and never in the recording; a key of the outbox names one thing; giving up is said before it is
done; nothing has an effect after the end. And a caller who falls silent for good is not kept for ever.
"""

from pathlib import Path

import pytest

from tests.scenario.wild_world import WildWorld
from voicebot.dialogue.loader import load_dialplan

DIALPLANS = Path(__file__).parents[2] / "dialplans"
NAMES = ("bank", "clinic", "parcel")
MODES = ("blind", "warm", "attended")
ROUTER = "\nrouter: { llm: { deadline: 350ms } }\n"
FOUND = (602, 5874)
"""Seeds that found something that the first ones do not."""
_loaded = {}


def plan(name, mode):
    """A sample with its queues in this mode, and with a language model unless it is blind."""
    if (name, mode) not in _loaded:
        text = (DIALPLANS / f"{name}.yaml").read_text().replace(", mode: blind", "")
        text = text.replace('sip: "sip:2', f'mode: {mode}, sip: "sip:2')
        _loaded[name, mode] = load_dialplan(text if mode == "blind" else text + ROUTER)
    return _loaded[name, mode]


def wild_call(seed, *, patient=False):
    """What is wrong with the call that this seed draws."""
    mode, edited = MODES[seed // 3 % 3], NAMES[seed // 7 % 3]
    world = WildWorld(
        plan(NAMES[seed % 3], mode),
        seed,
        agents=("sip", "console")[seed // 2 % 2],
        deaths=seed % 4 != 0,
        edited=plan(edited, mode) if seed % 5 == 0 else None,
        mute=0.2 if seed % 6 == 0 else 0.0,
        limit_ms=900_000 if patient else 60_000,
    )
    wrong = world.run()
    return wrong or (["it never ended"] if patient and world.ended_by != "bot" else [])


def ring_back(seed):
    """What is wrong with the call of somebody whose last call was cut off in the middle."""
    sample = plan(NAMES[seed % 3], MODES[seed // 3 % 3])
    cut_off = WildWorld(sample, seed, deaths=False, patience_ms=60_000, limit_ms=25_000)
    wrong = cut_off.run()
    agents = ("sip", "console")[seed // 2 % 2]
    return wrong or WildWorld(sample, seed + 1, agents=agents, earlier=cut_off.state).run()


def broken(seeds, drawn=wild_call, **more):
    return {seed: wrong[0] for seed in seeds if (wrong := drawn(seed, **more))}


def test_wild_calls_have_no_dead_end():
    assert broken((*range(12), *FOUND)) == {}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_callers_who_ring_back_have_no_dead_end():
    assert broken(range(300), ring_back) == {}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_wild_calls_have_no_dead_end():
    assert broken(range(100, 1100)) == {}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_caller_who_is_silent_for_good_is_let_go():
    """Each of them within fifteen minutes, with all that colleagues and tools do meanwhile."""
    assert broken(range(2000, 2100), patient=True) == {}
