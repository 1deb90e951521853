"""What ended calls leave behind is collected although the edge is never without a call."""

import asyncio
import gc
import weakref
from types import SimpleNamespace

import pytest

from voicebot.edge.main import Edge


class Leg:
    """Something that refers to itself, as the parts of a call do."""

    def __init__(self):
        self.itself = self


@pytest.mark.asyncio
async def test_a_busy_edge_collects_what_has_grown_old(monkeypatch):
    """After a minute with a live call a cycle of the oldest generation is gone."""
    left = []
    turns = 0

    async def a_second(_seconds):
        nonlocal turns
        turns += 1
        if turns == 1:
            leg = Leg()
            gc.collect()
            gc.collect()  # it is of the oldest generation now
            left.append(weakref.ref(leg))
        if turns > 61:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", a_second)
    with pytest.raises(asyncio.CancelledError):
        await Edge._collect_garbage(SimpleNamespace(_live=1))
    assert left[0]() is None
    assert gc.isenabled()
