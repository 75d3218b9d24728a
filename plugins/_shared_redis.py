"""The shared notes in a Redis or Valkey, that of the ledger: for any number of machines.

Needs commands of Redis 6.2. Under the prefix: `:notes` (name → `+value`, or `-` for a deleted
one), `:versions` (name by version), `:deleted` (name by version) and `:lease:<name>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from plugins._shared import KEEP_S, SharedAwayError, checked

__all__ = ["RedisShared"]

# A version is a time in microseconds: 53 bits are enough until 2255, but not for Lua's tostring.
_CLOCK = """
local call = redis.call
local notes, versions, deleted = KEYS[1] .. ':notes', KEYS[1] .. ':versions', KEYS[1] .. ':deleted'
local function whole(number) return string.format('%.0f', number) end
local function newest() return tonumber(call('ZREVRANGE', versions, 0, 0, 'WITHSCORES')[2] or 0) end
local function now_us()
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end
"""
_PUT = (
    _CLOCK
    + """
local name, value, keep_us, seen = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if seen >= 0 and tonumber(call('ZSCORE', versions, name) or 0) > seen then return '0' end
local now = now_us()
local version = math.max(now, newest() + 1)
call('HSET', notes, name, value)
call('ZADD', versions, whole(version), name)
if value == '-' then
  call('ZADD', deleted, whole(version), name)
  for _, old in ipairs(call('ZRANGEBYSCORE', deleted, '-inf', whole(now - keep_us))) do
    call('HDEL', notes, old)
    call('ZREM', versions, old)
    call('ZREM', deleted, old)
  end
else
  call('ZREM', deleted, name)
end
return whole(version)
"""
)
_SINCE = (
    _CLOCK
    + """
local after, last = tonumber(ARGV[1]), newest()
local answer = {whole(last)}
if after == last then return answer end
local from = '-inf'
if after < last then from = '(' .. whole(after) end
for _, name in ipairs(call('ZRANGEBYSCORE', versions, from, '+inf')) do
  answer[#answer + 1] = name
  answer[#answer + 1] = call('HGET', notes, name)
end
return answer
"""
)
_LEASE = """
local key, owner, ttl_ms = KEYS[1] .. ':lease:' .. ARGV[1], ARGV[2], tonumber(ARGV[3])
local holder = redis.call('GET', key)
if holder and holder ~= owner then return 0 end
if ttl_ms > 0 then
  redis.call('SET', key, owner, 'PX', ttl_ms)
  return 1
end
redis.call('DEL', key)
return 0
"""


class RedisShared:
    """A `Shared` in the Redis at *url*, under keys that begin with *prefix*.

    A call waits *timeout_s* for its answer.
    """

    def __init__(
        self, url: str, *, prefix: str = "qwen3-router:shared", timeout_s: float = 1.0
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def put(self, name: str, value: bytes | None, *, seen: int | None = None) -> int:
        """Write or delete a note."""
        flagged = b"-" if checked(value) is None else b"+" + (value or b"")
        after = -1 if seen is None else seen
        return int(await self._eval(_PUT, name, flagged, int(KEEP_S * 1e6), after))

    async def since(self, version: int) -> tuple[int, dict[str, bytes | None]]:
        """Return what is newer."""
        newest, *rest = await self._eval(_SINCE, version)
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return int(newest), {name.decode(): _value(found) for name, found in pairs}

    async def lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take, renew or give back a lease."""
        return bool(await self._eval(_LEASE, name, owner, int(ttl_s * 1000)))

    async def now(self) -> float:
        """Return the server's clock, by half of the time that asking took."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        seconds, micros = await self._call(lambda client: client.time())
        return float(seconds) + float(micros) / 1e6 + (loop.time() - asked) / 2

    async def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await client.aclose()

    async def _eval(self, script: str, *args: Any) -> Any:
        sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self._call(lambda client: client.evalsha(sha, 1, self._prefix, *args))
        except NoScriptError:
            return await self._call(lambda client: client.eval(script, 1, self._prefix, *args))

    async def _call(self, what: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # a connection belongs to one loop
            self._client, self._loop = self._connected(), loop
        try:
            async with asyncio.timeout(self._timeout_s):
                return await what(self._client)
        except NoScriptError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            place = urlsplit(self._url)
            where = f"Redis on {place.hostname}:{place.port or 6379}"
            raise SharedAwayError(f"{where} does not answer ({type(error).__name__})") from None

    def _connected(self) -> Redis:
        client: Redis = Redis.from_url(
            self._url, protocol=2, retry=Retry(NoBackoff(), 0), socket_connect_timeout=1.0
        )
        return client


def _value(found: bytes | None) -> bytes | None:
    return None if found is None or found == b"-" else found[1:]
