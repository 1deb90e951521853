"""The conversation with somebody whom the bot called back, and the link that leads to it."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest

from tests.unit.console_kit import TOKEN, client
from voicebot.config.settings import HandoffSettings, SipSettings
from voicebot.core.errors import OverloadError
from voicebot.dialogue.actions import HangUp, Speak, TransferCall
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import CallerSaid, DigitPressed, NoInput, PromptFinished
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.state import CallFacts
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.context import ActionDone, ContextTurn, HandoffContext, memory_of
from voicebot.handoff.queue_store import HandoffStore
from voicebot.link.client import LinkClient
from voicebot.link.messages import NO_CALL_SLOT, Originate, Result, Start
from voicebot.link.server import LinkServer
from voicebot.worker.call_watch import LiveCalls
from voicebot.worker.effects import HandoffNews

pytestmark = pytest.mark.loopback

BANK = Path(__file__).parents[2] / "dialplans" / "bank.yaml"
ORDER = Originate(
    request="callback-1-1", uri="sip:1@127.0.0.1", caller="+4420", called="bank", queue="fraud"
)


@pytest.fixture(scope="module")
def plan():
    return PlanLibrary(BANK).plan


def called_back(plan):
    now = dt.datetime(2026, 11, 18, 11, tzinfo=dt.UTC)
    facts = CallFacts(session_id="s", called="bank", now=now, callback="fraud")
    conversation = Conversation(plan, facts)
    return conversation, conversation.start()


def of(actions, kind):
    return [a for a in actions if isinstance(a, kind)]


def through_prompts(conversation, actions):
    """Everything is heard to its end."""
    out = list(actions)
    while speaks := of(actions, Speak):
        actions = [a for s in speaks for a in conversation.handle(PromptFinished(utterance=s.utterance))]
        out += actions
    return out


@pytest.mark.parametrize("yes", [DigitPressed(digit="1"), CallerSaid(text="yes", confidence=0.9)])
def test_who_confirms_goes_to_the_queue_in_which_he_waited(plan, yes):
    conversation, actions = called_back(plan)
    assert "call" in of(actions, Speak)[0].text
    through_prompts(conversation, actions)
    (transfer,) = of(through_prompts(conversation, conversation.handle(yes)), TransferCall)
    assert (transfer.queue, transfer.reason) == ("fraud", "callback")


def test_an_answering_machine_is_put_through_to_nobody(plan):
    """It says nothing that means yes: asked once more, then the call ends."""
    conversation, actions = called_back(plan)
    through_prompts(conversation, actions)
    first = conversation.handle(CallerSaid(text="please leave a message after the tone", confidence=0.9))
    assert of(first, Speak) and not of(first, HangUp | TransferCall)
    through_prompts(conversation, first)
    again = conversation.handle(NoInput())
    through_prompts(conversation, again)
    last = through_prompts(conversation, conversation.handle(NoInput()))
    assert not of([*again, *last], TransferCall)
    assert of([*again, *last], HangUp)


def test_who_no_longer_needs_us_is_not_called_again(plan):
    conversation, actions = called_back(plan)
    through_prompts(conversation, actions)
    (end,) = of(through_prompts(conversation, conversation.handle(DigitPressed(digit="2"))), HangUp)
    assert end.reason == "call back declined"


def test_who_picks_up_is_not_identified_yet():
    """What was said and done goes along; that somebody gave a passcode in another call does not."""
    context = HandoffContext(
        handoff_id="h",
        call_id="c",
        intent="block_card",
        slots={"account": "12345678"},
        turns=(ContextTurn(who="caller", text="my card"),),
        actions=(
            ActionDone(tool="check_passcode", outcome="ok"),
            ActionDone(tool="get_balance", outcome="ok"),
        ),
    )
    memory = memory_of(context, verified_by=frozenset({"check_passcode"}))
    assert [a.tool for a in memory.actions] == ["get_balance"]
    assert memory.slots == context.slots and memory.turns == context.turns


# ---------------------------------------------------------------- the link


class Served:
    """A worker's end with one waiting link, and an edge that does what the test says."""

    def __init__(self):
        self.orders = asyncio.Queue()
        self.calls = asyncio.Queue()

    async def __aenter__(self):
        self.server = LinkServer("127.0.0.1", 0, self._serve)
        await self.server.start()
        url = f"ws://127.0.0.1:{self.server.port}/"
        self.client = LinkClient(
            [url],
            on_order=lambda link, order: self.orders.put_nowait((link, order)),
            connect_timeout_ms=10_000,
        )
        assert await self.client.prepare()
        async with asyncio.timeout(10):
            while not self.server._idle:
                await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        await self.server.close()

    async def _serve(self, link):
        self.calls.put_nowait(await link.receive())


