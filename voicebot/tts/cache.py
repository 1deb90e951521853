"""Rendered prompts: in memory, and fixed ones in a directory, where they survive a restart.

Mu-law is 8 kB for a second, so 500 five-second prompts are 20 MB. What a caller said or heard of his own
never goes to the directory: only what is put with ``persist``.
"""

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from voicebot.audio.narrowband import CHAIN_VERSION

_DIGEST_BYTES: Final = 32

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What decides how an utterance sounds. Engines are not bit-reproducible: audio is no key."""

    words: str
    voice: str
    profile: str = ""
    law: str = "ulaw"
    chain_version: int = CHAIN_VERSION

    @property
    def digest(self) -> str:
        """Name of the file, hexadecimal."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counted since start."""

    entries: int
    size_bytes: int
    hits: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """Share of lookups that were answered, 0 to 1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class PromptCache:
    """Least recently used goes first; safe from several threads.

    Args:
        limit_bytes: Audio kept in memory at most; 0 keeps nothing there.
        directory: Where persistent prompts are kept; made when first needed. None: memory only.
    """

    def __init__(self, limit_bytes: int, directory: Path | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._directory = directory
        self._lock = threading.Lock()
        self._entries: OrderedDict[CacheKey, bytes] = OrderedDict()
        self._size_bytes = 0
        self._hits = 0
        self._misses = 0

    def get(self, key: CacheKey) -> bytes | None:
        """The audio, or None; counted as a hit or a miss."""
        with self._lock:
            audio = self._entries.get(key)
            if audio is not None:
                self._hits += 1
                self._entries.move_to_end(key)
                return audio
        audio = self._read(key)
        with self._lock:
            if audio is None:
                self._misses += 1
                return None
            self._hits += 1
            self._keep(key, audio)
            return audio

    def put(self, key: CacheKey, audio: bytes, *, persist: bool = False) -> None:
        """Keep `audio` in memory unless it alone is beyond the limit; with `persist` on disk too."""
        with self._lock:
            self._keep(key, audio)
        if persist and self._directory is not None:
            self._write(self._directory, key, audio)

    def stats(self) -> CacheStats:
        """What is in memory and how often it was wanted."""
        with self._lock:
            return CacheStats(len(self._entries), self._size_bytes, self._hits, self._misses)

    def _keep(self, key: CacheKey, audio: bytes) -> None:
        self._size_bytes -= len(self._entries.pop(key, b""))
        if len(audio) > self._limit_bytes:
            return
        self._entries[key] = audio
        self._size_bytes += len(audio)
        while self._size_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size_bytes -= len(oldest)

    def _read(self, key: CacheKey) -> bytes | None:
        if self._directory is None:
            return None
        try:
            content = self._path(self._directory, key).read_bytes()
        except OSError:
            return None
        digest, audio = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        # A torn or edited file is rendered again.
        return audio if audio and hashlib.sha256(audio).digest() == digest else None

    def _write(self, directory: Path, key: CacheKey, audio: bytes) -> None:
        path = self._path(directory, key)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=directory, suffix=".new")
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(audio).digest() + audio)
            Path(temporary).replace(path)
        except OSError as error:
            # A full disk costs time at the next start, not this call.
            _log.warning("prompt_not_stored", reason=str(error))

    @staticmethod
    def _path(directory: Path, key: CacheKey) -> Path:
        return directory / f"{key.digest}.{key.law}"
