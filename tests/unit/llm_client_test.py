"""Faults of a language-model server (line 27 of the fault list), by a scripted server on loopback."""

import asyncio
import json
import time

import httpx
import pytest
from msgspec import structs

from voicebot.config.settings import LlmSettings
from voicebot.core.errors import ConfigError, LanguageModelError
from voicebot.llm.breaker import CircuitBreaker
from voicebot.llm.build import build_chat_model
from voicebot.llm.chain import ModelChain
from voicebot.llm.fake import FakeChatModel
from voicebot.llm.openai_client import Endpoint, OpenAiModel
from voicebot.llm.protocol import ChatRequest, Message, trim
from voicebot.llm.sse import SseParser
from voicebot.llm.warming import AGAIN_SHARE, LOOK_S, keep_warm

pytestmark = pytest.mark.loopback

ASK = ChatRequest(messages=(Message("user", "hello"),), deadline_ms=20_000)
IN_A_HURRY = structs.replace(ASK, deadline_ms=300)
STALL_S = 30  # longer than any machine needs to notice that 300 ms are over
DELTA = 'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'
STOP = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
GOOD = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})


def body(text, kind="application/json", status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def sse_head():
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text):
    return f"{len(text.encode()):x}\r\n{text}\r\n".encode()


END = b"0\r\n\r\n"
STALL = object()
DRIP = object()
RESET = object()

FAULTS = {
    "429": [body("{}", status="429 Too Many Requests")],
    "500": [body("{}", status="500 Internal Server Error")],
    "redirect": [body("", status="307 Temporary Redirect")],
    "html_with_200": [body("<h1>hello</h1>", "text/html")],
    "reset": [RESET],
    "stall_before_anything": [STALL],
    "stall_after_the_head": [sse_head(), STALL],
    "stall_after_a_token": [sse_head(), chunk(DELTA), STALL],
    "keep_alive_drip": [sse_head(), DRIP],
    "truncated_event": [sse_head(), chunk(DELTA), chunk('data: {"choices":[{"del'), RESET],
    "clean_end_in_an_event": [sse_head(), chunk(DELTA + 'data: {"choices":[{"delta":{}}]}'), END],
    "clean_end_without_finish": [sse_head(), chunk(DELTA), END],
    "done_without_finish": [sse_head(), chunk(DELTA), chunk("data: [DONE]\n\n"), END],
    "cut_by_length": [
        sse_head(),
        chunk(DELTA + STOP.replace("stop", "length") + "data: [DONE]\n\n"),
        END,
    ],
    "no_json": [sse_head(), chunk("data: {nonsense\n\n"), END],
    "deep_json": [sse_head(), chunk("data: " + "[" * 30_000 + "\n\n"), END],
    "endless_line": [sse_head(), *[chunk("data: " + "x" * 30_000)] * 4, STALL],
    "endless_answer": [sse_head(), *[chunk(DELTA * 200)] * 60, STALL],
    "not_utf_8": [sse_head(), b"7\r\ndata: \xff\r\n", chunk("\n\n"), END],
    "json_instead_of_a_stream": [body(GOOD)],
}
WHOLE_FAULTS = {
    **{k: v for k, v in FAULTS.items() if k in {"429", "500", "html_with_200", "reset", "stall_before_anything"}},
    "invalid_json": [body("{nonsense")],
    "wrong_shape": [body('{"choices": 3}')],
    "no_choices": [body('{"choices": []}')],
    "cut_by_length": [body(GOOD.replace("stop", "length"))],
    "no_finish_reason": [body('{"choices":[{"message":{"content":"transfer"}}]}')],
    "half_a_body": [body(GOOD)[:-9], RESET],
    "huge": [body("x" * 400_000)],
}  # fmt: skip


class Server:
    """Plays a script for every request."""

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.url = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *exc):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            self.requests.append((head.decode(), json.loads(await reader.readexactly(length))))
            for item in self.script:
                if item is RESET:
                    writer.transport.abort()
                    return
                if item is STALL:
                    await asyncio.sleep(STALL_S)
                elif item is DRIP:
                    for _ in range(STALL_S * 20):
                        writer.write(chunk(": keep-alive\n\n"))
                        await writer.drain()
                        await asyncio.sleep(0.05)
                else:
                    writer.write(item)
                    await writer.drain()
            await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def model_at(server, **options):
    return OpenAiModel(Endpoint(url=server.url, model="m"), **options)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_a_stream_is_one_error_within_the_deadline(name):
    async with Server(FAULTS[name]) as server:
        model = model_at(server)
        began = time.monotonic()
        with pytest.raises(LanguageModelError):
            async for _ in model.stream(IN_A_HURRY):
                pass
        assert time.monotonic() - began < STALL_S / 3
        await model.close()


