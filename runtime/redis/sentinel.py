"""Redis Sentinel: finds the primary, and follows it after a failover.

The sentinels are asked once a second while the primary is in use, and at once after an error, so
that no connection to a former primary is used: until it is demoted it takes writes that are lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from runtime.background import TaskSet
from runtime.redis.errors import described

_log = logging.getLogger("creditgate.ledger")

Address = tuple[str, int]

_ASK_EVERY_S = 1.0
# An older answer is not used before it is confirmed. A failover takes longer.
_BELIEVED_FOR_S = 2.0
# While there is no primary, all callers share an answer for as long.
_NO_PRIMARY_FOR_S = 0.05


class PrimaryUnknown(RedisConnectionError):
    """No sentinel that can be asked knows the primary."""


class PrimaryDown(PrimaryUnknown):
    """The sentinels say that the primary is down, and have not named another one yet."""


class Sentinels:
    """The sentinels that watch one primary.

    All are asked at once, since one may hang, and of the answers of a majority the newest counts: a
    sentinel that was frozen or cut off may still name a primary that was replaced.

    Args:
        clients: one for each sentinel, with time-outs.
        master: the name under which the sentinels know the primary.
        timeout_s: for all answers.
    """

    def __init__(self, clients: Sequence[Redis], master: str, timeout_s: float) -> None:
        self._clients = clients
        self._master = master
        self._timeout_s = timeout_s
        self._asking = TaskSet()

    async def find(self) -> Address:
        """Return the primary's address.

        Raises:
            PrimaryDown, PrimaryUnknown: see there.
        """
        told, refusals = await self._ask_all()
        if not told:
            raise PrimaryUnknown(f"no sentinel tells where {self._master} is: {refusals}")
        newest_epoch = max(one["config-epoch"] for one in told)
        newest = [one for one in told if one["config-epoch"] == newest_epoch]
        is_down = sum(bool(one["is_sdown"]) for one in newest) * 2 > len(newest)
        if is_down or any(one["is_odown"] for one in newest):
            raise PrimaryDown(f"the sentinels say that {self._master} is down")
        return str(newest[0]["ip"]), int(newest[0]["port"])

    async def aclose(self) -> None:
        """Close the connections to the sentinels, also of those whose answer nobody waits for."""
        await self._asking.cancel()
        for client in self._clients:
            await client.aclose()

    async def _ask_all(self) -> tuple[list[dict[str, Any]], str]:
        """Return what the sentinels say, and why others say nothing."""
        told: list[dict[str, Any]] = []
        refusals: list[str] = []

        async def ask(client: Redis) -> None:
            asked: Any = client.sentinel_master(self._master)
            try:
                told.append(await asked)
            except (RedisError, OSError) as error:
                at = client.connection_pool.connection_kwargs
                refusals.append(f"{at['host']}:{at['port']}: {described(error)}")

        left = {self._asking.create(ask(client)) for client in self._clients}
        enough = len(left) // 2 + 1
        try:
            async with asyncio.timeout(self._timeout_s):
                while left and len(told) < enough:
                    _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            refusals.append(f"no answer of {len(left)} within {self._timeout_s:g} s")
        finally:
            for task in left:
                task.cancel()
        return told, "; ".join(refusals)


class Following:
    """The primary's address, as the sentinels told it last.

    Args:
        find: asks the sentinels; raises redis-py's errors.
    """

    def __init__(self, find: Callable[[], Awaitable[Address]]) -> None:
        self._find = find
        self._address: Address | None = None
        self._fault = ""
        self._asked_at_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._answers = True

    def is_current(self, connection: Any) -> bool:
        """Return whether redis-py's connection goes to the primary, as far as is known."""
        return self._address in (None, (connection.host, connection.port))

    def doubt(self) -> None:
        """Ask the sentinels before the next use: something went wrong with the primary."""
        if not self._fault:
            self._asked_at_s = float("-inf")

    async def current(self) -> Address:
        """Return the primary's address, as it was told lately.

        Where no sentinel answers, it is the address that was known before.

        Raises:
            PrimaryUnknown: there is no primary, or none was ever known.
        """
        age_s = asyncio.get_running_loop().time() - self._asked_at_s
        if age_s > (_NO_PRIMARY_FOR_S if self._fault else _BELIEVED_FOR_S):
            # In a separate task: redis-py may swallow a cancellation, which must reach the caller.
            await asyncio.shield(self._asking_now())
        elif age_s > _ASK_EVERY_S:
            _ = self._asking_now()
        if self._address is None or self._fault:
            raise PrimaryUnknown(self._fault)
        return self._address

    async def drain(self) -> None:
        """Wait until nothing is being asked."""
        if self._asking is not None:
            await asyncio.wait([self._asking])

    def _asking_now(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        before = self._address
        try:
            self._address = found = await self._find()
        except PrimaryDown as error:
            self._note_fault(str(error))
        except (RedisError, OSError) as error:
            if before is None:
                self._fault = str(error)
            if self._answers:
                _log.warning("the sentinels can't be asked: %s", error)
            self._answers = False
        else:
            self._fault, self._answers = "", True
            if before not in (None, found):
                _log.warning("the primary is %s:%d now", *found)
        self._asked_at_s = asyncio.get_running_loop().time()

    def _note_fault(self, fault: str) -> None:
        if not self._fault:
            _log.warning("%s", fault)
        self._fault, self._answers = fault, True


class PrimaryConnection(Connection):
    """A connection that goes to the primary, and to no server that says it is none."""

    def __init__(self, following: Following, **options: Any) -> None:
        self._following = following
        super().__init__(**options)

    async def connect(self) -> None:
        """Connect to the primary, if there is no connection yet.

        Raises:
            PrimaryUnknown: there is no primary, or the server is a replica by now.
        """
        if self.is_connected:
            return
        self.host, self.port = await self._following.current()
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py's types are incomplete
        await self._check_role()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return an answer; a demoted server's refusal ends the use of the connection."""
        try:
            return await super().read_response(*args, **options)
        except ReadOnlyError:
            self._following.doubt()
            self.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's types are incomplete
            raise

    async def _check_role(self) -> None:
        await self.send_command("ROLE", check_health=False)
        try:
            told = await self.read_response(disable_decoding=True)
        except ResponseError:  # a user may lack the command
            return
        if told[0] != b"master":
            await self.disconnect()
            self._following.doubt()
            raise PrimaryUnknown(f"{self.host}:{self.port} is a replica")


class PrimarySSLConnection(PrimaryConnection, SSLConnection):
    """The same over TLS."""


class PrimaryPool(BlockingConnectionPool):
    """A pool of connections to the primary; those to a former one are made again."""

    def __init__(self, following: Following, **options: Any) -> None:
        self.following = following
        super().__init__(following=following, **options)

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """Return a connection to the primary, as redis-py's pool does.

        Raises:
            PrimaryUnknown: there is no primary.
        """
        _ = await self.following.current()
        return await super().get_connection()  # type: ignore[no-untyped-call]  # redis-py's types are incomplete

    async def ensure_connection(self, connection: Any) -> None:
        """Make sure that a connection is open, and goes to the primary."""
        if connection.is_connected and not self.following.is_current(connection):
            await connection.disconnect()
        await super().ensure_connection(connection)


def following_of(client: Redis) -> Following | None:
    """Return what knows the primary's address for this client; ``None`` if its address is fixed.

    A host's own client of redis-py's ``Sentinel.master_for`` asks the sentinels as redis-py does.
    """
    pool: Any = client.connection_pool
    if isinstance(pool, PrimaryPool):
        return pool.following
    if isinstance(pool, SentinelConnectionPool):
        return Following(pool.get_master_address)
    return None
