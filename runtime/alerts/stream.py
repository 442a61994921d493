"""The streams in Redis into which scripts write alerts, one for each bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from runtime.credits.script_client import ledger_error, plain_commands
from runtime.redis.errors import RedisUnavailable, described
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client

_BUCKETS_AT_ONCE = 256
_MOST_OF_A_BUCKET = 100


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert as a script wrote it.

    ``resets_ms`` is when the window of its cap ends, 0 for never.
    """

    bucket: int
    entry_id: str
    account_id: str
    mark: str
    threshold_mc: int
    left_mc: int
    at_ms: int
    lag_entries: int = 0
    cap: str = ""
    limit_mc: int = 0
    charged_mc: int = 0
    resets_ms: int = 0

    @property
    def once_key(self) -> str:
        """Its name in every process that reads it."""
        return f"alert {self.bucket} {self.entry_id} {self.account_id} {self.mark} {self.at_ms}"


class AlertStreams:
    """Reads the streams of all buckets, and removes what is written elsewhere.

    Args:
        timeout_ms: of each round trip.
    """

    def __init__(self, client: Client, keys: Keys, timeout_ms: int) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._timeout_s = timeout_ms / 1000

    async def read(self) -> tuple[list[Raised], list[tuple[int, str]]]:
        """Return the oldest alerts of every bucket, and the entries that can't be read.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        found: list[Raised] = []
        damaged: list[tuple[int, str]] = []
        for first in range(0, BUCKETS, _BUCKETS_AT_ONCE):
            buckets = range(first, first + _BUCKETS_AT_ONCE)
            answers = await self._ask(
                ("XRANGE", self._key(bucket), "-", "+", "COUNT", _MOST_OF_A_BUCKET)
                for bucket in buckets
            )
            for bucket, answer in zip(buckets, answers, strict=True):
                if isinstance(answer, Exception):
                    continue
                for entry_id, fields in answer:
                    raised = _raised(bucket, _text(entry_id), fields)
                    if raised is None:
                        damaged.append((bucket, _text(entry_id)))
                    else:
                        found.append(raised)
        return found, damaged

    async def remove(self, entries: Iterable[tuple[int, str]]) -> None:
        """Take entries out of their streams.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        by_bucket: dict[int, list[str]] = {}
        for bucket, entry_id in entries:
            by_bucket.setdefault(bucket, []).append(entry_id)
        if by_bucket:
            await self._ask(("XDEL", self._key(each), *ids) for each, ids in by_bucket.items())

    def _key(self, bucket: int) -> str:
        return self._keys.bucket(bucket, "alerts")

    async def _ask(self, commands: Iterable[tuple[str | int, ...]]) -> Sequence[Any]:
        async with plain_commands(self._timeout_s):
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            # A bucket whose stream is something else keeps nobody from the others.
            is_of_a_key = isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer)
            if isinstance(answer, Exception) and not is_of_a_key:
                raise ledger_error(RedisUnavailable(described(answer))) from answer
        return answers


def _raised(bucket: int, entry_id: str, fields: Any) -> Raised | None:
    values = {_text(name): _text(value) for name, value in fields.items()}
    try:
        return Raised(
            bucket,
            entry_id,
            values["account"],
            values["mark"],
            int(values["threshold_mc"]),
            int(values["left_mc"]),
            int(values["at_ms"]),
            lag_entries=int(values.get("lag_entries", 0)),
            cap=values.get("cap", ""),
            limit_mc=int(values.get("limit_mc", 0)),
            charged_mc=int(values.get("charged_mc", 0)),
            resets_ms=int(values.get("resets_ms", 0)),
        )
    except (KeyError, ValueError):
        return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
