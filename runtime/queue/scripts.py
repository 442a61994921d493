"""The queue's Lua scripts, one a verb, and the one way in which they are run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from runtime.queue.errors import QueueDamaged, QueueUnavailable
from runtime.redis.errors import NotReached, RedisUnavailable, ScriptRefused, UnknownOutcome
from runtime.redis.keys import bucket_of, slot_of_bucket
from runtime.redis.script import Script, read_lua, shipped_clock
from runtime.redis.transport import Request, Transport, bulk

_DAMAGED = "CREDITGATE_DAMAGED "


@cache
def assemble(verb: str, clock: str | None = None) -> Script:
    """Return a verb's script; ``clock`` is the source that defines ``server_ms`` in tests."""
    first = shipped_clock() if clock is None else clock
    parts = ("common", verb, "end")
    return Script.of(
        "\n".join([first, *(read_lua(__package__, f"lua/{one}.lua") for one in parts)])
    )


class Scripts:
    """Runs scripts on the server that holds an account."""

    def __init__(self, transport: Transport, clock: str | None = None) -> None:
        self._transport = transport
        self._clock = clock

    async def run(
        self,
        verb: str,
        account_id: str,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int],
        *,
        again: bool = False,
        writes: bool = True,
    ) -> list[Any]:
        """Return what a script answers.

        Args:
            again: run it a second time if the first one's outcome is unknown: for verbs that do
                nothing where it was done already.

        Raises:
            QueueUnavailable: Redis can't be reached.
            QueueDamaged: a key is not what it must be; nothing was changed.
        """
        request = Request(
            script=assemble(verb, self._clock),
            keys=len(keys),
            values=len(arguments),
            packed=bulk(*keys, *arguments),
            slot=slot_of_bucket(bucket_of(account_id)),
            writes=writes,
        )
        try:
            try:
                return list(await self._transport.run(request, _nobody))
            except (NotReached, UnknownOutcome):
                if not again:
                    raise
                return list(await self._transport.run(request, _nobody))
        except RedisUnavailable as error:
            raise queue_error(error) from error


def _nobody(reply: Any) -> None:
    """Let the answer go that nobody waits for any more: what was taken comes back by itself."""


def queue_error(error: RedisUnavailable) -> QueueUnavailable:
    """Return the queue's error for one of ``runtime.redis``."""
    text = str(error)
    if isinstance(error, ScriptRefused) and text.startswith(_DAMAGED):
        return QueueDamaged(text.removeprefix(_DAMAGED))
    return QueueUnavailable(text)
