"""The ``voicebot`` command."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from voicebot.config.load import load_settings
from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError, VoicebotError

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="voicebot",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""A voice bot for the telephone.

    Examples:

      voicebot serve                                   the whole bot, bank sample, 127.0.0.1:5060

      VOICEBOT_SIP__PORT=5070 voicebot serve           any setting by environment

      voicebot doctor                                  what is installed and what is missing

      voicebot dialplan check dialplans/bank.yaml      mistakes with file, line and column

      voicebot calls list                              the last calls; show, trace, export, purge, erase

      voicebot rca CALL                                which stage made a call slow

      voicebot support-bundle                          for whoever helps; no secrets, no callers
    """,
)

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="YAML settings file.")]


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(config)
    except ConfigError as error:
        print(f"voicebot: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from error


def _start(settings: Settings, program: str) -> None:
    from voicebot.telemetry.log import configure_logging

    configure_logging(settings.log, program=program)


@app.command()
def serve(
    config: ConfigOption = None,
    calls: Annotated[
        int | None,
        typer.Option("--calls", min=1, max=400, help="Calls at the same time (setting scale.calls)."),
    ] = None,
) -> None:
    """Run the whole bot. Ctrl-C lets calls finish, a second one ends them.

    More than 4 calls need Kamailio (apt-get install kamailio), which is configured and started in front.
    """
    from voicebot.telemetry.metrics_folder import share_metrics

    settings = _settings(config)
    if calls is not None:
        scale = settings.scale.model_copy(update={"calls": calls})
        settings = settings.model_copy(update={"scale": scale})
    _start(settings, "serve")
    try:
        share_metrics(settings.data_dir)  # before anything counts
    except OSError as error:
        print(f"voicebot: data_dir {settings.data_dir}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error
    from voicebot.supervise.serve import serve as run

    sip = settings.sip
    text = f"ready: call sip:bank@{sip.host}:{sip.port}   ('make call' in a second terminal places one)"
    if settings.console.enabled:
        from voicebot.console.tokens import invitation

        text += f"\n{invitation(settings, to_a_person=sys.stdout.isatty())}"
    try:
        status = asyncio.run(run(settings, config, ready_text=text))
    except ConfigError as error:
        print(f"voicebot serve: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from error
    raise typer.Exit(status)


@app.command()
def front(config: ConfigOption = None) -> None:
    """Run Kamailio in front of the edges named by scale.edges, which may be on other machines."""
    from voicebot.supervise.serve import serve_front

    settings = _settings(config)
    _start(settings, "front")
    try:
        status = asyncio.run(serve_front(settings))
    except ConfigError as error:
        print(f"voicebot front: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from error
    raise typer.Exit(status)


@app.command()
def restart_workers(config: ConfigOption = None) -> None:
    """Restart all workers of the running bot, one after the other; calls go on unheard."""
    import os
    import signal

    from voicebot.supervise.serve import running_supervisor

    try:
        pid = running_supervisor(_settings(config).data_dir)
    except ConfigError as error:
        print(f"voicebot restart-workers: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error
    os.kill(pid, signal.SIGHUP)
    print(f"asked {pid}; its log says workers_restarted when all are new")


@app.command()
def edge(config: ConfigOption = None) -> None:
    """Run one edge: SIP and RTP of at most four calls, worker elsewhere."""
    from voicebot.edge.main import run_edge

    settings = _settings(config)
    _start(settings, "edge")
    asyncio.run(run_edge(settings))


@app.command()
def worker(config: ConfigOption = None) -> None:
    """Run one worker: hears, decides and speaks for the edges that connect to its link port."""
    from voicebot.worker.main import run_worker

    settings = _settings(config)
    _start(settings, "worker")
    try:
        asyncio.run(run_worker(settings))
    except VoicebotError as error:
        print(f"voicebot worker: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error


@app.command()
def offline(
    config: ConfigOption = None,
    asr_ms: Annotated[int, typer.Option(min=0, help="A final result takes so long.")] = 5,
    tts_ms: Annotated[int, typer.Option(min=0, help="The first audio of a text takes so long.")] = 10,
    tool_ms: Annotated[int, typer.Option(min=0, help="A tool or the router takes so long.")] = 5,
) -> None:
    """Serve calls on virtual time through standard input and output, for the test harness."""
    import os

    from voicebot.offline.engines import Latencies, OfflineBot
    from voicebot.offline.pipe import PipeServer

    settings = _settings(config)
    _start(settings, "offline")
    # Whatever a native library prints must not come between the messages.
    write = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        bot = OfflineBot(settings, Latencies(asr_ms, tts_ms, tool_ms))
    except VoicebotError as error:
        print(f"voicebot offline: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error
    PipeServer(bot, sys.stdin.buffer, write).serve()
    bot.close()


@app.command()
def doctor(config: ConfigOption = None) -> None:
    """Say what is installed, what is missing and what to do; fails when calls cannot be answered."""
    from rich.console import Console
    from rich.table import Table

    from voicebot.doctor import examine

    settings = _settings(config)
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    failed = False
    for finding in examine(settings):
        failed |= finding.verdict == "missing"
        verdict = f"[{colours[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(verdict, finding.subject, finding.detail, finding.advice)
    Console().print(table)
    raise typer.Exit(EXIT_FAILED if failed else 0)


@app.command()
def settings(config: ConfigOption = None) -> None:
    """Print all settings with their values, as YAML that can be edited and given to --config."""
    import io

    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML().dump(_settings(config).model_dump(mode="json"), stream)
    print(stream.getvalue(), end="")


@app.command()
def rca(
    call: Annotated[str, typer.Argument(metavar="CALL", help="Call id, session id or SIP Call-ID.")],
    config: ConfigOption = None,
) -> None:
    """Say what made a call slow or end badly: the stage that overspent, the line, the end.

    Example: voicebot rca c1a2b3

    Exit status: 0 nothing found, 3 something found, 1 no such call.
    """
    from voicebot.session.cli import explain

    explain(call, config)


@app.command("support-bundle")
def support_bundle(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="ZIP file to write.")] = None,
    log: Annotated[Path | None, typer.Option("--log", help="The bot's log, JSON lines.")] = None,
) -> None:
    """Pack what somebody needs to help: versions, settings, metrics, times of calls; no secrets.

    Example: voicebot support-bundle --log /var/log/voicebot.jsonl
    """
    from voicebot.support_bundle import default_name, write_bundle

    target = out or Path(default_name())
    try:
        names = write_bundle(_settings(config), target, log_file=log)
    except OSError as error:
        print(f"voicebot: {target}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error
    print(f"{target}: {', '.join(names)}")


def main() -> None:
    """Entry point of the ``voicebot`` command."""
    groups = {
        "dialplan": ("voicebot.dialogue.cli", "Check, test, try and draw dialplans."),
        "asr": ("voicebot.asr.cli", "Try and measure the recogniser."),
        "tts": ("voicebot.tts.cli", "Try and calibrate voices."),
        "console": ("voicebot.console.cli", "Run the web console."),
        "calls": ("voicebot.session.cli", "Finished calls: list, show, trace, export, purge, erase."),
        "handoff": ("voicebot.handoff.cli", "Follow handoffs in the terminal."),
    }
    own = {command.callback.__name__ for command in app.registered_commands if command.callback}
    if not own.intersection(sys.argv[1:2]):  # an edge must not load the dialogue and the voices
        for name, (module, text) in groups.items():
            app.add_typer(importlib.import_module(module).app, name=name, help=text)
        from voicebot.console.audit import erase_acts
        from voicebot.handoff.erasure import erase_handoffs
        from voicebot.session import cli as calls

        calls.also_erase.update(handoffs=erase_handoffs, console_acts=erase_acts)
    app()


if __name__ == "__main__":
    main()
