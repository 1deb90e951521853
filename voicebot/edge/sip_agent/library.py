"""The C library behind pjsua2: what it was built for, its timers, its log, its start."""

import contextlib
import ctypes
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import pjsua2 as pj

from voicebot.config.settings import SipSettings
from voicebot.core.errors import ConfigError
from voicebot.edge import peer_text
from voicebot.telemetry.log import get_logger

_MORE_CALLS_THAN_BUILT_FOR: Final = 64
_PJSIP_LOG_LEVEL: Final = 2
_CONFERENCE_RATE_HZ: Final = 8000
_CONFERENCE_FRAME_MS: Final = 20
_CONFERENCE_FRAME_BYTES: Final = 2 * _CONFERENCE_RATE_HZ * _CONFERENCE_FRAME_MS // 1000
"""Exactly one frame: the bridge asserts on any other size."""
_log = get_logger()


def library_call_limit() -> int:
    """How many calls the library was built for (``PJSUA_MAX_CALLS``); after ``libInit`` what it uses."""
    limit: int = c_library().pjsua_call_get_max_count()
    return limit


def system_name_servers(resolv_conf: Path = Path("/etc/resolv.conf")) -> list[str]:
    """IPv4 name servers of the system, at most three; this machine itself when there is none."""
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = [line.split() for line in lines]
    found = [f[1] for f in fields if len(f) >= 2 and f[0] == "nameserver" and "." in f[1]]
    return found[:3] or ["127.0.0.1"]


def c_library() -> ctypes.CDLL:
    """The extension module as a C library; it exports pjsip's own functions."""
    pj.Endpoint  # noqa: B018 - the package loads its extension module on the first attribute access
    path = sys.modules["pjsua2._pjsua2"].__file__
    assert path is not None
    return ctypes.CDLL(path)


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Log an exception of a library callback and end its call with 500."""

    @wraps(method)
    def call(self: Any, *arguments: Any) -> None:
        try:
            method(self, *arguments)
        except Exception:  # noqa: BLE001 - the library would swallow it and the call would hang
            _log.exception("sip_callback_failed", callback=method.__name__)
            self.fail()

    return call


class LogWriter(pj.LogWriter):  # type: ignore[misc] # pjsua2 has no types
    """pjsip's own log, into ours. Its text quotes peers."""

    def write(self, entry: Any) -> None:
        """Take one line; called by the library."""
        text = peer_text.clean_peer_text(entry.msg.strip(), 512)
        if entry.level <= 1:
            _log.error("pjsip_log", text=text)
        elif entry.level == 2:
            _log.warning("pjsip_log", text=text)
        else:
            _log.debug("pjsip_log", text=text)