@pytest.mark.parametrize("name", WHOLE_FAULTS)
async def test_a_fault_of_a_whole_answer_is_one_error_within_the_deadline(name):
    async with Server(WHOLE_FAULTS[name]) as server:
        model = model_at(server)
        began = time.monotonic()
        with pytest.raises(LanguageModelError):
            await model.complete(IN_A_HURRY)
        assert time.monotonic() - began < STALL_S / 3
        await model.close()


async def test_a_refused_connection_is_an_error():
    async with Server([]) as server:
        url = server.url
    await asyncio.sleep(0)
    model = OpenAiModel(Endpoint(url=url, model="m"))
    with pytest.raises(LanguageModelError):
        await model.complete(ASK)
    await model.close()


async def test_a_good_stream_comes_piece_by_piece():
    script = [
        sse_head(),
        chunk(DELTA[:20]),
        chunk(DELTA[20:] + DELTA),
        chunk(STOP + "data: [DONE]\n\n"),
        END,
    ]
    async with Server(script) as server:
        model = model_at(server)
        assert [p async for p in model.stream(ASK)] == ["word ", "word "]
        await model.close()


async def test_the_request_asks_for_constrained_output_and_carries_the_key(monkeypatch):
    monkeypatch.setenv("TEST_LLM_KEY", "k-123")
    schema = {"type": "object"}
    async with Server([body(GOOD)]) as server:
        model = OpenAiModel(Endpoint(url=server.url, model="m", key_env="TEST_LLM_KEY"))
        asked = ChatRequest(messages=(Message("user", "x"),), schema=schema, deadline_ms=20_000)
        assert await model.complete(asked) == "yes"
        await model.close()
    head, sent = server.requests[0]
    assert "Bearer k-123" in head
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert sent["temperature"] == 0


async def test_offline_no_other_host_is_accepted():
    with pytest.raises(ConfigError, match="not this machine"):
        OpenAiModel(Endpoint(url="https://api.example/v1", model="m"), offline=True)
    model = OpenAiModel(Endpoint(url="http://127.0.0.1:9/v1", model="m"), offline=True)
    await model.close()


async def test_after_three_failures_nothing_is_asked_for_a_while():
    async with Server(FAULTS["500"]) as server:
        model = model_at(server)
        for _ in range(5):
            with pytest.raises(LanguageModelError):
                await model.complete(ASK)
        assert len(server.requests) == 3
        assert model.breaker.open
        await model.close()


def test_the_breaker_tries_once_and_closes_on_success():
    breaker = CircuitBreaker(failures=2, open_ms=1000)
    breaker.failed(0)
    assert breaker.allow(1)
    breaker.failed(1)
    assert not breaker.allow(900)
    assert breaker.allow(1001)
    assert not breaker.allow(1002)
    breaker.failed(1100)
    assert not breaker.allow(2000)
    assert breaker.allow(2101)
    breaker.abandoned()
    assert breaker.allow(2102)
    breaker.succeeded()
    assert breaker.allow(2103)


async def test_the_second_endpoint_answers_when_the_first_fails():
    async with Server(FAULTS["500"]) as bad, Server([body(GOOD)]) as good:
        chain = ModelChain([model_at(bad), model_at(good)])
        assert await chain.complete(ASK) == "yes"
        assert chain.answered == [0, 1]
        await chain.close()


async def test_raced_endpoints_the_first_good_answer_wins_and_the_loser_is_cancelled():
    slow = FakeChatModel(["slow"], delay_ms=200)
    chain = ModelChain([slow, FakeChatModel(["fast"])], hedge_ms=20)
    assert await chain.complete(ASK) == "fast"
    assert len(asyncio.all_tasks()) == 1


async def test_the_deadline_holds_for_all_endpoints_together():
    async with Server([STALL]) as first, Server([STALL]) as second:
        chain = ModelChain([model_at(first), model_at(second)])
        began = time.monotonic()
        with pytest.raises(LanguageModelError):
            await chain.complete(IN_A_HURRY)
        assert time.monotonic() - began < STALL_S / 3
        await chain.close()


async def test_a_stream_is_not_continued_by_another_endpoint():
    """Half a sentence of one model and half of another would be nonsense."""
    async with Server(FAULTS["truncated_event"]) as bad:
        chain = ModelChain([model_at(bad), FakeChatModel(["other"])])
        stream = chain.stream(ASK)
        assert await anext(stream) == "word "
        with pytest.raises(LanguageModelError):
            await anext(stream)
        await chain.close()


def test_events_come_out_whole_wherever_the_bytes_are_cut():
    text = b": comment\r\ndata: a\r\ndata: b\r\n\r\nid: 1\ndata:c\n\n"
    for cut in range(len(text)):
        parser = SseParser()
        assert parser.feed(text[:cut]) + parser.feed(text[cut:]) == ["a\nb", "c"]
    parser = SseParser()
    assert parser.feed(b"data: lost") == []
    assert parser.pending


