"""The network between caller and bot: ``profiles``, ``relay``, ``impair``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from sip_test_harness.commands.app import app
from sip_test_harness.errors import UsageError


@app.command(
    epilog="""**Examples**

    sip-test-harness profiles

    sip-test-harness call --script balance.yaml --profile mobile --seed 3

    sip-test-harness call --script balance.yaml --profile my-network.yaml
"""
)
def profiles() -> None:
    """List the impairment profiles and what they promise over a minute."""
    from rich.table import Table

    from sip_test_harness.profile import load_profile, profile_names

    table = Table()
    for title in ("profile", "loss %", "mean burst", "jitter ms", "what it is"):
        table.add_column(title)
    for name in profile_names():
        profile = load_profile(name)
        expect = profile.expect
        table.add_row(
            name,
            f"{expect.loss_percent:g}",
            f"{expect.mean_burst_packets:g}",
            f"{expect.jitter_ms:g}",
            profile.describes,
        )
    Console().print(table)


@app.command(
    epilog="""**Examples**

    sip-test-harness relay sip:bank@127.0.0.1:5060 --port 5070 --profile mobile --seed 3

    sipp -sn uac 127.0.0.1:5070 -m 10
"""
)
def relay(
    target: Annotated[str, typer.Argument(help="The bot: sip:user@host:port")],
    *,
    port: Annotated[int, typer.Option(help="SIP port that callers dial; 0 for any")] = 5070,
    profile: Annotated[str, typer.Option(help="Impairment of both directions")] = "none",
    seed: Annotated[int, typer.Option(help="Start of every random choice; call n adds n")] = 1,
    limit_s: Annotated[float, typer.Option(min=1, max=86_400, help="Stop after this time")] = 3600,
    json_file: Annotated[Path | None, typer.Option("--json", help="Measures of all calls")] = None,
    allow_network: Annotated[bool, typer.Option(help="Permit peers outside 127.0.0.0/8")] = False,
) -> None:
    """Stand between callers we do not control and the bot, and impair the media.

    Callers dial the relay; SIP passes with rewritten SDP. Ctrl-C or SIGTERM ends it.
    """
    from sip_test_harness.profile import load_profile
    from sip_test_harness.relay import Relay, relay_report

    console = Console(stderr=True, soft_wrap=True)
    chosen = load_profile(profile)
    measured: dict[str, object] = {}

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)  # a script cannot press Ctrl-C
        async with Relay(target, chosen, seed=seed, port=port, allow_network=allow_network) as running:
            console.print(Text(f"Callers dial {running.uri}; profile {profile}, seed {seed}"))
            known = 0
            end_s = loop.time() + limit_s
            try:
                while loop.time() < end_s and not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), min(0.5, end_s - loop.time()))
                    if len(running.calls) > known:
                        known = len(running.calls)
                        console.print(Text(f"{known} call(s) so far", style="dim"))
            finally:
                measured.update(relay_report(running))

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        console.print(Text("stopped"))
    text = json.dumps(measured, indent=1)
    if json_file is not None:
        json_file.write_text(text + "\n")
    else:
        print(text)


@app.command(
    epilog="""**Examples**

    sip-test-harness impair call.wav --profile wifi-bursty --seed 7 --out impaired.pcap

    sip-test-harness impair old.pcapng --loss 5 --burst 3 --jitter 30 --out impaired.pcap
"""
)
def impair(
    recording: Annotated[Path, typer.Argument(help=".wav, .pcap or .pcapng of one caller")],
    *,
    out: Annotated[Path, typer.Option(help="Capture to write")],
    profile: Annotated[str, typer.Option(help="A named profile or file")] = "none",
    loss: Annotated[float, typer.Option(help="Loss in %, instead of a profile")] = 0,
    burst: Annotated[float, typer.Option(help="Mean burst length in packets")] = 1,
    jitter: Annotated[float, typer.Option(help="Span of the uniform delay in ms")] = 0,
    seed: Annotated[int, typer.Option(help="Start of every random choice")] = 1,
    secret_keys: Annotated[
        str, typer.Option(help="Keys of a test account, for those that the recording redacts")
    ] = "",
) -> None:
    """Write what would arrive of a caller's packets, without a network or a clock.

    The same recording, profile and seed give the same file, byte for byte.
    """
    from sip_test_harness.offline import impaired_packets, write_impaired
    from sip_test_harness.profile import load_profile
    from sip_test_harness.recorded_caller import read_recordings, with_secret_keys
    from sip_test_harness.sweep import matrix, profile_of

    (cell,) = matrix([loss], [burst], [jitter])
    chosen = load_profile(profile) if profile != "none" else profile_of(cell)
    callers = read_recordings(recording)
    if len(callers) != 1:
        raise UsageError(f"{recording}: {len(callers)} callers; one is expected")
    caller = with_secret_keys(callers[0], secret_keys)
    sent, arrived = impaired_packets(caller, chosen, seed)
    write_impaired(out, arrived)
    print(f"{sent} packets sent, {len(arrived)} arrived: {out}")
