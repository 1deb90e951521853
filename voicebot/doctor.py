"""``voicebot doctor``: what is installed, what is missing, and what to do about it."""

import asyncio
import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from voicebot.config.settings import Settings
from voicebot.core.errors import VoicebotError

Verdict = Literal["ok", "warning", "missing"]
MIN_FREE_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``advice`` is a sentence that says what to do."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything that the bot needs, cheapest first; never raises."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _signalling,
        _sip_port,
        _link_port,
        _web_ports,
        _fleet,
        _passwords,
        _data_dir,
        _detector,
        _recogniser,
        _voice,
        _last_resort,
        _dialplan,
        _language_model,
    )
    for check in checks:
        try:
            yield check(settings)
        except (VoicebotError, OSError, ImportError) as error:
            yield Finding(check.__name__.strip("_"), "missing", str(error), "see the message")


def _python(_: Settings) -> Finding:
    version = ".".join(str(v) for v in sys.version_info[:3])
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding(
        "python", "ok" if good else "missing", version, "" if good else "use Python 3.11 or 3.12"
    )


def _signalling(_: Settings) -> Finding:
    import voicebot.edge.sip_agent  # noqa: F401  that it loads is the finding

    return Finding("sip library", "ok", f"pjsua2 {importlib.metadata.version('pjsua2-python')}")


def _free(host: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _sip_port(settings: Settings) -> Finding:
    sip = settings.sip
    if _free(sip.host, sip.port, socket.SOCK_DGRAM):
        return Finding("sip port", "ok", f"{sip.host}:{sip.port}/udp is free")
    advice = "stop the other program, or set VOICEBOT_SIP__PORT; fine when the bot is running"
    return Finding("sip port", "warning", f"{sip.host}:{sip.port}/udp is taken", advice)


def _link_port(settings: Settings) -> Finding:
    link = settings.link
    if _free(link.host, link.port, socket.SOCK_STREAM):
        return Finding("link port", "ok", f"{link.host}:{link.port}/tcp is free")
    advice = "stop the other program, or set VOICEBOT_LINK__PORT; fine when the bot is running"
    return Finding("link port", "warning", f"{link.host}:{link.port}/tcp is taken", advice)


def _web_ports(settings: Settings) -> Finding:
    wanted = [(settings.metrics.host, settings.metrics.port, "metrics.port")] * (
        settings.metrics.port > 0
    )
    if settings.console.enabled:
        wanted.append((settings.console.host, settings.console.port, "console.port"))
    taken = [
        f"{host}:{port}/tcp ({key})"
        for host, port, key in wanted
        if not _free(host, port, socket.SOCK_STREAM)
    ]
    if taken:
        advice = "stop the other program, or set another port; fine when the bot is running"
        return Finding("web ports", "warning", f"taken: {', '.join(taken)}", advice)
    free = ", ".join(f"{host}:{port}" for host, port, _ in wanted) or "none"
    return Finding("web ports", "ok", f"{free} (metrics, console)")


def _fleet(settings: Settings) -> Finding:
    from voicebot.supervise.fleet import plan_fleet
    from voicebot.supervise.front import find_kamailio

    fleet = plan_fleet(settings)
    detail = f"for {settings.scale.calls} calls: edges {len(fleet.edges)}, workers {len(fleet.workers)}"
    if fleet.needs_front:
        detail += f", {find_kamailio(settings.scale.front_program)} in front"
    return Finding("processes", "ok", detail)


def _passwords(settings: Settings) -> Finding:
    sip = settings.sip
    wanted = [user.password_env for user in sip.digest_users]
    if sip.registration.registrar:
        wanted.append(sip.registration.password_env)
    missing = sorted({name for name in wanted if not os.environ.get(name)})
    if missing:
        advice = "set them in the environment of 'voicebot serve' (systemd: EnvironmentFile)"
        return Finding("passwords", "missing", f"no value in {', '.join(missing)}", advice)
    return Finding("passwords", "ok", f"{len(wanted)} wanted, all there" if wanted else "none wanted")


def _data_dir(settings: Settings) -> Finding:
    path = settings.data_dir
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        return Finding("data directory", "missing", f"{path} cannot be written", "set VOICEBOT_DATA_DIR")
    free = shutil.disk_usage(path).free
    verdict: Verdict = "ok" if free > MIN_FREE_BYTES else "warning"
    advice = "" if verdict == "ok" else "recordings need 1.9 MB a minute: make room"
    return Finding("data directory", verdict, f"{path}, {free / 1e9:.1f} GB free", advice)


def _detector(_: Settings) -> Finding:
    from voicebot.turn.voice_activity import VoiceActivity

    VoiceActivity()
    return Finding(
        "voice activity", "ok", f"silero-vad {importlib.metadata.version('silero-vad')}, 8 kHz"
    )


def _recogniser(settings: Settings) -> Finding:
    from voicebot.asr.build import build_factory

    if settings.asr.engine == "fake":
        return Finding("recogniser", "warning", "fake engine", "set asr.engine to vosk for real calls")
    return Finding("recogniser", "ok", build_factory(settings.asr).description)


def _voice(settings: Settings) -> Finding:
    from voicebot.tts.build import build_renderer

    audio = b"".join(build_renderer(settings.tts).render("ready"))
    if not audio:
        return Finding(
            "voice", "missing", f"{settings.tts.voice} is silent", "apt-get install libflite1"
        )
    if settings.tts.engine == "tone":
        return Finding(
            "voice", "warning", "fake engine: a tone", "set tts.engine to flite for real calls"
        )
    return Finding(
        "voice", "ok", f"{settings.tts.engine} {settings.tts.voice}, {len(audio) / 8:.0f} ms of audio"
    )


def _last_resort(_: Settings) -> Finding:
    if shutil.which("espeak-ng"):
        return Finding("last-resort voice", "ok", "espeak-ng")
    if importlib.util.find_spec("espeakng_loader"):
        return Finding("last-resort voice", "ok", "espeakng-loader from PyPI, in a child process")
    advice = "apt-get install espeak-ng, or pip install 'voicebot[espeak]'"
    return Finding("last-resort voice", "warning", "none", advice)


def _dialplan(settings: Settings) -> Finding:
    from voicebot.dialogue import load_dialplan

    plan = load_dialplan(settings.dialplan)
    return Finding("dialplan", "ok", f"{settings.dialplan}: {plan.name}")


def _language_model(settings: Settings) -> Finding:
    if settings.llm.engine == "off":
        return Finding("language model", "ok", "off: the local router decides")
    if settings.llm.engine == "fake":
        return Finding("language model", "warning", "fake engine", "set llm.engine to openai or off")
    from voicebot.llm.build import build_chat_model

    async def problem_of_model() -> str:
        model = build_chat_model(settings.llm)
        assert model is not None
        problem = await model.warm()
        await model.close()
        return problem

    problem = asyncio.run(problem_of_model())
    if problem:
        return Finding("language model", "warning", problem, "callers are routed without it meanwhile")
    return Finding("language model", "ok", f"{settings.llm.model} at {settings.llm.endpoint}")
