"""The ledger's side of copying: what is new, and the journals, read with plain commands."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from runtime.archive.batches import StreamEntry
from runtime.credits.script_client import ledger_error, plain_commands
from runtime.redis.errors import RedisUnavailable, described
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.redis.script import Script, read_lua

_ACCOUNT, _JOURNAL = "account", "journal"
_TRIM = Script.of(read_lua(__package__, "trim.lua"))
# Where the record books has the sequence and the chain: state.lua.
_BOOKS_SEQ, _BOOKS_CHAIN = 1, 19


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Books:
    """The point that an account has reached by the ledger's record, and the part archived of it."""

    seq: int
    chain: str
    archived: int


class Unreadable(Exception):
    """A key of one account, or of one bucket, is damaged or of a foreign type."""


class Streams:
    """Reads and trims journals.

    Args:
        timeout_ms: of each round trip.
    """

    def __init__(self, client: Client, keys: Keys, timeout_ms: int) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._timeout_s = timeout_ms / 1000

    async def news(self, buckets: Sequence[int]) -> tuple[list[str], dict[str, str]]:
        """Return the accounts of buckets of one server that have entries to archive.

        Returns:
            The accounts, and the faults of buckets that can't be read, by key.

        Raises:
            LedgerUnavailable: the server can't be reached.
        """
        keys = [self._keys.bucket(number, "news") for number in buckets]
        found = await self._ask([("SMEMBERS", key) for key in keys])
        faults = {
            key: str(answer)
            for key, answer in zip(keys, found, strict=True)
            if isinstance(answer, Exception)
        }
        answers = [answer for answer in found if not isinstance(answer, Exception)]
        return sorted(_text(name) for answer in answers for name in answer), faults

    async def read(
        self, wanted: Sequence[tuple[str, int, int]]
    ) -> list[list[StreamEntry] | Unreadable]:
        """Return the entries of each account after a sequence, at most so many.

        Args:
            wanted: account, sequence and number of entries.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        found = await self._ask(
            [
                ("XRANGE", self._key(account_id, _JOURNAL), f"(0-{seq}", "+", "COUNT", count)
                for account_id, seq, count in wanted
            ]
        )
        return [_entries(answer) for answer in found]

    async def ask(self, work: Awaitable[_T]) -> _T:
        """Return what other plain commands answer, within the same time.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        async with plain_commands(self._timeout_s):
            return await work

    async def books(self, account_ids: Sequence[str]) -> list[Books | Unreadable]:
        """Return the ledger's own record of each account.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        keys = [self._key(account_id, _ACCOUNT) for account_id in account_ids]
        found = await self._ask([("HMGET", key, "books", "archived") for key in keys])
        return [_books(key, answer) for key, answer in zip(keys, found, strict=True)]

    async def trim(self, archived: Sequence[tuple[str, int, str]]) -> dict[str, str]:
        """Cut journals off behind what is archived; return the faults by account.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        found = await self._ask([self._trim("EVALSHA", _TRIM.sha, *each) for each in archived])
        unknown = [
            each
            for each, answer in zip(archived, found, strict=True)
            if isinstance(answer, NoScriptError)
        ]
        faults = {
            account_id: str(answer)
            for (account_id, _, _), answer in zip(archived, found, strict=True)
            if isinstance(answer, Exception) and not isinstance(answer, NoScriptError)
        }
        if unknown:
            again = await self._ask([self._trim("EVAL", _TRIM.source, *each) for each in unknown])
            for (account_id, _, _), answer in zip(unknown, again, strict=True):
                if isinstance(answer, Exception):
                    faults[account_id] = str(answer)
        return faults

    def _trim(
        self, command: str, script: str, account_id: str, seq: int, chain: str
    ) -> tuple[str | int, ...]:
        keys = [self._key(account_id, part) for part in (_ACCOUNT, _JOURNAL)]
        keys.append(self._keys.news(account_id))
        return (command, script, len(keys), *keys, account_id, seq, chain)

    def _key(self, account_id: str, part: str) -> str:
        return self._keys.part(account_id, part)

    async def _ask(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Return the answers; errors that are about one key are among them."""
        if not commands:
            return []
        async with plain_commands(self._timeout_s):
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            found: list[Any] = await pipeline.execute(raise_on_error=False)
        for answer in found:
            if isinstance(answer, Exception) and not _is_of_a_key(answer):
                raise ledger_error(RedisUnavailable(described(answer))) from answer
        return found


def _is_of_a_key(error: Exception) -> bool:
    """Return whether an error is about a key and not about its server, as CLUSTERDOWN is."""
    if isinstance(error, NoScriptError):
        return True
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def _entries(answer: Any) -> list[StreamEntry] | Unreadable:
    if isinstance(answer, Exception):
        return Unreadable(str(answer))
    try:
        return [(entry_id, fields[b"e"], fields[b"c"]) for entry_id, fields in answer]
    except (KeyError, TypeError, ValueError):
        pass  # damaged, or read by a host's client that decodes
    try:
        return [
            (_bytes(entry_id), _field(fields, "e"), _field(fields, "c"))
            for entry_id, fields in answer
        ]
    except (KeyError, TypeError, ValueError) as exc:
        return Unreadable(f"{type(exc).__name__}: {exc}")


def _books(key: str, answer: Any) -> Books | Unreadable:
    if isinstance(answer, Exception):
        return Unreadable(str(answer))
    books, archived = (_text(value or b"") for value in answer)
    columns = books.split("\t")
    try:
        return Books(int(columns[_BOOKS_SEQ]), columns[_BOOKS_CHAIN], int(archived or 0))
    except (IndexError, ValueError):
        return Unreadable(f"{key} books: damaged or missing")


def _field(fields: Any, name: str) -> bytes:
    return _bytes(fields[name.encode()] if name.encode() in fields else fields[name])


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
