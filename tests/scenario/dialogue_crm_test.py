"""The samples against their small business system: the real HTTP client, a real server on loopback."""

import asyncio
import importlib.util
import threading
from pathlib import Path

import pytest

from tests.scenario.dialogue_bank_test import FACTS
from voicebot.dialogue import Conversation, load_dialplan
from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.text_call import TextCall
from voicebot.dialogue.tool_client import ToolClient

DIALPLANS = Path(__file__).parents[2] / "dialplans"


@pytest.fixture
def server():
    spec = importlib.util.spec_from_file_location("crm_server", DIALPLANS / "crm_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    running = module.make_server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running.server_port
    running.shutdown()
    running.server_close()
    thread.join()


def open_call(name, port):
    plan = load_dialplan((DIALPLANS / f"{name}.yaml").read_text().replace(":8099", f":{port}"))
    outcomes = []

    async def ask(call):
        client = ToolClient(plan.source, allowed_hosts=(f"127.0.0.1:{port}",))
        try:
            return await client.run(call)
        finally:
            await client.close()

    def tools(call):
        finished = asyncio.run(ask(call))
        outcomes.append((call.tool, finished.outcome))
        return finished

    call = TextCall(Conversation(plan, FACTS), tools)
    call.start()
    return call, outcomes, ask


def test_the_bank_balance_comes_from_the_server(server):
    call, outcomes, _ = open_call("bank", server)
    for keys in ("1", "87654321", "1111"):
        said = call.press(keys)
    assert "one thousand two hundred and fifty pounds" in said[0]
    assert outcomes == [("account_exists", "ok"), ("check_passcode", "ok"), ("get_balance", "ok")]


def test_a_wrong_passcode_is_denied_by_the_server(server):
    call, outcomes, _ = open_call("bank", server)
    for keys in ("1", "12345678", "9999"):
        said = call.press(keys)
    assert "not right" in said[0]
    assert outcomes[-1] == ("check_passcode", "denied")


def test_an_appointment_is_booked_once_although_it_is_asked_twice(server):
    """After a takeover the same tool call comes again with the same idempotency key."""
    call, _, ask = open_call("clinic", server)
    call.press("1")
    for words in (
        "smith",
        "yes",
        "the fifth of march nineteen eighty four",
        "yes",
        "on friday at ten",
        "yes",
    ):
        said = call.say(words)
    assert "You are booked" in said[0]
    booking = next(a for a in call.actions if isinstance(a, CallTool) and a.tool == "book")
    again = asyncio.run(ask(booking))
    assert again.outcome == "ok"
    assert again.values["booking"] == call.conversation.snapshot()["variables"]["booking"]


def test_a_parcel_is_tracked_and_redirected(server):
    call, outcomes, _ = open_call("parcel", server)
    assert (
        "was delivered" in call.say("where is my parcel one zero zero two zero zero three zero one")[1]
    )
    call.say("leave it somewhere else")
    call.press("2")
    said = call.say("yes")
    assert said[0] == "It is noted."
    assert outcomes[-1] == ("redirect", "ok")


def test_a_server_that_is_gone_leads_to_a_person():
    call, outcomes, _ = open_call("bank", 1)
    call.press("1")
    call.press("12345678")
    assert outcomes == [("account_exists", "error")]
    assert call.transfers[-1].reason == "error"
