"""The writes of the Redis store, each one atomic: Lua, run by the server.

Keys of a session carry its id in braces, so they are on one node. ``KEYS`` are given by the caller;
times are the server's own.
"""

from typing import Final

_FENCE: Final = """
local function fence(key, lease)
  local newest = tonumber(redis.call('HGET', key, 'lease') or '0')
  if newest > tonumber(lease) then
    return redis.error_reply('STALE ' .. lease .. ' was replaced by ' .. newest)
  end
  if newest < tonumber(lease) then
    redis.call('DEL', key)
    redis.call('HSET', key, 'lease', lease)
  end
end
"""

# KEYS: lease, session; ARGV: lease, field, value, field, value, ...
OPEN_SESSION: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
local before = redis.call('HGET', KEYS[2], 'started_at') or false
for i = 2, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[2], ARGV[i])
  if not old or old == '' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return {before, redis.call('HGET', KEYS[2], 'started_at'), redis.call('HGET', KEYS[2], 'caller')}
"""
)

# KEYS: lease, turns; ARGV: lease, turn, body
APPEND_TURN: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
"""
)

# KEYS: lease, state; ARGV: lease, version, body
SAVE_STATE: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
if tonumber(redis.call('HGET', KEYS[2], 'version') or '-1') <= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[2], 'version', ARGV[2], 'body', ARGV[3])
end
return 1
"""
)

# KEYS: lease, session; ARGV: lease, ended_at, ended_by, reason
END_SESSION: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
if redis.call('HGET', KEYS[2], 'ended_at') == '' then
  redis.call('HSET', KEYS[2], 'ended_at', ARGV[2], 'ended_by', ARGV[3], 'reason', ARGV[4])
end
return 1
"""
)

# KEYS: lease, effects; ARGV: lease, key, body
ADD_EFFECT: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
return redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3])
"""
)

# KEYS: lease, effects; ARGV: lease, key, body as read, body to write
CLAIM_EFFECT: Final = (
    _FENCE
    + """
local stale = fence(KEYS[1], ARGV[1])
if stale then return stale end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
return 1
"""
)

# KEYS: effects; ARGV: key, body as read, body to write
FINISH_EFFECT: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

_NOW: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: lease; ARGV: owner, ttl in ms
ACQUIRE_LEASE: Final = (
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'lease', 'owner', 'until_ms')
local newest = tonumber(held[1] or '0')
if held[2] and held[2] ~= ARGV[1] and now_ms < tonumber(held[3]) then return false end
redis.call('HSET', KEYS[1], 'lease', newest + 1, 'owner', ARGV[1], 'until_ms', now_ms + ARGV[2])
return newest + 1
"""
)

# KEYS: lease; ARGV: owner, lease, ttl in ms (0 releases)
HOLD_LEASE: Final = (
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'lease', 'owner')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until_ms', now_ms + ARGV[3])
return 1
"""
)
