"""Retention and erasure reach the handoffs: numbers, last words, call backs."""

import sqlite3

import pytest

from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.context import ContextTurn, HandoffContext
from voicebot.handoff.erasure import erase_handoffs
from voicebot.handoff.queue_store import HandoffStore
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.retention import Erased, erase

ANN, BOB = "+4930111", "+4930222"
WORDS = "about my marmalade"


@pytest.fixture
def folder(tmp_path):
    """Ann: one over (day 10), one who waits now. Bob: one over (day 50), with a call back that is open."""
    store = HandoffStore(tmp_path)
    for name, caller in (("h1", ANN), ("h2", BOB), ("h3", ANN)):
        words = (ContextTurn(who="caller", text=f"{WORDS} {caller}"),)
        store.join(
            HandoffContext(handoff_id=name, call_id=f"c-{name}", caller=caller, turns=words),
            priority="normal",
        )
    store.end("h1", "bridged", "", 200)
    store.end("h2", "returned", "", 0)
    CallbackStore(tmp_path).ask("h1", ANN, "general")
    CallbackStore(tmp_path).done(1, "the bot")
    CallbackStore(tmp_path).ask("h2", BOB, "general")
    with sqlite3.connect(tmp_path / "handoffs.db") as db:
        db.execute("UPDATE handoffs SET ended_s = 864000 WHERE handoff_id = 'h1'")
        db.execute("UPDATE handoffs SET ended_s = 4320000 WHERE handoff_id = 'h2'")
        db.execute("UPDATE callbacks SET done_s = 864000 WHERE handoff_id = 'h1'")
    db.close()
    return tmp_path


def left(folder):
    callbacks = {c.number for c in CallbackStore(folder).listed(0.0)}
    return sorted(row.handoff_id for row in HandoffStore(folder).rows()), callbacks


def test_what_is_too_old_goes(folder):
    """A handoff whose call back is still owed stays, and who waits now is never too old."""
    assert erase_handoffs(folder, 30 * 86_400.0, None) == 2
    assert left(folder) == (["h2", "h3"], {BOB})
    assert erase_handoffs(folder, 9e9, None) == 0
    assert left(folder) == (["h2", "h3"], {BOB})


def test_a_caller_is_erased_with_the_call_back_that_was_promised(folder):
    """Nothing of his words is left in the file, also not where rows were."""
    assert erase_handoffs(folder, None, BOB) == 2
    assert left(folder) == (["h1", "h3"], {ANN})
    content = b"".join(path.read_bytes() for path in folder.glob("handoffs.db*"))
    assert BOB.encode() not in content
    assert f"{WORDS} {ANN}".encode() in content


async def test_the_command_erases_them_too(folder):
    """Counted beside sessions, records and recordings; a folder without handoffs has none."""
    store = MemorySessionStore()
    erased = await erase(store, folder, caller=ANN, also={"handoffs": erase_handoffs})
    assert erased == Erased(0, 0, 0, others={"handoffs": 2})
    assert left(folder) == (["h2", "h3"], {BOB})
    assert erase_handoffs(folder / "elsewhere", None, ANN) == 0
