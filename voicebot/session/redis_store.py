"""The store of a cluster: Redis, appended to its log each second, optionally confirmed by replicas.

    <prefix>s:{id}        hash: the session record           <prefix>lease:{id}    hash: newest lease
    <prefix>turns:{id}    hash: turn number to JSON          <prefix>state:{id}    hash: version, body
    <prefix>effects:{id}  hash: idempotency key to JSON      <prefix>effect:KEY    session id of a key
    <prefix>by-start      sorted set "started_at session_id" <prefix>by-caller:C   that of one caller

The caller decides how long to wait (``JournalledSessionStore``); this store only refuses, it never
retries. Set ``maxmemory-policy noeviction`` and ``appendonly yes`` at the server.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError, ResponseError

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.session import redis_scripts as scripts
from voicebot.session.claims import judge_claim, unknown_effect
from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)
from voicebot.session.stored_text import clean_session, clean_text, clean_turn

PREFIX: Final = "voicebot:"
MAX_CONNECTIONS: Final = 8
TIMEOUT_S: Final = 1.0
PAGE: Final = 200
CLAIM_ATTEMPTS: Final = 10

_encode = msgspec.json.Encoder().encode
_turn_decoder = msgspec.json.Decoder(TurnRecord)
_effect_decoder = msgspec.json.Decoder(Effect)


class RedisSessionStore:
    """``SessionStore`` in Redis.

    Args:
        url: ``redis://host:port/db`` or ``unix://path``; credentials in it are never logged.
        replicas: How many replicas must confirm a write before it counts (WAIT).
        prefix: Of all keys.
    """

    def __init__(self, url: str, *, replicas: int = 0, prefix: str = PREFIX) -> None:
        self._replicas = replicas
        self._prefix = prefix
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=TIMEOUT_S,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                decode_responses=False,
            )
        )
        self._scripts: dict[str, AsyncScript] = {}

    async def start(self) -> None:
        """See ``SessionStore``."""
        await self._do(self._redis.ping())

    async def close(self) -> None:
        """See ``SessionStore``."""
        await self._redis.aclose(close_connection_pool=True)

    async def open_session(self, record: SessionRecord, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        clean = clean_session(record)
        fields = [part for item in msgspec.structs.asdict(clean).items() for part in item]
        session_id = record.session_id
        keys = [self._key("lease", session_id), self._key("s", session_id)]
        answer = await self._run(scripts.OPEN_SESSION, keys, [lease, *fields])
        before, started_at, caller = (None if part is None else part.decode() for part in answer)
        if before is not None and before != started_at:
            await self._unindex(session_id, before, caller)
        # An index entry without its session is skipped by readers, so the order of writes is safe.
        entry = {f"{started_at} {session_id}": 0}
        await self._do(self._redis.zadd(f"{self._prefix}by-start", entry))
        await self._do(self._redis.zadd(f"{self._prefix}by-caller:{caller}", entry))
        await self._confirm()

    async def append_turn(
        self, session_id: str, turn: int, record: TurnRecord, *, lease: int = 0
    ) -> None:
        """See ``SessionStore``."""
        keys = [self._key("lease", session_id), self._key("turns", session_id)]
        await self._run(scripts.APPEND_TURN, keys, [lease, turn, _encode(clean_turn(record))])
        await self._confirm()

    async def save_state(self, session_id: str, state: bytes, *, version: int, lease: int = 0) -> None:
        """See ``SessionStore``."""
        keys = [self._key("lease", session_id), self._key("state", session_id)]
        await self._run(scripts.SAVE_STATE, keys, [lease, version, state])
        await self._confirm()

    async def end_session(self, session_id: str, ending: SessionEnding, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        keys = [self._key("lease", session_id), self._key("s", session_id)]
        await self._run(
            scripts.END_SESSION,
            keys,
            [lease, ending.ended_at, ending.ended_by, clean_text(ending.reason)],
        )
        await self._confirm()

    async def load(self, session_id: str) -> StoredSession | None:
        """See ``SessionStore``. One transaction, so that all parts fit together."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for kind in ("s", "turns", "state", "lease", "effects"):
                pipe.hgetall(self._key(kind, session_id))
            record, turns, state, lease, effects = await self._do(pipe.execute())
        if not record:
            return None
        return StoredSession(
            record=_record(record),
            turns={int(n): _turn_decoder.decode(turns[n]) for n in sorted(turns, key=int)},
            state=state.get(b"body", b""),
            state_version=int(state.get(b"version", -1)),
            lease=int(lease.get(b"lease", 0)),
            effects=tuple(_effect_decoder.decode(effects[key]) for key in sorted(effects)),
        )

    async def recent(
        self,
        limit: int = 50,
        *,
        caller: str | None = None,
        edge: str | None = None,
        open_only: bool = False,
    ) -> list[SessionRecord]:
        """See ``SessionStore``."""
        found: list[SessionRecord] = []
        async for record in self._newest(caller):
            if len(found) >= limit:
                break
            if (edge is None or record.edge == edge) and not (open_only and record.ended_at):
                found.append(record)
        return found

    async def add_effect(self, effect: Effect) -> bool:
        """See ``SessionStore``."""
        planned = msgspec.structs.replace(effect, state="pending", owner="", outcome=b"")
        owner_key = f"{self._prefix}effect:{effect.key}"
        if not await self._do(self._redis.set(owner_key, effect.session_id, nx=True)):
            known = await self._do(self._redis.get(owner_key))
            if known != effect.session_id.encode():
                return False
        keys = [self._key("lease", effect.session_id), self._key("effects", effect.session_id)]
        added = await self._run(scripts.ADD_EFFECT, keys, [effect.lease, effect.key, _encode(planned)])
        await self._confirm()
        return bool(added)

    async def claim_effect(self, key: str, owner: str, *, lease: int = 0) -> Claim:
        """See ``SessionStore``."""
        for _ in range(CLAIM_ATTEMPTS):
            session_id, body = await self._effect(key)
            if body is None:
                return unknown_effect(key)
            claim = judge_claim(_effect_decoder.decode(body), owner, lease)
            keys = [self._key("lease", session_id), self._key("effects", session_id)]
            if await self._run(scripts.CLAIM_EFFECT, keys, [lease, key, body, _encode(claim.effect)]):
                await self._confirm()
                return claim
        raise SessionStoreError(f"effect {key} changes faster than it can be claimed")

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """See ``SessionStore``."""
        for _ in range(CLAIM_ATTEMPTS):
            session_id, body = await self._effect(key)
            if body is None:
                return False
            effect = _effect_decoder.decode(body)
            if effect.state == "done":
                return True
            done = _encode(msgspec.structs.replace(effect, state="done", outcome=outcome))
            keys = [self._key("effects", session_id)]
            if await self._run(scripts.FINISH_EFFECT, keys, [key, body, done]):
                await self._confirm()
                return True
        raise SessionStoreError(f"effect {key} changes faster than it can be finished")

    async def acquire_lease(self, session_id: str, owner: str, ttl_ms: int) -> int | None:
        """See ``SessionStore``; the server's clock counts."""
        keys = [self._key("lease", session_id)]
        lease = await self._run(scripts.ACQUIRE_LEASE, keys, [owner, ttl_ms])
        await self._confirm()
        return None if lease is None else int(lease)

    async def renew_lease(self, session_id: str, owner: str, lease: int, ttl_ms: int) -> bool:
        """See ``SessionStore``."""
        keys = [self._key("lease", session_id)]
        return bool(await self._run(scripts.HOLD_LEASE, keys, [owner, lease, ttl_ms]))

    async def release_lease(self, session_id: str, owner: str, lease: int) -> None:
        """See ``SessionStore``."""
        await self._run(scripts.HOLD_LEASE, [self._key("lease", session_id)], [owner, lease, 0])

    async def purge(self, *, older_than: str | None = None, caller: str | None = None) -> Purged:
        """See ``SessionStore``; the server is asked to forget in its append-only file too."""
        if older_than is None and caller is None:
            return Purged()
        gone = [
            record
            async for record in self._newest(caller)
            if older_than is None or (record.started_at < older_than and record.ended_at)
        ]
        for record in gone:
            await self._erase(record)
        if gone:
            with contextlib.suppress(SessionStoreError):  # forbidden at some hosted servers
                await self._do(self._redis.bgrewriteaof())
        return Purged(
            sessions=tuple(record.session_id for record in gone),
            recordings=tuple(record.recording for record in gone if record.recording),
        )

    # ------------------------------------------------------------------ parts

    async def _newest(self, caller: str | None) -> AsyncIterator[SessionRecord]:
        index = f"{self._prefix}by-start" if caller is None else f"{self._prefix}by-caller:{caller}"
        last = "+"
        while True:
            page = await self._do(
                self._redis.zrange(index, last, "-", desc=True, bylex=True, offset=0, num=PAGE)
            )
            if not page:
                return
            async with self._redis.pipeline(transaction=False) as pipe:
                for member in page:
                    pipe.hgetall(self._key("s", member.decode().rpartition(" ")[2]))
                records = await self._do(pipe.execute())
            for fields in records:
                if fields:
                    yield _record(fields)
            last = f"({page[-1].decode()}"

    async def _effect(self, key: str) -> tuple[str, bytes | None]:
        found = await self._do(self._redis.get(f"{self._prefix}effect:{key}"))
        if found is None:
            return "", None
        session_id = found.decode()
        return session_id, await self._do(self._redis.hget(self._key("effects", session_id), key))

    async def _erase(self, record: SessionRecord) -> None:
        session_id = record.session_id
        keys = await self._do(self._redis.hkeys(self._key("effects", session_id)))
        for key in keys:
            await self._do(self._redis.delete(f"{self._prefix}effect:{key.decode()}"))
        kinds = ("s", "turns", "state", "lease", "effects")
        await self._do(self._redis.delete(*(self._key(kind, session_id) for kind in kinds)))
        await self._unindex(session_id, record.started_at, record.caller)

    async def _unindex(self, session_id: str, started_at: str, caller: str | None) -> None:
        member = f"{started_at} {session_id}"
        await self._do(self._redis.zrem(f"{self._prefix}by-start", member))
        await self._do(self._redis.zrem(f"{self._prefix}by-caller:{caller}", member))

    def _key(self, kind: str, session_id: str) -> str:
        return f"{self._prefix}{kind}:{{{session_id}}}"

    async def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._redis.register_script(script)
        return await self._do(registered(keys=keys, args=arguments))

    async def _confirm(self) -> None:
        if self._replicas:
            confirmed = await self._do(self._redis.wait(self._replicas, int(TIMEOUT_S * 1000)))
            if confirmed < self._replicas:
                raise SessionStoreError(f"redis: {confirmed} of {self._replicas} replicas confirmed")

    @staticmethod
    async def _do(work: Any) -> Any:
        """Await a command; its type is Any because redis-py types one API for blocking and async."""
        try:
            return await work
        except ResponseError as error:
            if str(error).startswith("STALE"):
                raise StaleLeaseError(f"session store: lease {str(error)[6:]}") from None
            raise SessionStoreError(f"redis: {_bounded(error)}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise SessionStoreError(f"redis: {type(error).__name__}: {_bounded(error)}") from error


def _record(fields: dict[bytes, bytes]) -> SessionRecord:
    known = {
        name: fields[name.encode()].decode()
        for name in SessionRecord.__struct_fields__
        if name.encode() in fields
    }
    return msgspec.convert(known, SessionRecord)


def _bounded(error: Exception) -> str:
    return re.sub(r"//[^@/]*@", "//***@", str(error))[:200]