async def test_an_answered_order_becomes_the_call_of_its_link():
    async with Served() as there, asyncio.timeout(20):
        outcome = asyncio.create_task(there.server.originate(ORDER))
        link, order = await there.orders.get()
        assert order == ORDER and not there.client.spare_ready
        link.send(Start(call_id="c1", session_id="s1", answered=True, originated=order))
        assert (await outcome).call_id == "c1"
        assert (await there.calls.get()).originated == ORDER
        await link.close()


async def test_an_order_that_nobody_answers_leaves_the_link_to_its_edge():
    async with Served() as there, asyncio.timeout(20):
        outcome = asyncio.create_task(there.server.originate(ORDER))
        link, order = await there.orders.get()
        link.send(Result(request=order.request, ok=False, code=486, reason="Busy Here"))
        assert (await outcome).code == 486
        await link.close()
        with pytest.raises(OverloadError):
            await there.server.originate(ORDER)


async def test_a_caller_who_comes_first_gets_the_link():
    """The order on it is not followed: one link, one call."""
    async with Served() as there, asyncio.timeout(20):
        link = await there.client.connect()
        link.send(Start(call_id="c1", session_id="s1"))
        result = await there.server.originate(ORDER)
        assert (result.code, result.reason) == (503, NO_CALL_SLOT)
        assert (await there.calls.get()).call_id == "c1"
        assert there.orders.empty()
        await link.close()


async def test_an_edge_that_dies_while_it_rings_leaves_an_unknown_outcome():
    async with Served() as there, asyncio.timeout(20):
        outcome = asyncio.create_task(there.server.originate(ORDER))
        link, _ = await there.orders.get()
        await link.abort()
        assert await outcome is None


# ---------------------------------------------------------------- what is written down


@pytest.mark.parametrize(
    ("news", "reason", "state", "outcome"),
    [
        ("begin", "completed", "done", "answered"),
        ("", "call back declined", "done", "answered"),
        ("", "caller hung up", "scheduled", "answered, not put through"),
    ],
)
async def test_the_call_closes_its_call_back(tmp_path, news, reason, state, outcome):
    store = CallbackStore(tmp_path)
    store.ask("h1", "+442071838750", "fraud")
    (callback,) = store.open()
    assert store.claim(callback, 1.0, 2.0)
    store.answered(1, "c2")
    calls = LiveCalls(tmp_path, HandoffSettings(callback_tries=2))
    calls.open()
    watch = calls.watch()
    order = Originate(request=callback.request, uri="sip:1@127.0.0.1", caller="1", queue="fraud")
    watch.item(Start(call_id="c2", session_id="s2", answered=True, originated=order))
    if news:
        context = HandoffContext(handoff_id="h2", call_id="c2", queue="fraud")
        await watch.handoff(HandoffNews("h2", "begin", context=context))
    watch.ended(reason)
    watch.closed()
    async with asyncio.timeout(10):
        while store.get(1).state == "answered":
            await asyncio.sleep(0.01)
    assert (store.get(1).state, store.get(1).history[-1].outcome) == (state, outcome)
    calls.close()


async def test_asking_for_it_makes_it_due_a_little_later(tmp_path):
    calls = LiveCalls(tmp_path, HandoffSettings(callback_after_hangup_s=20))
    calls.open()
    context = HandoffContext(handoff_id="h1", call_id="c1", queue="fraud")
    HandoffStore(tmp_path).join(context, priority="normal")
    await calls.watch().handoff(HandoffNews("h1", "callback", detail="+442071838750"))
    async with asyncio.timeout(10):
        while not (asked := CallbackStore(tmp_path).open()):
            await asyncio.sleep(0.01)
    assert (asked[0].number, asked[0].queue) == ("+442071838750", "fraud")
    assert 19 <= asked[0].due_s - asked[0].asked_s <= 21
    calls.close()


def test_the_console_lists_them_and_may_have_one_placed(tmp_path):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    store = CallbackStore(tmp_path)
    store.ask("h1", "+442071838750", "fraud")
    with client(tmp_path) as browser:
        assert browser.get("/api/waiting", headers=bearer).json()["places_calls"] is False
        assert browser.post("/api/callbacks/1/again", headers=bearer).status_code == 409
    tree = {
        "sip": SipSettings(allow_outgoing=True),
        "handoff": HandoffSettings(callback_trunk="127.0.0.1:5070"),
    }
    with client(tmp_path, tree=tree) as browser:
        shown = browser.get("/api/waiting", headers=bearer).json()
        assert shown["places_calls"] and shown["callbacks"][0]["state"] == "scheduled"
        assert browser.post("/api/callbacks/1/again", headers=bearer).status_code == 200
        assert store.get(1).pressed
        assert browser.post("/api/callbacks/9/again", headers=bearer).status_code == 409
        assert browser.post("/api/callbacks/1/done", headers=bearer).status_code == 200
        assert browser.post("/api/callbacks/1/again", headers=bearer).status_code == 409
        assert "had the bot call back" in browser.get("/api/audit", headers=bearer).text
