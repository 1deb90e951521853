"""The A/B benchmark from start to end against a scripted peer."""

import sys
import textwrap

import numpy as np
import pytest

from tests.bench import peer

pytestmark = pytest.mark.loopback

# Answers 200 ms after the last loud message with a second of sound and falls silent 60 ms into an interruption.
SCRIPTED_PEER = """
    import asyncio, base64, json, sys
    from websockets.asyncio.server import serve

    async def call(socket):
        loud, quiet, bot_until = 0, 99, 0.0
        clock = asyncio.get_running_loop().time
        async for text in socket:
            message = json.loads(text)
            if message["event"] != "media":
                continue
            spoken = len(set(base64.b64decode(message["media"]["payload"]))) > 1
            loud, quiet = (loud + 1, 0) if spoken else (0, quiet + 1)
            if clock() < bot_until and loud == 3:
                bot_until = 0.0
                await socket.send(json.dumps({"event": "clear", "streamSid": "MZ1"}))
            if quiet == 10:
                bot_until = clock() + 3.0
                payload = base64.b64encode(bytes([0x10, 0x90]) * 12000).decode()
                await socket.send(json.dumps({"event": "media", "streamSid": "MZ1", "media": {"payload": payload}}))

    async def main():
        async with serve(call, "127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])) as server:
            await server.serve_forever()

    asyncio.run(main())
"""


async def test_a_scripted_peer_is_measured(tmp_path):
    """Its answer comes 200 ms after the words, its silence 60 ms into the interruption; rows name both."""
    script = tmp_path / "peer.py"
    script.write_text(textwrap.dedent(SCRIPTED_PEER))
    voice = np.tile([8000, -8000], 2400).astype(np.int16)
    async with peer.running_peer(str(script), sys.executable, []) as url:
        seen = await peer.stream_call(url, voice, voice)
    assert 150 < seen["onset_ms"] < 2000
    assert 20 < seen["stop_ms"] < 1800
    assert 150 < seen["second_onset_ms"] < 2000
    assert not seen["spoke_on"]
    table = peer.rows([{"who": peer.PEER, **seen, "late_ms": 0.0}])
    assert [r["figure"] for r in table][:2] == [
        "peer, WebSocket: calls",
        "peer, WebSocket: response onset p50",
    ]
