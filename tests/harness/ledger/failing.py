"""Scripts of which one command fails, and which tell what they asked of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runtime.credits import scripts
from runtime.redis.keys import bucket_of
from runtime.redis.transport import Abandoned, Reply, Request, Transport, bulk

# Behind all other arguments are the list for what was asked, the number of the command that fails
# (0 for none), and the time, which the transport below says.
SCRIPTS_THAT_FAIL = scripts.assemble("""
local real, asked = _G.redis, 0
local told = table.remove(ARGV)
local told_ms = tonumber(told)
local fails_at = tonumber(table.remove(ARGV))
local trace = table.remove(ARGV) .. string.match(KEYS[1], '{.-}')  -- in the account's slot
real.call('RPUSH', trace, '')
ARGV[8] = told -- the process's clock agrees
local function server_ms()
  return told_ms
end
local function counted(ask, ...)
  asked = asked + 1
  real.call('RPUSH', trace, cjson.encode({ ... }))
  if asked ~= fails_at then return ask(...) end
  if ask == real.call then error('this command failed') end
  return { err = 'this command failed' }
end
local redis = {
  call = function(...) return counted(real.call, ...) end,
  pcall = function(...) return counted(real.pcall, ...) end,
  sha1hex = real.sha1hex,
  error_reply = real.error_reply,
}
""")


@dataclass
class FailingTransport:
    """Has the scripts' command of this number fail, and no other."""

    below: Transport
    trace: str
    fails_at: int = 0

    def trace_key(self, account_id: str) -> str:
        """Return the list of what scripts of this account asked."""
        return f"{self.trace}{{b{bucket_of(account_id)}}}"

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        packed = request.packed + bulk(self.trace, self.fails_at)
        below = replace(request, values=request.values + 2, packed=packed)
        return await self.below.run(below, on_abandoned)

    async def drain(self) -> None:
        await self.below.drain()


@dataclass(frozen=True)
class Command:
    """What a script asked of Redis."""

    name: str
    key: str
    arguments: Sequence[str]

    @property
    def changes(self) -> bool:
        """Whether it may change anything: no set has a member without a name."""
        return self.name in WRITES and not (self.name == "ZREM" and self.arguments == [""])


# What a key must be for a command not to fail by it; EXISTS, SET and GET of a string need nothing
# that another command would have to check.
WRITES = {
    "HSET": "hash",
    "HDEL": "hash",
    "ZADD": "zset",
    "ZREM": "zset",
    "SADD": "set",
    "XADD": "stream",
    "SET": None,
}
READS = {
    "HGET": "hash",
    "HMGET": "hash",
    "HGETALL": "hash",
    "HLEN": "hash",
    "HEXISTS": "hash",
    "ZRANGE": "zset",
    "ZRANGEBYSCORE": "zset",
    "ZCARD": "zset",
    "ZCOUNT": "zset",
    "ZSCORE": "zset",
    "SISMEMBER": "set",
    "XLEN": "stream",
    "XRANGE": "stream",
    "GET": "string",
    "EXISTS": None,
}
