"""The client against a real OpenAI-compatible server: llama.cpp's, with a model that says what it is made to say.

``make test-llm`` installs the server in an environment of its own and names its Python in
VOICEBOT_TEST_LLM_PYTHON; without it these tests are skipped.
"""

import asyncio
import os
import subprocess
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from voicebot.core.errors import LanguageModelError
from voicebot.dialogue.actions import AskRouter
from voicebot.dialogue.grounded_answers import GroundedAnswers
from voicebot.dialogue.llm_router import LlmRouter
from voicebot.dialogue.loader import load_dialplan
from voicebot.llm.chain import ModelChain
from voicebot.llm.fake import FakeChatModel
from voicebot.llm.openai_client import Endpoint, OpenAiModel
from voicebot.llm.protocol import ChatRequest, Message
from voicebot.llm.warming import AGAIN_SHARE

PYTHON = os.environ.get("VOICEBOT_TEST_LLM_PYTHON", "")
HERE = Path(__file__).parent
KEY = "a-key-of-the-test"
ANSWER = "The desk opens at nine. Parcels stay here seven days!"
INTENTS = ("balance", "block_card", "opening_hours", "agent")
pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(not PYTHON, reason="needs llama.cpp's server (make test-llm)"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its process and address."""
    directory = tmp_path_factory.mktemp("llm")
    with (directory / "server.log").open("w") as log:
        process = subprocess.Popen(
            [PYTHON, str(HERE / "llm_server_program.py"), str(directory), KEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), (directory / "server.log").read_text()[-2000:]
        yield f"{address}/v1"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
async def model(server, monkeypatch):
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    found = OpenAiModel(Endpoint(url=server, model="tiny", key_env="TEST_LLM_KEY"), offline=True)
    yield found
    await found.close()


def ask(text="hello", **options):
    return ChatRequest(messages=(Message("user", text),), **{"deadline_ms": 10_000, **options})


async def pieces_of(model, request):
    async with aclosing(model.stream(request)) as pieces:
        return [piece async for piece in pieces]


async def test_an_answer_comes_whole(model):
    assert (await model.complete(ask())).strip() == ANSWER


async def test_a_stream_comes_word_by_word_and_ends_as_finished(model):
    pieces = await pieces_of(model, ask())
    assert "".join(pieces).strip() == ANSWER
    assert len(pieces) > 5


async def test_an_answer_cut_by_its_length_is_no_answer(model):
    """llama.cpp says finish_reason "length"; what was streamed before counts as a part."""
    with pytest.raises(LanguageModelError, match="length"):
        await model.complete(ask(max_tokens=4))
    with pytest.raises(LanguageModelError, match="length"):
        await pieces_of(model, ask(max_tokens=4))


@pytest.mark.parametrize("intents", [INTENTS, INTENTS[::-1], INTENTS[:1]])
async def test_the_router_gets_one_of_the_allowed_intents_and_nothing_else(model, intents):
    """The server holds the model to our schema: a model that would talk of desks answers with an intent."""
    router = LlmRouter(model, load_dialplan(HERE.parents[1] / "dialplans" / "bank.yaml"))
    question = AskRouter(
        request="r1", text="where has my money gone", intents=intents, deadline_ms=10_000
    )
    raw = await model.complete(router.request(question))
    finished = await router.ask(question)
    assert router.refused == 0, raw
    assert finished.intent in {*intents, None}
    assert 0 <= finished.confidence <= 1


async def test_sentences_of_a_stream_are_checked_against_the_texts(model):
    """Said while it comes; the same words are refused where the texts say something else."""
    said = []

    async def say(sentence):
        said.append(sentence)

    answers = GroundedAnswers(model)
    texts = ["The desk opens at nine.", "Parcels stay at the desk for seven days, here and elsewhere."]
    assert await answers.answer("when do you open", texts, 10_000, say) == ANSWER
    assert said == ["The desk opens at nine.", "Parcels stay here seven days!"]
    said.clear()
    assert await answers.answer("when do you open", ["The desk opens at ten."], 10_000, say) is None
    assert said == []


async def test_a_stream_that_is_given_up_costs_the_server_nothing_more(model):
    """Barge-in: more cancelled streams than the server has slots, then a question is answered."""
    for _ in range(6):
        async with aclosing(model.stream(ask("go on endlessly", max_tokens=1_000_000))) as pieces:
            async for _piece in pieces:
                break
    assert (await model.complete(ask())).strip() == ANSWER
    assert model.breaker.allow(time.monotonic() * 1000)


async def test_a_model_that_never_ends_is_cut_at_the_deadline_or_the_size(model):
    began_s = time.monotonic()
    with pytest.raises(LanguageModelError, match=r"no answer in 100 ms|more than 262144 bytes"):
        await pieces_of(model, ask("go on endlessly", max_tokens=1_000_000, deadline_ms=100))
    assert time.monotonic() - began_s < 5
    assert (await model.complete(ask())).strip() == ANSWER


async def test_the_idle_limit_of_the_server_is_learnt_and_outlived(model):
    """It closes unused connections after 5 s: kept warm sooner than that, and asked without an error after it."""
    assert await model.warm() == ""
    assert model.kept_open_s <= 5
    assert AGAIN_SHARE * model.kept_open_s < 5
    await asyncio.sleep(model.kept_open_s + 0.3)
    assert (await model.complete(ask())).strip() == ANSWER


async def test_a_wrong_key_is_named(server):
    stranger = OpenAiModel(Endpoint(url=server, model="tiny", key_env="NO_SUCH_KEY"))
    with pytest.raises(LanguageModelError, match="HTTP 401"):
        await stranger.complete(ask())
    assert "401" in await stranger.warm()
    await stranger.close()


async def test_eight_callers_are_answered_at_once(model):
    """More than the server has slots."""
    answers = await asyncio.gather(*(model.complete(ask()) for _ in range(8)))
    assert {a.strip() for a in answers} == {ANSWER}


async def test_a_loop_of_words_loses_the_race_against_the_next_endpoint(model):
    """The first endpoint never ends, the second one's answer is taken."""
    chain = ModelChain([model, FakeChatModel(["from the second"])], hedge_ms=300)
    request = ask("go on endlessly", max_tokens=1_000_000)
    assert await chain.complete(request) == "from the second"
    assert (await model.complete(ask())).strip() == ANSWER