class _Frame(ctypes.Structure):
    """``pjmedia_frame`` of pjproject 2.15."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("timestamp", ctypes.c_uint64),
        ("bit_info", ctypes.c_uint32),
    )


class ConferenceBridge:
    """The library's conference bridge, which we do not use but must clock.

    Each call adds a port to it and removes it in the end, and since 2.15.1 both wait for the next frame
    of a sound device. Without one the ports pile up, and after 254 calls each INVITE gets 488. No sound
    device is opened (that would be another thread); frames are pulled and thrown away instead.
    """

    def __init__(self) -> None:
        library = c_library()
        library.pjsua_set_no_snd_dev.restype = ctypes.c_void_p
        self._port = ctypes.c_void_p(library.pjsua_set_no_snd_dev())
        self._get_frame = library.pjmedia_port_get_frame
        self._buffer = ctypes.create_string_buffer(_CONFERENCE_FRAME_BYTES)

    def tick(self) -> None:
        """Let it do what waits for a frame."""
        frame = _Frame(0, ctypes.addressof(self._buffer), _CONFERENCE_FRAME_BYTES, 0, 0)
        self._get_frame(self._port, ctypes.byref(frame))

    @staticmethod
    def ports() -> int:
        """Ports in use: our own and one for each call."""
        count: int = c_library().pjsua_conf_get_active_ports()
        return count


def start_endpoint(sip: SipSettings, codecs: Sequence[str]) -> Any:
    """Start the library: one thread, no media, one UDP socket, only these codecs.

    Raises:
        ConfigError: The address cannot be used.
    """
    library = c_library()
    library.pj_log_set_level(0)  # until our writer is in place it would go to standard output
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.threadCnt = 0
    config.uaConfig.maxCalls = _MORE_CALLS_THAN_BUILT_FOR  # clamped to what it was built for
    config.uaConfig.userAgent = "voicebot"
    # Without a name server the library asks the system, which blocks the thread for seconds: any
    # caller with a host name in Contact could stop the audio of all others.
    for address in sip.name_servers or system_name_servers():
        config.uaConfig.nameserver.append(address)
    config.medConfig.threadCnt = 0
    config.medConfig.hasIoqueue = False  # else a thread looks a hundred times a second for media
    config.medConfig.noVad = True
    config.medConfig.clockRate = _CONFERENCE_RATE_HZ
    config.medConfig.audioFramePtime = _CONFERENCE_FRAME_MS
    config.medConfig.channelCount = 1
    config.logConfig.level = _PJSIP_LOG_LEVEL
    config.logConfig.consoleLevel = _PJSIP_LOG_LEVEL  # also the level of the writer
    config.logConfig.msgLogging = 0
    config.logConfig.decor = 0
    writer = LogWriter()
    writer.__disown__()  # the library deletes it
    config.logConfig.writer = writer
    endpoint.libInit(config)
    library.pjsip_tsx_set_timers(0, 0, 0, sip.ack_deadline_ms)
    transport = pj.TransportConfig()
    transport.port = sip.port
    transport.boundAddress = sip.host
    if sip.advertised_host:
        transport.publicAddress = sip.advertised_host
    try:
        endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    except pj.Error as error:
        raise ConfigError(
            f"cannot listen on udp {sip.host}:{sip.port} ({error.reason}); is another"
            " program using the port?",
            key="sip.port",
        ) from error
    endpoint.libStart()
    priorities = {f"{name}/8000/1": 255 - i for i, name in enumerate(codecs)}
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, priorities.get(codec.codecId, 0))
    return endpoint


def account_config(sip: SipSettings) -> Any:
    """The account that takes all calls, and registers where that is set up."""
    config = pj.AccountConfig()
    host = sip.advertised_host or sip.host
    config.idUri = f"sip:bot@{host}:{sip.port}"
    config.mediaConfig.useLoopMedTp = True
    # An answer with both codecs would set off a re-INVITE; we take either at any time.
    config.mediaConfig.lockCodecEnabled = False
    if sip.registration.registrar:
        config.idUri = sip.registration.aor or config.idUri
        config.regConfig.registrarUri = sip.registration.registrar
        config.regConfig.timeoutSec = sip.registration.expires_s
        password = os.environ.get(sip.registration.password_env, "")
        credentials = pj.AuthCredInfo("digest", "*", sip.registration.username, 0, password)
        config.sipConfig.authCreds.append(credentials)
    return config


def parameters_of(headers: dict[str, str], *, code: int = 0, offer: bool = False) -> Any:
    """Headers, status and, with ``offer``, the default call settings of one request or response."""
    parameters = pj.CallOpParam(offer)
    if code:
        parameters.statusCode = code
    for name, value in peer_text.outgoing_headers(headers).items():
        header = pj.SipHeader()
        header.hName = name
        header.hValue = value
        parameters.txOption.headers.append(header)
    return parameters


def payload_type(number: int) -> int | None:
    """The number that the library means, or None where it means nothing."""
    return number if 0 < number < 128 else None


def udp_socket_on(port: int) -> int | None:
    """Descriptor of this process's UDP socket on a port, which the library opened and does not tell."""
    for path in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(path.name)
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
            is_udp = found.family == socket.AF_INET and found.type == socket.SOCK_DGRAM
            if is_udp and found.getsockname()[1] == port:
                return descriptor
    return None