def test_trimming_keeps_the_system_message_and_the_newest():
    messages = (Message("system", "s" * 30), *(Message("user", str(n) * 30) for n in range(5)))
    kept = trim(messages, 30)
    assert [m.content[0] for m in kept] == ["s", "3", "4"]
    assert sum(len(m.content) for m in trim(messages, 15)) <= 45


async def test_settings_name_the_model():
    assert build_chat_model(LlmSettings()) is None
    assert isinstance(build_chat_model(LlmSettings(engine="fake")), FakeChatModel)
    chain = build_chat_model(
        LlmSettings(engine="openai", model="m", endpoint="http://127.0.0.1:1/v1 http://127.0.0.1:2/v1")
    )
    assert isinstance(chain, ModelChain)
    await chain.close()
    for broken in (
        LlmSettings(engine="openai"),
        LlmSettings(engine="openai", model="m", endpoint="ftp://x"),
    ):
        with pytest.raises(ConfigError):
            build_chat_model(broken)


def test_each_endpoint_has_its_own_model_and_key(monkeypatch):
    """The cloud's key never goes to the local server."""
    monkeypatch.setenv("CLOUD_KEY", "k")
    settings = LlmSettings(
        engine="openai",
        endpoint="http://127.0.0.1:1/v1 https://llm.example/v1",
        model="small large",
        key_env="- CLOUD_KEY",
        hedge_ms=80,
    )
    chain = build_chat_model(settings)
    local, cloud = chain._models
    assert (local._endpoint.model, local._key()) == ("small", {})
    assert (cloud._endpoint.model, cloud._key()) == ("large", {"Authorization": "Bearer k"})
    assert chain._hedge_ms == 80
    with pytest.raises(ConfigError, match="2 things for 1 endpoints"):
        build_chat_model(LlmSettings(engine="openai", endpoint="http://127.0.0.1:1/v1", model="a b"))


@pytest.mark.parametrize(
    ("status", "problem"),
    [("200 OK", ""), ("404 Not Found", ""), ("401 Unauthorized", "HTTP 401"), ("503 Busy", "HTTP 503")],
)
async def test_warming_tells_what_is_wrong_with_a_server(status, problem):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body("{}", status=status))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    model = OpenAiModel(Endpoint(url=url, model="m", key_env="SOME_KEY"))
    found = await model.warm()
    assert problem in found and bool(found) is bool(problem)
    server.close()
    await model.close()
    gone = OpenAiModel(Endpoint(url="http://127.0.0.1:1/v1", model="m"))
    assert "ConnectError" in await ModelChain([FakeChatModel(), gone]).warm()
    await gone.close()


async def test_connections_are_kept_open_only_while_there_are_calls(monkeypatch):
    monkeypatch.setattr("voicebot.llm.warming.LOOK_S", 0.001)
    busy, warmed = False, asyncio.Event()

    class Model(FakeChatModel):
        async def warm(self):
            assert busy
            warmed.set()
            return "cold"

    task = asyncio.create_task(keep_warm(Model(), lambda: busy))
    await asyncio.sleep(0.02)
    busy = True
    async with asyncio.timeout(5):
        await warmed.wait()
    task.cancel()


async def test_the_servers_own_idle_limit_is_learnt_and_kept_ahead_of(monkeypatch):
    """A server that closes unused connections after 5 s must be asked for something sooner than that."""

    def answer(request):
        return httpx.Response(200, json={}, headers={"keep-alive": "timeout=5, max=100"})

    model = OpenAiModel(Endpoint(url="http://h/v1", model="m"), transport=httpx.MockTransport(answer))
    assert ModelChain([model, FakeChatModel()]).kept_open_s == 60
    await model.warm()
    assert ModelChain([model, FakeChatModel()]).kept_open_s == 5
    assert AGAIN_SHARE * 5 + LOOK_S < 5


async def test_a_question_that_met_a_closing_connection_is_asked_once_more():
    """Only when not a byte came back, and only once."""
    asked = []

    def answer(request):
        asked.append(request)
        if len(asked) == 1:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, text=GOOD, headers={"content-type": "application/json"})

    model = OpenAiModel(Endpoint(url="http://h/v1", model="m"), transport=httpx.MockTransport(answer))
    assert await model.complete(ASK) == "yes"
    assert len(asked) == 2

    def never(request):
        asked.append(request)
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.")

    dead = OpenAiModel(Endpoint(url="http://h/v1", model="m"), transport=httpx.MockTransport(never))
    with pytest.raises(LanguageModelError):
        await dead.complete(ASK)
    assert len(asked) == 4
