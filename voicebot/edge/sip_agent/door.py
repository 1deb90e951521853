"""A module of our own in the SIP library's chain, before its transactions: it sees every request first.

pjsua2 tells of INVITEs only, and only when a call slot is taken; OPTIONS it answers by itself. The C
library underneath has a chain of modules, and the wheel exports its functions. Where the source address
and the text are in ``pjsip_rx_data`` depends on how the library was built: it is checked with each
request, and when it does not fit, all are let in and the agent decides later, as without a door.
"""

import ctypes
import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from voicebot.edge.admission import DROP, SipRequest, Verdict
from voicebot.edge.sdp import is_sound_answer
from voicebot.edge.sip_agent.library import c_library
from voicebot.telemetry.log import get_logger

_PRIORITY: Final = 12  # after the transport layer (8), before the transactions (16)
_PACKET: Final = 320
_LENGTH: Final = 4328
_SOURCE: Final = 4336
_SOURCE_NAME: Final = 4368
_MAX_PACKET: Final = 4000
_AF_INET: Final = 2
_HEADER_BYTES: Final = 256
_TAKEN: Final = 1
_LET_IN: Final = 0

_FIRST_LINE = re.compile(rb"([A-Z]{1,32}) (\S{1,1024}) SIP/2\.0\r?\n")
_TO_TAG = re.compile(rb"\n(?:to|t)[ \t]*:[^\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE)
_BRANCH = re.compile(
    rb"\n(?:via|v)[ \t]*:[^\n]*?;[ \t]*branch[ \t]*=[ \t]*([^;,\s]{1,256})", re.IGNORECASE
)
_CLAIMED = re.compile(rb"\nx-source-address[ \t]*:[ \t]*([0-9.]{1,15})[ \t]*(?=\r|\n|$)", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"\nauthorization[ \t]*:[ \t]*([^\r\n]{1,2048})", re.IGNORECASE)
_LENGTH_OF_BODY = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,10})", re.IGNORECASE)
_SINGLE = re.compile(
    rb"\n(?:(call-id|i)|(cseq)|(from|f)|(to|t)|(max-forwards)|(content-length|l))[ \t]*:", re.IGNORECASE
)
"""Headers of which a request has one (RFC 3261 section 20, table 2)."""
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")
_PROVISIONAL = re.compile(rb"SIP/2\.0[ \t]+1", re.IGNORECASE)
_MAKES_A_DIALOG = re.compile(rb"SIP/2\.0[ \t]+(?!100)[12]", re.IGNORECASE)
_TYPE_OF_BODY = re.compile(
    rb"\n(?:content-(?:type|encoding)|[ce])[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE
)
_LONE_CR = re.compile(rb"\r(?!\n)")
_CSEQ = re.compile(rb"\ncseq[ \t]*:[ \t]*[0-9]+[ \t]+([a-z]+)(?=\r?\n(?![ \t]))", re.IGNORECASE)
_TO = re.compile(rb"\n(?:to|t)[ \t]*:([^\r\n]*)(\r?\n[ \t])?", re.IGNORECASE)
_WHERE = re.compile(rb"\n(?:contact|m|record-route)[ \t]*:([^\r\n]*)(\r?\n[ \t])?", re.IGNORECASE)
_REACHABLE = re.compile(
    rb"[ \t]*(?:[\w.!%*+`'~\" -]*<)?sip:(?:[^@\s<>,?]{1,256}@)?[0-9a-z][0-9a-z.-]{0,255}"
    rb"(?::([0-9]{1,5}))?(?:;(?!transport=(?!udp\b)|maddr=)[^\s<>,;?]*)*"
    rb"(?:>[^<>,]*)?",
    re.IGNORECASE,
)
_SIP_PORT: Final = 5060
_TOO_GREAT_PORT: Final = 65536
_PLAIN_URI = re.compile(rb"[ \t]*sips?:", re.IGNORECASE)
_TAG = re.compile(rb";[ \t]*tag[ \t]*=[ \t]*[a-z0-9.!%*_+`'~-]", re.IGNORECASE)
_KEYS = re.compile(
    rb"Signal=[ \t]*[0-9A-Za-z*#]{1,16}[ \t]*(?:\r\n|\n(?=Duration=))(?:\r?\n)*"
    rb"(?:Duration=[ \t]*[0-9]{1,6}[ \t]*)?(?:\r?\n)*"
)
_log = get_logger()

Decide = Callable[[SipRequest], Verdict]


class _Text(ctypes.Structure):
    """``pj_str_t``."""

    _fields_ = (("start", ctypes.c_char_p), ("length", ctypes.c_ssize_t))


