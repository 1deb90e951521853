"""Which dialect a link speaks: what both ends agree on before the first message of the owner."""

from typing import Final

from voicebot.core.errors import LinkProtocolError
from voicebot.link import media_streams_wire
from voicebot.link.codec import Codec, FromEdge, FromWorker, Step, VoicebotV1Edge, VoicebotV1Worker
from voicebot.link.media_streams_edge import MediaStreamsEdge
from voicebot.link.media_streams_worker import MediaStreamsWorker
from voicebot.link.messages import DIALECT_MEDIA_STREAMS, DIALECT_VOICEBOT_V1

MEDIA_STREAMS_PATH: Final = "/media-streams"


def edge_codec(dialect: str) -> Codec[FromEdge, FromWorker]:
    """The edge's end of a dialect.

    Raises:
        LinkProtocolError: There is no such dialect.
    """
    if dialect == DIALECT_VOICEBOT_V1:
        return VoicebotV1Edge()
    if dialect == DIALECT_MEDIA_STREAMS:
        return MediaStreamsEdge()
    raise LinkProtocolError(f"there is no dialect {dialect!r}")


def worker_codec(subprotocol: str | None, path: str) -> Codec[FromWorker, FromEdge]:
    """The worker's end: by path, else by subprotocol, else by the first message."""
    if is_media_streams(path):
        return MediaStreamsWorker()
    if subprotocol == DIALECT_VOICEBOT_V1:
        return VoicebotV1Worker()
    return FirstMessageDecides()


def is_media_streams(path: str) -> bool:
    """Whether the path of the request selects the compatible dialect."""
    return path.partition("?")[0].rstrip("/") == MEDIA_STREAMS_PATH


class FirstMessageDecides:
    """A link that named no dialect: ``connected`` makes it media-streams, anything else ends it."""

    heartbeats = False

    def __init__(self) -> None:
        self._chosen: MediaStreamsWorker | None = None

    @property
    def dialect(self) -> str:
        """Empty until the first message is there."""
        return self._chosen.dialect if self._chosen else ""

    def send(self, message: FromWorker, now_us: int) -> Step[FromEdge]:
        """See ``Codec``."""
        if self._chosen is None:
            raise LinkProtocolError("nothing can be sent before the dialect is known")
        return self._chosen.send(message, now_us)

    def receive(self, data: bytes, now_us: int) -> Step[FromEdge]:
        """See ``Codec``."""
        if self._chosen is None:
            try:
                first = media_streams_wire.decode(data)
            except LinkProtocolError:
                first = None
            if first is None or first.event != "connected":
                return Step(close=True, close_code=1002)
            self._chosen = MediaStreamsWorker()
        return self._chosen.receive(data, now_us)

    def closed(self, *, clean: bool) -> Step[FromEdge]:
        """See ``Codec``."""
        return Step() if self._chosen is None else self._chosen.closed(clean=clean)
