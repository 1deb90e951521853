"""Retransmission, digest, record-route and the command line's exit codes."""

import asyncio
import sys

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import (
    Caller,
    CallerOptions,
    CallFailedError,
    Credentials,
    ScriptedAgent,
    write_wav,
)
from sip_test_harness.sip_message import SipRequest, parse, response_to

pytestmark = pytest.mark.loopback


class LossyBot(LoopbackBot):
    """Loses the first INVITE and sends its 200 twice; optionally asks for a password."""

    def __init__(self, *, challenge=False, **changes):
        super().__init__(**changes)
        self.challenge, self.invites, self.acks, self.authorizations = challenge, 0, 0, []

    def on_sip(self, data, source, arrival_ns):
        message = parse(data)
        if isinstance(message, SipRequest) and message.method == "ACK":
            self.acks += 1
        if isinstance(message, SipRequest) and message.method == "INVITE":
            self.invites += 1
            if self.challenge:
                self.authorizations.append(message.get("authorization"))
                if not self.authorizations[-1]:
                    headers = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]
                    self.sip.send(
                        response_to(message, 401, "Unauthorized", to_tag="c", headers=headers).encode(),
                        source,
                    )
                    return
            elif self.invites == 1:
                return
            asyncio.get_running_loop().call_later(0.1, super().on_sip, data, source, arrival_ns)
        super().on_sip(data, source, arrival_ns)


async def test_a_lost_invite_is_sent_again_and_a_repeated_200_acknowledged_again():
    """The second INVITE (T1 later) is answered; two 200 bring two ACKs."""
    async with LossyBot() as bot, Caller(bot.uri, CallerOptions(limit_s=10)) as call:
        await call.invite()
        await call.sleep(0.3)
    assert bot.invites == 2
    assert bot.acks == 2
    assert call.measures().invite_to_200_ms >= 490


async def test_a_digest_challenge_is_answered_once():
    """401 brings a second INVITE with the answer and the next CSeq; the 401 is ACKed."""
    person = Credentials("alice", "secret")
    async with (
        LossyBot(challenge=True) as bot,
        Caller(bot.uri, CallerOptions(limit_s=10, credentials=person)) as call,
    ):
        assert (await call.invite()).status == 200
    assert bot.authorizations[0] == "" and 'username="alice"' in bot.authorizations[1]


async def test_without_credentials_the_challenge_is_the_answer():
    """401 without credentials is a failed call with that status."""
    async with LossyBot(challenge=True) as bot, Caller(bot.uri, CallerOptions(limit_s=10)) as call:
        with pytest.raises(CallFailedError) as caught:
            await call.invite()
    assert caught.value.status == 401


class CrossingBot(LossyBot):
    """Answers an INVITE with 200 only when its CANCEL arrives: the two cross."""

    def on_sip(self, data, source, arrival_ns):
        message = parse(data)
        if isinstance(message, SipRequest) and message.method == "INVITE":
            self.held = (data, source, arrival_ns)
            self.sip.send(response_to(message, 180, "Ringing", to_tag="b0t").encode(), source)
            return
        if isinstance(message, SipRequest) and message.method == "CANCEL":
            LoopbackBot.on_sip(self, *self.held)
        LoopbackBot.on_sip(self, data, source, arrival_ns)


async def test_a_200_that_crosses_the_cancel_is_acknowledged_and_hung_up():
    """The caller gives up, the answer comes nevertheless: ACK and BYE leave no call behind."""
    async with CrossingBot() as bot, Caller(bot.uri, CallerOptions(limit_s=10)) as call:
        with pytest.raises(CallFailedError):
            await call.invite(timeout_s=0.2)
        assert bot.acked
        methods = [message.method for message in bot.sip_log if isinstance(message, SipRequest)]
    assert methods[-2:] == ["ACK", "BYE"]


async def test_the_limit_of_the_call_also_ends_its_ringing():
    """A caller of 0.4 s does not ring for the 32 s of the INVITE's own limit."""
    from sip_test_harness import AgentOptions

    async with (
        ScriptedAgent(AgentOptions(ring_ms=None)) as agent,
        Caller(agent.uri, CallerOptions(limit_s=0.4)) as call,
    ):
        with pytest.raises(CallFailedError):
            await asyncio.wait_for(call.invite(), 5)
    assert agent.cancelled == 1


async def test_a_mistake_in_an_agents_conversation_is_raised():
    """A ValueError in the test's own conversation does not vanish."""
    from sip_test_harness import AgentOptions

    async def wrong(leg):
        raise ValueError("mistake")

    async def place_call():
        async with (
            ScriptedAgent(AgentOptions(ring_ms=0, conversation=wrong)) as agent,
            Caller(agent.uri, CallerOptions(limit_s=5)) as call,
        ):
            await call.invite()
            await call.sleep(0.1)

    with pytest.raises(ValueError, match="mistake"):
        await place_call()


async def run_command(monkeypatch, capsys, *arguments):
    """Run the command in a thread, beside the test's own event loop; return exit code and output."""
    from sip_test_harness.cli import main

    monkeypatch.setattr(sys, "argv", ["sip-test-harness", *map(str, arguments)])

    def call_main():
        try:
            main()
        except SystemExit as ended:
            return ended.code

    code = await asyncio.to_thread(call_main)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


async def test_the_command_passes_and_leaves_its_files(tmp_path, monkeypatch, capsys):
    """A call that goes well exits 0 with the three files; its transcript is printed."""
    write_wav(tmp_path / "hi.wav", (6000 * np.sin(np.arange(2400) * 0.3)).astype(np.int16))
    async with LoopbackBot(hang_up_after=1) as bot:
        code, text = await run_command(
            monkeypatch,
            capsys,
            "call",
            bot.uri,
            "-t",
            f"say={tmp_path / 'hi.wav'}",
            "-t",
            "expect_hang_up_s=5",
            "--silence-ms",
            "350",
            "--out",
            tmp_path / "out",
            "--limit-s",
            "15",
        )
    assert code == 0, text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json",
        "call.wav",
        "call.pcap",
    }
    assert "response onset" in text and "Passed" in text


@pytest.mark.parametrize(
    "arguments",
    [
        "call",
        "call tel:1",
        "call sip:a@192.0.2.1",
        "nonsense",
        "call --script none.yaml",
        "call x --codec g729",
        "run none.yaml",
        "relay tel:1",
        "call sip:a@127.0.0.1 --profile fog",
    ],
)
def test_wrong_usage_exits_2_with_one_sentence(arguments, monkeypatch, capsys):
    """No target, a wrong one, a forbidden one, an unknown command, a missing script, and more."""
    from sip_test_harness.cli import main

    monkeypatch.setattr(sys, "argv", ["sip-test-harness", *arguments.split()])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err


async def test_a_refused_call_exits_1(monkeypatch, capsys):
    """A target that refuses (486 by an agent that takes no calls) exits 1."""
    from sip_test_harness import AgentOptions

    async with ScriptedAgent(AgentOptions(max_calls=0)) as agent:
        code, text = await run_command(monkeypatch, capsys, "call", agent.uri)
    assert code == 1 and "486" in text
