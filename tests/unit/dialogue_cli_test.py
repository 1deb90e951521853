"""``voicebot dialplan``: what the commands print and how they exit."""

import datetime as dt
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voicebot.dialogue import load_dialplan
from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.chat import Chat
from voicebot.dialogue.cli import app
from voicebot.dialogue.services import DialogueServices
from voicebot.llm.fake import FakeChatModel

BANK = Path(__file__).parents[2] / "dialplans" / "bank.yaml"
NOW = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)


def run(*arguments, **options):
    return CliRunner().invoke(app, [str(a) for a in arguments], **options)


def test_check_names_each_mistake_with_its_place_and_fails(tmp_path):
    assert run("check", BANK).exit_code == 0
    broken = tmp_path / "plan.yaml"
    broken.write_text(BANK.read_text().replace("goto: balance }", "goto: balanc }", 1))
    result = run("check", broken)
    assert result.exit_code == 1
    assert "plan.yaml:" in result.stdout
    assert "unknown flow 'balanc'" in result.stdout


def test_test_runs_the_plans_tests_and_fails_with_the_script(tmp_path):
    result = run("test", BANK)
    assert (result.exit_code, "12 of 12 passed" in result.stdout) == (0, True)
    broken = tmp_path / "plan.yaml"
    broken.write_text(BANK.read_text().replace('bot: "42 pounds and ten', 'bot: "43 pounds and ten'))
    result = run("test", broken)
    assert result.exit_code == 1
    assert "keys: 4321" in result.stdout
    assert "expected the bot to say" in result.stdout


def test_a_file_that_is_no_plan_is_one_line_not_a_traceback(tmp_path):
    for command in ("test", "chat", "graph"):
        result = run(command, tmp_path / "none.yaml")
        assert result.exit_code == 1
        assert "cannot be read" in result.stdout


def test_graph_and_schema_write_files(tmp_path):
    assert run("graph", BANK, "-o", tmp_path / "plan.svg").exit_code == 0
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")
    assert run("graph", BANK).stdout.startswith("flowchart TD")
    assert run("schema", "-o", tmp_path / "s.json").exit_code == 0


def test_chat_plays_a_call():
    lines = "balance\n#12345678\n#4321\nno\n"
    result = run("chat", BANK, "--at", "2026-11-23T10:00", input=lines)
    assert result.exit_code == 0
    assert "forty two pounds" in result.stdout
    assert "[the bot hangs up: completed]" in result.stdout


def test_chat_without_a_route_says_so(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(BANK.read_text().replace('"+442012340000", "*"', '"+442012340000"'))
    result = run("chat", plan, "--to", "nobody")
    assert (result.exit_code, "404" in result.stdout) == (1, True)


def test_a_turn_can_be_taken_back_and_changed():
    talk = Chat(load_dialplan(BANK), "bank", NOW)
    talk.enter("balance")
    talk.enter("#12345678")
    assert talk.enter("/list") == ["1 balance", "2 #12345678"]
    assert "account = '12345678'" in talk.enter("/slots")
    assert "account number" in talk.enter("/undo")[-1]
    changed = talk.enter("/edit 1 when are you open")
    assert "you> when are you open" in changed
    assert "eight to eight" in " ".join(changed)
    assert "/list" in talk.enter("/edit 9 x")[0]


@pytest.mark.parametrize("with_model", [True, False])
async def test_services_join_tools_and_model(with_model):
    plan = load_dialplan(BANK)
    model = FakeChatModel(['{"intent": "balance", "confidence": 0.9}']) if with_model else None
    services = DialogueServices(plan, model)
    tool = CallTool(
        request="r1", tool="get_balance", arguments={"account": "12345678"}, idempotency_key="k"
    )
    assert (await services.call_tool(tool)).values["amount"] == "42.10 GBP"
    ask = AskRouter(request="r2", text="my money", intents=("balance",), deadline_ms=300)
    assert (await services.ask_router(ask)).intent == ("balance" if with_model else None)
    await services.close()


def test_chat_refuses_a_moment_that_is_none_and_a_command_that_is_none(tmp_path):
    refused = run("chat", BANK, "--at", "tomorrow")
    assert refused.exit_code == 2
    assert "not a date and time" in refused.stderr
    typed = run("chat", BANK, "--at", "2026-11-23T10:00", input="/wave\n#0\n")
    assert "no command /wave" in typed.stdout
    assert "[transfer to" in typed.stdout


def test_chat_comes_from_a_trunk(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        'version: 1\nname: t\nroutes: [ { match: { trunk: "10.0.0.0/8" }, flow: main } ]\n'
        'flows: { main: [ { say: "Hello {{ caller.number }}.", hangup: done } ] }\n'
    )
    assert "see --to, --caller and --trunk" in run("chat", plan).stdout
    assert "bot> Hello 12." in run("chat", plan, "--trunk", "10.1.1.1", "--caller", "12").stdout
