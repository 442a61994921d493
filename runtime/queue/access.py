"""The way to the queue's keys: scripts and plain commands, with the queue's own errors."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from runtime.ids import ID_RULE, ID_TEXT_RULE, is_id_text, is_strict_id
from runtime.queue.errors import QueueDamaged
from runtime.queue.scripts import Scripts, queue_error
from runtime.redis.cluster import transport_to
from runtime.redis.errors import RedisUnavailable
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, bounded

_DAMAGE = "WRONGTYPE"


class QueueAccess:
    """Runs the queue's scripts and plain commands.

    Every method may raise ``QueueUnavailable`` or ``QueueDamaged``.
    """

    def __init__(
        self, client: Client, key_prefix: str, timeout_ms: int, replicas: int, clock: str | None
    ) -> None:
        self.client: Any = client  # redis-py types answers by what its settings could make of them
        self.keys = Keys(key_prefix)
        self._timeout_s = timeout_ms / 1000
        self._transport = transport_to(client, timeout_ms, replicas)
        self._scripts = Scripts(self._transport, clock)

    async def run(
        self,
        verb: str,
        account_id: str,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int],
        *,
        again: bool = False,
    ) -> list[Any]:
        """Return what a script answers, as ``Scripts.run``."""
        return await self._scripts.run(verb, account_id, keys, arguments, again=again)

    async def plain(self, key: str, command: Awaitable[Any]) -> Any:
        """Return what a plain command about a key answers, in bounded time."""
        try:
            async with bounded(self._timeout_s):
                return await command
        except RedisUnavailable as error:
            if _DAMAGE in str(error):
                raise QueueDamaged(f"{key}: {error}") from error
            raise queue_error(error) from error

    async def drain(self) -> None:
        """Wait for answers that are still to be read, and give connections back."""
        await self._transport.drain()

    def of_account(self, account_id: str, *parts: str) -> tuple[str, ...]:
        """Return keys of an account, such as ``queues`` or ``results``."""
        return tuple(self.keys.part(account_id, part) for part in parts)

    def of_campaign(self, account_id: str, campaign_id: str, *parts: str) -> tuple[str, ...]:
        """Return keys of a campaign, in the order of ``parts``."""
        return tuple(self.keys.of_campaign(account_id, part, campaign_id) for part in parts)


def check_ids(account_id: object, *campaign_or_workspace: object) -> None:
    """Raise ``ValueError`` unless ids may be parts of keys' names."""
    if not isinstance(account_id, str) or is_strict_id(account_id) is None:
        raise ValueError(f"account_id: found {account_id!r}, allowed are {ID_RULE}")
    for name in campaign_or_workspace:
        if not isinstance(name, str) or is_id_text(name) is None:
            raise ValueError(f"campaign or workspace: found {name!r}, allowed is {ID_TEXT_RULE}")


def text_of(value: bytes | str) -> str:
    """Return an answer as text: a host's own client may have decoded it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def bytes_of(value: bytes | str) -> bytes:
    """Return an answer as bytes."""
    return value if isinstance(value, bytes) else value.encode()
