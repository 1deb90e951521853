"""The hostile-input generators: bounded, seeded, and survived by the harness' own parties."""

import io
import tarfile

import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import Caller, CallerOptions, ScriptedAgent, UsageError
from sip_test_harness.sip_message import parse
from sip_test_harness.torture import (
    fresh_call_id,
    hostile_sdp,
    malformed_rtcp,
    malformed_rtp,
    mutated_sdp,
    mutated_sip,
    read_torture_messages,
    send_datagrams,
    spray_rtp,
    valid_invite,
)

HERE, THERE = ("127.0.0.1", 40000), ("127.0.0.1", 40001)


def test_generators_repeat_with_their_seed():
    """The same seed gives the same bytes, another seed others, and the count is exact."""
    for make in (malformed_rtp, malformed_rtcp, mutated_sdp):
        assert list(make(50, 3)) == list(make(50, 3))
        assert list(make(50, 3)) != list(make(50, 4))
    assert len(list(mutated_sip(40, 1, HERE, THERE))) == 40


def test_messages_are_read_from_tar_and_folder(tmp_path):
    """Both sources give the same messages by name; anything else is a usage error."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dat").write_bytes(b"INVITE")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        info = tarfile.TarInfo("x/a.dat")
        info.size = 6
        archive.addfile(info, io.BytesIO(b"INVITE"))
    assert (
        read_torture_messages(tmp_path / "in")
        == read_torture_messages(tmp_path / "t.tar")
        == {"a": b"INVITE"}
    )
    with pytest.raises(UsageError):
        read_torture_messages(tmp_path / "in" / "a.dat")


def test_a_fresh_call_id_replaces_the_old_one():
    """The message stays valid and its Call-ID differs."""
    import random

    invite = valid_invite(HERE, THERE, random.Random(1))
    changed = parse(fresh_call_id(invite))
    assert changed.call_id != parse(invite).call_id
    assert changed.body == parse(invite).body
    assert len(hostile_sdp()) >= 10


@pytest.mark.loopback
async def test_the_agent_survives_mutations_and_takes_the_next_call():
    """300 damaged messages from one socket, then a normal call is answered."""
    async with ScriptedAgent() as agent:
        address = agent.endpoint.address
        result = await send_datagrams(
            mutated_sip(300, 5, address, HERE), address, per_second=1000, linger_s=0.1
        )
        assert result.sent == 300
        for leg in agent.legs:
            leg.end("harness", "test")
        async with Caller(agent.uri, CallerOptions(limit_s=10)) as call:
            assert (await call.invite()).status == 200


@pytest.mark.loopback
async def test_a_spray_is_counted_by_its_victim():
    """Packets of a stranger reach the RTP port and are counted as foreign; none comes back."""
    async with LoopbackBot() as bot, Caller(bot.uri, CallerOptions(limit_s=10)) as call:
        await call.invite()
        back = await spray_rtp(call.media.address, packets=40, per_second=800)
        for data in malformed_rtp(50, 1):
            call.media.send_raw(data)
        await call.wait_bot_silent(300)
    assert back == 0
    assert call.measures().foreign_packets == 40
