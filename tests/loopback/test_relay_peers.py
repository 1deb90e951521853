"""A telephone that the harness does not control, impaired: baresip dials the relay."""

import asyncio
from pathlib import Path

import pytest

from sip_test_harness import ScriptedAgent
from sip_test_harness.profile import parse_profile
from sip_test_harness.relay import Relay
from sip_test_harness.rtp_statistics import measure_stream
from tests.loopback.peers import Baresip
from tests.loopback.test_bot_calls import padded

pytestmark = [pytest.mark.loopback, pytest.mark.peer]
PROFILE = parse_profile("lossy", "out:\n  - gilbert_elliott: {percent: 10, mean_burst_packets: 2}\n")
SAID = Path(__file__).parents[1] / "data/caller/my_balance.wav"


@pytest.mark.timeout(90)
async def test_baresip_is_impaired_by_the_relay(tmp_path):
    """The far end is called, hears words and keys, and a tenth of the packets is missing."""
    async with (
        ScriptedAgent() as agent,
        Relay(agent.uri, PROFILE, seed=3) as relay,
        Baresip(tmp_path, padded(SAID, tmp_path / "said.wav", before_s=0.5, after_s=30)) as phone,
    ):
        phone.type(f"/dial {relay.uri}\n")
        leg = await agent.wait_call()
        await phone.wait_for("Call established", 10)
        await leg.wait_bot_audible(15)
        phone.type("7")
        async with asyncio.timeout(20):
            while not leg.media.events.digits or len(leg.media.received) < 150:
                await asyncio.sleep(0.05)
        await leg.hang_up()
        await phone.wait_for("terminated", 10)
        assert len(relay.calls) == 1
    assert [press.digit for press in leg.media.events.digits] == ["7"]
    heard = measure_stream(leg.media.received)
    assert 2 < heard.loss_percent < 25, heard
    assert max(heard.loss_bursts) >= 2
