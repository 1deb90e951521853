"""The clock of the process, on a loop whose time is real but whose members are counted only."""

import asyncio

from voicebot.edge.frame_clock import FrameClock


class Member:
    def __init__(self, journal, name, fail=False):
        self.journal, self.name, self.fail = journal, name, fail
        self.enough = asyncio.Event()

    def tick(self, now_us):
        if self.fail:
            raise ValueError(self.name)
        self.journal.append(("send", self.name))

    def after_tick(self, now_us):
        self.journal.append(("receive", self.name))
        if len(self.journal) > 40:
            self.enough.set()


async def test_all_members_send_before_any_receives():
    """In each tick the work of receiving comes after the last send."""
    journal = []
    clock = FrameClock()
    members = [Member(journal, n) for n in "abc"]
    for member in members:
        clock.add(member)
    await members[0].enough.wait()
    for member in members:
        clock.remove(member)
    tick = [("send", n) for n in "abc"] + [("receive", n) for n in "abc"]
    assert journal[6:36] == tick * 5
    length = len(journal)
    await asyncio.sleep(0.03)
    assert len(journal) == length


async def test_a_member_that_fails_leaves_and_the_others_go_on():
    """One call's mistake does not stop the audio of the rest; removing it again does no harm."""
    journal = []
    clock = FrameClock()
    bad, good = Member(journal, "bad", fail=True), Member(journal, "good")
    clock.add(bad)
    clock.add(good)
    await good.enough.wait()
    clock.remove(bad)
    clock.remove(good)
    assert {name for _, name in journal} == {"good"}
