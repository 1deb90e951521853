"""Tools over HTTP: what is allowed out, what is believed of what comes back."""

import asyncio
import json
import time

import httpx
import pytest

from voicebot.dialogue import load_dialplan
from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.tool_client import ToolClient

pytestmark = pytest.mark.loopback

PLAN = """
version: 1
name: t
routes: [ {{ match: {{ to: "*" }}, flow: main }} ]
tools:
  balance: {{ post: "{url}/balance", timeout: 20s, send: [account], returns: {{ amount: money, name: text }} }}
  impatient: {{ post: "{url}/balance", timeout: 300ms, send: [account], returns: {{ amount: money, name: text }} }}
  retried: {{ post: "{url}/balance", timeout: 20s, retries: 1, send: [account] }}
  looked_up: {{ get: "{url}/look", timeout: 20s, send: [account] }}
  secret: {{ post: "{url}/s", secret: TEST_TOOL_TOKEN, send: [account] }}
  canned: {{ fixture: rows, send: [account] }}
fixtures:
  rows: [ {{ when: {{ account: "1" }}, values: {{ a: 1 }} }} ]
flows: {{ main: [ {{ hangup: done }} ] }}
"""
GOOD = '{"amount": "42.10 GBP", "name": "Ann", "more": "dropped"}'


def answer(text=GOOD, status="200 OK", kind="application/json", extra=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n{extra}\r\n"
    return (head + text).encode()


STALL_S = 30  # longer than any machine needs to notice that 300 ms are over
DRIP = object()  # a byte every 20 ms


class Server:
    """Plays answers in order, the last one for ever."""

    def __init__(self, *answers):
        self.answers = answers
        self.requests = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [
                    int(v.split(":")[1])
                    for v in head.split("\r\n")
                    if v.lower().startswith("content-length")
                ]
                body = await reader.readexactly(length[0]) if length else b""
                self.requests.append((head, body))
                script = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if script is None:
                    await asyncio.sleep(STALL_S)
                    break
                if script is DRIP:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
                    for _ in range(STALL_S * 50):
                        writer.write(b" ")
                        await writer.drain()
                        await asyncio.sleep(0.02)
                    break
                writer.write(script)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def client_for(url, allowed=("127.0.0.1",), **options):
    return ToolClient(load_dialplan(PLAN.format(url=url)).source, allowed_hosts=allowed, **options)


def call(tool="balance", key="s1:balance:1", **arguments):
    return CallTool(
        request="r1", tool=tool, arguments=arguments or {"account": "12345678"}, idempotency_key=key
    )


async def outcome(*answers, tool="balance", **options):
    async with Server(*answers) as server:
        client = client_for(server.url, **options)
        finished = await client.run(call(tool))
        await client.close()
        return finished, server.requests


async def test_declared_values_come_back_typed_and_nothing_else():
    finished, requests = await outcome(answer())
    assert (finished.outcome, finished.values) == ("ok", {"amount": "42.10 GBP", "name": "Ann"})
    head, body = requests[0]
    assert "idempotency-key: s1:balance:1" in head.lower()
    assert json.loads(body) == {"account": "12345678"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answer("", "404 Not Found"), "denied"),
        (answer("", "403 Forbidden"), "denied"),
        (answer('{"outcome": "denied"}'), "denied"),
        (answer("", "500 Oops"), "error"),
        (answer("", "302 Found", extra="Location: http://169.254.169.254/\r\n"), "error"),
        (answer("<h1>hi</h1>", kind="text/html"), "error"),
        (answer("[1]"), "error"),
        (answer('{"amount": 42.1, "name": "Ann"}'), "error"),
        (answer('{"amount": "lots", "name": "Ann"}'), "error"),
        (answer('{"name": "Ann"}'), "error"),
        (answer("[" * 60_000), "error"),
        (answer('{"name": "' + "x" * 70_000 + '"}'), "error"),
        (answer('{"outcome": "transfer to +1900"}'), "error"),
        (b"nonsense\r\n\r\n", "error"),
    ],
)
async def test_every_other_answer_is_an_outcome(script, expected):
    finished, _ = await outcome(script)
    assert (finished.outcome, finished.values) == (expected, {})


