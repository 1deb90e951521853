"""Calls during which processes are killed: a dialplan, a tool that counts, callers, and what must hold."""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path

from sip_test_harness import Caller, CallerOptions
from tests.loopback.bot_program import running_bot

ORDERS = ("1357", "2468", "9081")
STEADY_LOOKS = 4
DOUBT = "Nobody knows whether it is booked."
STUB = {"asr__engine": "fake", "tts__engine": "tone", "sip__max_half_open_per_source": 4}
PLAN = """
version: 1
name: takeover
locale: en-GB
timezone: Europe/London
routes: [{ match: { to: ["*"] }, flow: main }]
defaults:
  no_input: { timeout: 60s, retries: 2, say: ["Please key it in.", "Four digits."], then: { hangup: no_input } }
  no_match: { retries: 2, say: ["Four digits, please.", "Four digits."], then: { hangup: no_match } }
  dtmf: { inter_digit: 20s }
  budget: { filler_after: 20s }
  on_error: { say: "Error.", then: { hangup: error } }
slots:
%(slots)s
tools:
%(tools)s
flows:
  main:
    - say: "Welcome to the test of a call that changes its worker. Four digits follow, three times."
%(steps)s
    - say: "All done."
      hangup: completed
"""


def plan(port, *, repeatable=False):
    """The dialplan: collect four digits, book them with a tool, and again."""
    key = ", idempotency: call_id" if repeatable else ""
    names = [f"order{n}" for n in range(len(ORDERS))]
    return PLAN % {
        "slots": "\n".join(
            f'  {n}: {{ type: digits, length: 4, input: [dtmf], ask: "Four digits, please." }}'
            for n in names
        ),
        "tools": "\n".join(
            f'  book_{n}: {{ post: "http://127.0.0.1:{port}/book", timeout: 20s, send: [{n}]{key}, '
            "returns: { number: text } }"
            for n in names
        ),
        "steps": "\n".join(
            f"    - collect: {n}\n    - call: book_{n}\n      result:\n"
            f'        ok: {{ say: "Your order {{{{ {n} | spell }}}} is booked." }}\n'
            f'        error: {{ say: "{DOUBT}" }}'
            for n in names
        ),
    }


class Booking:
    """The tool: counts what it is asked to book, by idempotency key."""

    def __init__(self, delay_s=0.02):
        self.asked = []
        self._delay_s = delay_s
        self._server = None

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                fields = dict(
                    line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                )
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                self.asked.append((fields["idempotency-key"], *body.values()))
                await asyncio.sleep(self._delay_s)
                answer = b'{"number": "7"}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def takeover_bot(folder, booking, *, repeatable=False, **settings):
    """A bot with two workers, the plan above and stub engines."""
    path = folder / "takeover.yaml"
    path.write_text(plan(booking.port, repeatable=repeatable))
    allowed = f"127.0.0.1:{booking.port}"
    async with running_bot(
        folder / "data", dialplan=path, tools__allowed_hosts=allowed, **{**STUB, **settings}
    ) as bot:
        await bot.wait_event("worker_ready", 2, limit_s=240)
        yield bot


async def ordering_call(bot, orders=ORDERS, *, limit_s=240, at_key=None, user="caller"):
    """One caller who keys in all orders and is hung up on; returns the harness's call."""
    async with Caller(bot.uri, CallerOptions(limit_s=limit_s, user=user)) as call:
        await call.invite()
        for order in orders:
            await call.wait_bot_audible(60)
            await call.wait_bot_silent(400, timeout_s=60)
            for digit in order:
                await call.press(digit)
            if at_key is not None:
                await at_key(call)
        await call.wait_ended(60)
        return call


def serving_pid(bot, sip_call_id=""):
    """Process id of the worker that took a call last (all calls: the newest one)."""
    sessions = {
        e["call_id"] for e in bot.events("call_incoming") if sip_call_id in ("", e["sip_call_id"])
    }
    taken = [e["pid"] for e in bot.events("call_started") if e["call_id"] in sessions]
    return taken[-1] if taken else None


def busy_pids(bot):
    """Process ids of the workers that have a call now, those that hang left out."""
    ended = {e["call_id"] for e in (*bot.events("call_ended"), *bot.events("call_closed"))}
    has = {e["call_id"]: e["pid"] for e in bot.events("call_started") if e["call_id"] not in ended}
    return sorted(pid for pid in set(has.values()) if works(pid))


async def two_workers_ready(bot, limit_s=240):
    """Until every worker that was begun is ready: the next one may be killed."""
    looks = 0
    async with asyncio.timeout(limit_s):
        while looks < STEADY_LOOKS:
            working = sum(works(event["pid"]) for event in bot.events("worker_ready"))
            looks = looks + 1 if working >= 2 else 0  # one that is being killed runs for a moment
            await asyncio.sleep(0.1)


def works(pid):
    """Whether a process is there and not stopped: a hung worker is found out seconds later."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "TtZX"


def kill(pid, how):
    """SIGKILL, or SIGSTOP (the supervisor kills it seconds later)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)


def problems(call, record, booking, session_id, *, orders=ORDERS, repeatable=False):
    """What must hold for a call that changed its worker, as sentences; none when all does."""
    found = []
    measures = call.measures()
    if not all(stream.contiguous for stream in measures.bot_streams) or len(measures.bot_streams) != 1:
        found.append("RTP sequence or timestamps not contiguous")
    if record["reason"] != "completed":
        found.append(f"ended with {record['reason']!r}")
    keys = Counter(key for key, *_ in booking.asked if key.startswith(session_id))
    booked = [order for key, order in dict(booking.asked).items() if key.startswith(session_id)]
    missing = Counter(orders) - Counter(booked)
    # A tool without idempotency is called at most once: who died between the claim and the call leaves a doubt,
    # which the caller is told of.
    doubts = 0 if repeatable else sum(DOUBT in line["text"] for line in record["transcript"])
    if missing.total() > doubts or Counter(booked) - Counter(orders):
        found.append(f"booked {booked}")
    if not repeatable and any(count > 1 for count in keys.values()):
        found.append(f"a tool was called twice: {keys}")
    said = [line["text"] for line in record["transcript"] if line["who"] == "caller"]
    if said != list(orders):
        found.append(f"the caller's turns are {said}")
    bot = [line["text"] for line in record["transcript"] if line["who"] == "bot"]
    if len(bot) != 1 + len(orders):
        found.append(f"the bot's turns are {bot}")
    return found
