"""The person a bot hands over to: ``agent``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sip_test_harness.commands.app import app, show_progress


@app.command(
    epilog="""**Examples**

    sip-test-harness agent --port 5080

    sip-test-harness agent --port 5080 --status 486

    sip-test-harness agent --port 5080 --no-answer

    sip-test-harness agent --port 5080 --say hello.wav --hang-up-after-s 20
"""
)
def agent(
    *,
    port: Annotated[int, typer.Option(help="SIP port; 0 for any")] = 5080,
    status: Annotated[int, typer.Option(min=200, max=699, help="Final answer")] = 200,
    ring_ms: Annotated[float, typer.Option(min=0, help="Ring this long before it")] = 1000,
    no_answer: Annotated[bool, typer.Option("--no-answer", help="Let it ring for ever")] = False,
    say: Annotated[list[Path] | None, typer.Option(help="WAV to speak once answered")] = None,
    hang_up_after_s: Annotated[float, typer.Option(min=0, help="Then hang up")] = 60,
    calls: Annotated[int, typer.Option(min=1, help="Stop after this many calls")] = 100,
    limit_s: Annotated[float, typer.Option(min=1, max=86_400, help="Stop after this time")] = 3600,
) -> None:
    """Be a human agent's telephone: answer, be busy, reject, or let it ring."""
    from sip_test_harness.scripted_agent import AgentLeg, AgentOptions, ScriptedAgent
    from sip_test_harness.wav_file import read_wav

    clips = [read_wav(path) for path in say or []]
    show = show_progress(Console(stderr=True))

    async def talk(leg: AgentLeg) -> None:
        for clip in clips:
            await leg.say(clip)
        await leg.sleep(hang_up_after_s)

    async def serve() -> None:
        options = AgentOptions(
            port=port,
            status=status,
            ring_ms=None if no_answer else ring_ms,
            conversation=talk,
            hang_up_after=True,
        )
        async with ScriptedAgent(options) as running:
            show("agent", running.uri)
            known = 0
            loop = asyncio.get_running_loop()
            end_s = loop.time() + limit_s
            while loop.time() < end_s:
                await asyncio.sleep(0.2)
                for leg in running.legs[known:]:
                    leg.on_event = lambda event: show("call", f"{event.kind} {event.text}".strip())
                    show("call", f"from {leg.remote_address}")
                known = len(running.legs)
                if known >= calls and all(leg.state == "ended" for leg in running.legs):
                    return

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        show("agent", "stopped")