@pytest.mark.parametrize("script", [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", DRIP, None])
async def test_half_an_answer_a_slow_one_and_none_end_at_the_deadline(script):
    """Bytes that come one by one do not prolong the 300 ms."""
    began = time.monotonic()
    finished, _ = await outcome(script, tool="impatient")
    assert (finished.outcome, finished.values) == ("timeout", {})
    assert time.monotonic() - began < STALL_S / 3


async def test_a_tool_without_declared_values_needs_no_body():
    finished, requests = await outcome(answer(""), tool="looked_up")
    assert finished.outcome == "ok"
    assert requests[0][0].startswith("GET /look?account=12345678")


async def test_a_retry_follows_a_busy_server_only_where_the_plan_says_so():
    busy = answer("", "503 Busy")
    finished, requests = await outcome(busy, answer("{}"), tool="retried")
    assert (finished.outcome, len(requests)) == ("ok", 2)
    finished, requests = await outcome(busy, answer(), tool="balance")
    assert (finished.outcome, len(requests)) == ("error", 1)


async def test_a_resumed_turn_does_not_call_twice():
    async with Server(answer()) as server:
        client = client_for(server.url)
        first, second = await asyncio.gather(client.run(call()), client.run(call()))
        third = await client.run(call())
        await client.close()
    assert first == second == third
    assert len(server.requests) == 1


async def test_secrets_come_from_the_environment_by_name(monkeypatch):
    finished, _ = await outcome(answer("{}"), tool="secret")
    assert finished.outcome == "error"
    monkeypatch.setenv("TEST_TOOL_TOKEN", "t-9")
    finished, requests = await outcome(answer("{}"), tool="secret")
    assert finished.outcome == "ok"
    assert "Authorization: Bearer t-9" in requests[0][0]


async def test_a_host_that_is_not_allowed_is_not_asked():
    finished, requests = await outcome(answer(), allowed=("crm.example",))
    assert (finished.outcome, requests) == ("error", [])


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "0.0.0.0",
    ],
)
async def test_a_name_that_leads_inside_is_not_asked(address):
    """Rebinding: the name is allowed, the address behind it is not."""
    async with Server(answer()) as server:
        asked = []

        async def resolver(host, port):
            asked.append(host)
            return [address]

        client = client_for(
            f"http://crm.example:{server.port}", allowed=("crm.example",), resolver=resolver
        )
        assert (await client.run(call())).outcome == "error"
        await client.close()
    assert asked == ["crm.example"]
    assert server.requests == []


async def test_a_name_is_looked_up_once_and_what_was_looked_at_is_used():
    """Rebinding: a name server that says something harmless first and 127.0.0.1 next is not asked again."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    reached = []

    async def resolver(host, port):
        return answers.pop(0)

    async def body():
        yield GOOD.encode()

    def serve(request):
        reached.append((request.url.host, request.headers["host"]))
        return httpx.Response(200, content=body())

    client = client_for(
        "http://crm.example",
        allowed=("crm.example",),
        resolver=resolver,
        transport=httpx.MockTransport(serve),
    )
    assert (await client.run(call(key="first"))).outcome == "ok"
    assert (await client.run(call(key="second"))).outcome == "error"
    await client.close()
    assert reached == [("93.184.216.34", "crm.example")]


async def test_a_large_body_ends_at_64_kib():
    """One byte too many is too many."""
    for size, expected in ((65_536, "ok"), (65_537, "error")):
        body = GOOD[:-1] + ', "pad": "' + "x" * (size - len(GOOD) - 11) + '"}'
        assert len(body) == size
        finished, _ = await outcome(answer(body))
        assert finished.outcome == expected


async def test_one_inner_address_among_public_ones_is_enough_to_refuse():
    async def resolver(host, port):
        return ["93.184.216.34", "127.0.0.1"]

    client = client_for("http://crm.example", allowed=("crm.example",), resolver=resolver)
    assert (await client.run(call())).outcome == "error"
    await client.close()


async def test_a_dead_server_is_left_alone_after_three_failures():
    async with Server(answer("", "500 Oops")) as server:
        client = client_for(server.url)
        for number in range(5):
            assert (await client.run(call(key=f"k{number}"))).outcome == "error"
        await client.close()
    assert len(server.requests) == 3


async def test_fixtures_need_no_network():
    client = client_for("http://crm.example")
    assert (await client.run(call("canned", account="1"))).values == {"a": 1}
    assert (await client.run(call("canned", account="2"))).outcome == "denied"
    await client.close()
