"""The edge in front of a bot that speaks the Media Streams dialect and knows nothing of ours."""

import asyncio
import base64
import json

import pytest
from websockets.asyncio.server import serve

from tests.loopback.edge_program import EdgeProgram
from tests.loopback.raw_sip_caller import Caller

pytestmark = pytest.mark.loopback


async def test_foreign_bot_answers_hears_speaks_and_hangs_up():
    """The dialect's messages only: connected, start, media in; media, clear, mark out; closing hangs up."""
    program = EdgeProgram(link={"dialect": "media-streams"})
    got: list[dict] = []
    hang_up = asyncio.Event()

    async def bot(connection):
        async for text in connection:
            message = json.loads(text)
            got.append(message)
            if message["event"] == "start":
                sid = message["start"]["streamSid"]
                audio = base64.b64encode(b"\x29" * 1600).decode()
                await connection.send(
                    json.dumps({"event": "media", "streamSid": sid, "media": {"payload": audio}})
                )
                await connection.send(
                    json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "m1"}})
                )
            if message["event"] == "dtmf":
                hang_up.set()
                await connection.close()

    try:
        async with serve(bot, "127.0.0.1", program.worker_port), Caller(program.server) as caller:
            assert (await caller.call()).code == 200
            await caller.talk(10, b"\x37" * 160)
            await caller.wait(lambda: sum(p.payload == b"\x29" * 160 for p in caller.rtp) == 10)
            await caller.wait(lambda: any(m["event"] == "mark" for m in got), what="mark")
            heard = [m for m in got if m["event"] == "media"]
            assert base64.b64decode(heard[0]["media"]["payload"]) == b"\x37" * 160
            caller.press("3")
            await caller.wait_request("BYE")
            assert hang_up.is_set()
            assert not program.events("worker_lost"), "nobody was to be found after a hang-up"
            assert sum(m["event"] == "start" for m in got) == 1
            assert [m["event"] for m in got][:2] == ["connected", "start"]
            assert next(m for m in got if m["event"] == "dtmf")["dtmf"]["digit"] == "3"
    finally:
        assert program.stop() == 0
