"""The error tree, split by who is at fault.

    VoicebotError
    ├── ConfigError            the installer: settings or a dialplan (file, line, column, key)
    │   └── DialplanError
    ├── ProtocolError          a peer: malformed SIP, SDP, RTP, RTCP or link message
    │   ├── MalformedRtpError
    │   └── LinkProtocolError
    ├── EngineError            a recogniser, voice or language model of ours
    │   ├── RecognitionError
    │   ├── SynthesisError
    │   └── LanguageModelError
    ├── SessionStoreError      the durable record
    │   └── StaleLeaseError    another worker has taken the session over
    └── OverloadError          no capacity: the caller is told, others are not slowed down

Each class carries a stable ``code`` for logs, metrics and tests. An end of file never raises one of
these: malformed input and no input do not look alike.
"""

from typing import ClassVar


class VoicebotError(Exception):
    """Base of everything this product raises on purpose."""

    code: ClassVar[str] = "voicebot_error"


class ConfigError(VoicebotError):
    """Settings that cannot be used.

    Args:
        message: What is wrong and what to do.
        file: Name of the file, when there is one.
        line: 1-based line, when known.
        column: 1-based column, when known.
        key: Dotted path of the offending key.
    """

    code = "config_error"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        key: str | None = None,
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        super().__init__(str(self))

    def __str__(self) -> str:
        """``file:line:column: key: message``, leaving out what is not known."""
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)
        return ": ".join(p for p in (place, self.key, self.message) if p)


class DialplanError(ConfigError):
    """A dialplan that cannot be used."""

    code = "dialplan_error"


class ProtocolError(VoicebotError):
    """A peer sent something that the protocol does not allow."""

    code = "protocol_error"


class MalformedRtpError(ProtocolError):
    """A datagram that is no RTP or RTCP packet."""

    code = "malformed_rtp"


class LinkProtocolError(ProtocolError):
    """A message between edge and worker that breaks the link protocol."""

    code = "link_protocol_error"


class EngineError(VoicebotError):
    """An engine failed; the caller must be served by something simpler."""

    code = "engine_error"


class RecognitionError(EngineError):
    """The recogniser failed or was about to be misused."""

    code = "recognition_error"


class SynthesisError(EngineError):
    """A voice failed: crash, hang, empty or invalid audio."""

    code = "synthesis_error"


class LanguageModelError(EngineError):
    """The language model was late, refused or answered nonsense."""

    code = "language_model_error"


class SessionStoreError(VoicebotError):
    """The durable record could not be written or read."""

    code = "session_store_error"


class StaleLeaseError(SessionStoreError):
    """The writer's lease is older than one that was seen: it was replaced and must fall silent."""

    code = "stale_lease"


class OverloadError(VoicebotError):
    """No capacity is left for what was asked."""

    code = "overload"