_OnRequest = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Module(ctypes.Structure):
    """``pjsip_module``."""

    _fields_ = (
        ("previous", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("name", _Text),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("load", ctypes.c_void_p),
        ("start", ctypes.c_void_p),
        ("stop", ctypes.c_void_p),
        ("unload", ctypes.c_void_p),
        ("on_rx_request", _OnRequest),
        ("on_rx_response", _OnRequest),
        ("on_tx_request", ctypes.c_void_p),
        ("on_tx_response", ctypes.c_void_p),
        ("on_tsx_state", ctypes.c_void_p),
    )


def read_request(text: bytes, source: str) -> SipRequest | None:
    """What matters of a request's text; None when it does not begin like one."""
    head, separator, body = text.partition(b"\r\n\r\n")
    first = _FIRST_LINE.match(head + b"\n")
    if first is None:
        return None
    branch = _BRANCH.search(head)
    authorization = _AUTHORIZATION.search(head)
    claimed = _CLAIMED.findall(head)
    in_dialog = _TO_TAG.search(head) is not None
    begins_a_call = first[1] == b"INVITE" and not in_dialog
    return SipRequest(
        method=first[1].decode(),
        source=source,
        claimed=claimed[-1].decode() if claimed else "",
        in_dialog=in_dialog,
        uri=first[2].decode("utf-8", "surrogateescape"),
        branch=branch[1].decode("utf-8", "surrogateescape") if branch else "",
        authorization=authorization[1].decode("utf-8", "surrogateescape") if authorization else "",
        flaw=400 if begins_a_call and _is_flawed(head, len(body) if separator else None) else 0,
    )


def _is_flawed(head: bytes, body_bytes: int | None) -> bool:
    """What RFC 4475 has refused with 400 and the library takes (sections 3.1.2.2 and 3.3.8)."""
    kinds = [match.lastindex for match in _SINGLE.finditer(head)]
    if len(kinds) > len(set(kinds)):
        return True
    told = _LENGTH_OF_BODY.search(head)
    return told is not None and body_bytes is not None and int(told[1]) > body_bytes


def is_harmless(text: bytes) -> bool:
    """Whether the library survives this message: an assertion of its C code ends the process.

    Keys by INFO (``application/dtmf-relay``): in a body that ends with the digit, without a line end, it
    reads on behind the end, and aborts. Only bodies of the usual form pass, their length told plainly.

    Args:
        text: The whole datagram.
    """
    if b"dtmf-relay" not in text.lower():
        return True  # nearly all, quickly
    head, body = (*_EMPTY_LINE.split(text, maxsplit=1), b"")[:2]
    if b"dtmf-relay" not in head.lower():
        return True
    return _is_told_plainly(head, body) and _KEYS.fullmatch(body) is not None


def _is_told_plainly(head: bytes, body: bytes) -> bool:
    """Whether the library reads just this body: its length is there once, in one line, and true."""
    folded = b"\n " in head or b"\n\t" in head
    return not folded and _LENGTH_OF_BODY.findall(head) == [b"%d" % len(body)]


def is_bearable(text: bytes) -> bool:
    """Whether the library survives this response.

    A provisional one has no body, or one to agree on. One that makes a dialog says which, in one ``To``
    with a tag: the library takes another than the first for a fork of our call, and aborts without.
    Its ACK can be sent, over UDP, to a name or an IPv4 address: the library aborts when it cannot.

    Args:
        text: The whole datagram.
    """
    if not _MAKES_A_DIALOG.match(text):
        return True
    if _LONE_CR.search(text):
        return False  # to the library it ends a line, and so may begin a body that is not seen here
    head, body = (*_EMPTY_LINE.split(text, maxsplit=1), b"")[:2]
    if _PROVISIONAL.match(text) and body:
        if [kind.strip().lower() for kind in _TYPE_OF_BODY.findall(head)] != [b"application/sdp"]:
            return False
        if not (_is_told_plainly(head, body) and is_sound_answer(body.decode("latin-1"))):
            return False
    methods = [method.upper() for method in _CSEQ.findall(head + b"\r\n")]
    if len(methods) == 1 and methods[0] != b"INVITE":
        return True
    return _names_its_dialog(head) and _can_be_acknowledged(head)


def _names_its_dialog(head: bytes) -> bool:
    tos = _TO.findall(head)
    if len(tos) != 1 or tos[0][1]:
        return False
    _, bracket, after = tos[0][0].rpartition(b">")
    # Without brackets and of another scheme the library takes the tag for a part of the address.
    return bool(_TAG.search(after)) and bool(bracket or _PLAIN_URI.match(after))


def _can_be_acknowledged(head: bytes) -> bool:
    for values, folded in _WHERE.findall(head):
        for value in values.split(b","):
            place = _REACHABLE.fullmatch(value)
            if folded or place is None or not 0 < int(place[1] or _SIP_PORT) < _TOO_GREAT_PORT:
                return False
    return True


class SipDoor:
    """Asks ``decide`` about each request and carries out what it says.

    Attributes:
        active: Requests are seen; False once one could not be read.
    """

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._library: Any = c_library()
        self._library.pjsua_get_pjsip_endpt.restype = ctypes.c_void_p
        self._endpoint = ctypes.c_void_p(self._library.pjsua_get_pjsip_endpt())
        for name in ("pjsip_endpt_create_pool", "pjsip_generic_string_hdr_create"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._callback = _OnRequest(self._on_request)
        self._response_callback = _OnRequest(self._on_response)
        self._module = _Module(
            name=_Text(b"voicebot-door", 13),
            id=-1,
            priority=_PRIORITY,
            on_rx_request=self._callback,
            on_rx_response=self._response_callback,
        )
        status = self._library.pjsip_endpt_register_module(self._endpoint, ctypes.byref(self._module))
        self.active = status == 0
        if not self.active:
            _log.warning("sip_door_not_open", status=status)

    def close(self) -> None:
        """Leave the chain; before the library is taken down."""
        if self._module.id != -1:
            self._library.pjsip_endpt_unregister_module(self._endpoint, ctypes.byref(self._module))
            self._module.id = -1

    def _on_request(self, data: int) -> int:
        if not self.active:
            return _LET_IN
        try:
            source = _source_of(data)
            if source is None:
                self.active = False
                _log.warning("sip_door_cannot_read")
                return _LET_IN
            length = struct.unpack("q", ctypes.string_at(data + _LENGTH, 8))[0]
            text = ctypes.string_at(data + _PACKET, max(0, min(length, _MAX_PACKET)))
            request = read_request(text.lstrip(b"\r\n"), source)
            harmless = is_harmless(text)
            if request is not None and not harmless:
                request = replace(request, flaw=400)
            elif request is not None and length >= _MAX_PACKET:
                # Cut off, an INVITE looks like one without a body, which would be answered.
                request = replace(request, flaw=513)
            if request is None:
                return _LET_IN if harmless else _TAKEN  # the library refuses what is no request
            verdict = self._decide(request)
            if not verdict.code:
                return _LET_IN
            if verdict.code != DROP and request.method != "ACK":
                self._respond(data, verdict)
        except Exception:  # noqa: BLE001 - nothing may pass through the library's frames
            _log.exception("sip_door_failed")
            return _LET_IN
        return _TAKEN

    def _on_response(self, data: int) -> int:
        """See ``is_bearable``: what would end the process is as if it had been lost on the way."""
        if not self.active:
            return _LET_IN
        try:
            if _source_of(data) is None:
                return _LET_IN
            length = struct.unpack("q", ctypes.string_at(data + _LENGTH, 8))[0]
            text = ctypes.string_at(data + _PACKET, max(0, min(length, _MAX_PACKET))).lstrip(b"\r\n")
            return _LET_IN if is_bearable(text) else _TAKEN
        except Exception:  # noqa: BLE001 - nothing may pass through the library's frames
            _log.exception("sip_door_failed")
            return _LET_IN

    def _respond(self, data: int, verdict: Verdict) -> None:
        """Answer without a transaction (RFC 3261 section 8.2.7)."""
        pool = ctypes.c_void_p(
            self._library.pjsip_endpt_create_pool(self._endpoint, b"door", 1024, 1024)
        )
        head = ctypes.create_string_buffer(_HEADER_BYTES)
        before = ctypes.addressof(head)
        kept = []
        for name, value in verdict.headers:
            texts = [_Text(t, len(t)) for t in (name.encode(), value.encode())]
            kept.append(texts)
            header = self._library.pjsip_generic_string_hdr_create(
                pool, ctypes.byref(texts[0]), ctypes.byref(texts[1])
            )
            _link(before, header)
            before = header
        _link(before, ctypes.addressof(head))
        self._library.pjsip_endpt_respond_stateless(
            self._endpoint, ctypes.c_void_p(data), verdict.code, None, head, None
        )
        self._library.pjsip_endpt_release_pool(self._endpoint, pool)


def _link(first: int, second: int) -> None:
    """``second`` follows ``first`` in a list whose nodes begin with previous and next."""
    ctypes.c_void_p.from_address(first + ctypes.sizeof(ctypes.c_void_p)).value = second
    ctypes.c_void_p.from_address(second).value = first


def _source_of(data: int) -> str | None:
    """IPv4 address a request came from; None when memory does not look as expected."""
    family, _port, packed = struct.unpack("=HH4s", ctypes.string_at(data + _SOURCE, 8))
    name = ctypes.string_at(data + _SOURCE_NAME, 16).partition(b"\0")[0]
    address = str(ipaddress.IPv4Address(packed))
    return address if family == _AF_INET and name.decode("latin-1") == address else None
