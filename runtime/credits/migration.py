"""Takes an installation, and then each of its accounts, to the newest schema."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from runtime.credits.batch import Call, Mode
from runtime.credits.results import (
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    LedgerError,
    LedgerUnavailable,
)
from runtime.credits.schema import NEWEST, schema_of
from runtime.credits.script_client import ScriptClient, ledger_error, plain_commands
from runtime.credits.watch import Watch
from runtime.redis.errors import RedisUnavailable, ScriptRefused, described
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, shares

_T = TypeVar("_T")
_BUCKETS_AT_ONCE = 64
_ACCOUNTS_AT_ONCE = 500
_UPGRADES_AT_ONCE = 8
_MOST_ROUNDS = 10
"""Processes notice the newest schema within seconds; then no account is opened with another."""


@dataclass(slots=True)
class Schemas:
    """The schemas that were found.

    Args:
        installation: of the installation.
        accounts: the number of accounts of each schema.
        older: the accounts whose schema is below the newest.
        unreadable: accounts and keys that can't be read, each with the reason.
    """

    installation: int
    accounts: Counter[int] = field(default_factory=Counter)
    older: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Upgrade:
    """The progress of an upgrade.

    Args:
        buckets: the number of buckets that are done, of ``BUCKETS``.
        upgraded: the number of accounts that were upgraded.
        left: accounts that can't be upgraded now, each with the reason.
    """

    buckets: int = 0
    upgraded: int = 0
    left: dict[str, str] = field(default_factory=dict)


class Migration:
    """The schemas of an installation.

    While processes of release 0.1 run, its accounts stay as that release reads them. After
    ``finish`` that release refuses them, by the name of the schema: what it could not book waits in
    its spool, for a process of this release.

    Args:
        timeout_ms: of each plain command.
    """

    def __init__(
        self, client: Client, keys: Keys, script_client: ScriptClient, watch: Watch, timeout_ms: int
    ) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._script_client = script_client
        self._watch = watch
        self._timeout_s = timeout_ms / 1000

    async def look(self) -> Schemas:
        """Return which schemas the installation and its accounts have. Writes nothing.

        Raises:
            LedgerUnavailable: Redis, or a server of a cluster, can't be reached.
        """
        found = Schemas(await self._installation())
        async for part in self._parts():
            found.accounts += part.accounts
            found.older += part.older
            found.unreadable |= part.unreadable
        return found

    async def finish(self) -> AsyncIterator[Upgrade]:
        """Set the newest schema, and upgrade account by account; yield how far it has come.

        What was upgraded stays so: after a failure, or where it was stopped, do it again.

        Raises:
            LedgerError: the installation is of a newer schema.
            LedgerUnavailable: Redis, or a server of a cluster, can't be reached.
        """
        if await self._installation() < NEWEST:
            async with plain_commands(self._timeout_s):
                await self._client.hset(self._keys.installation, "schema", str(NEWEST))
        self._watch.schema = NEWEST
        upgrade = Upgrade()
        for _ in range(_MOST_ROUNDS):
            before, upgrade.buckets = upgrade.upgraded, 0
            async for part in self._parts():
                upgrade.left |= part.unreadable
                for some in _some_of(part.older, _UPGRADES_AT_ONCE):
                    await asyncio.gather(*(self._upgrade(one, upgrade) for one in some))
                upgrade.buckets += part.buckets
                yield upgrade
            # A process that had not noticed may have opened accounts of the schema before.
            if upgrade.upgraded == before:
                return

    async def _upgrade(self, account_id: str, upgrade: Upgrade) -> None:
        try:
            call = Call("upgrade", (NEWEST,), mode=Mode.ACCOUNT)
            _, is_new = await self._script_client.ask(account_id, call)
        except (AccountDamaged, AccountStopped, AccountUnknown) as error:
            upgrade.left[account_id] = str(error)
        except LedgerUnavailable as error:
            if not isinstance(error.__cause__, ScriptRefused):
                raise
            upgrade.left[account_id] = str(error)
        else:
            upgrade.upgraded += is_new
            upgrade.left.pop(account_id, None)

    async def _installation(self) -> int:
        name = self._keys.installation
        async with plain_commands(self._timeout_s):
            stored = await self._client.hget(name, "schema")
        try:
            schema = schema_of(stored)
        except ValueError as error:
            raise LedgerError(f"{name}: {error}") from None
        if schema > NEWEST:
            raise LedgerError(f"{name}: schema {schema} was set by a newer release: run that one")
        return schema

    async def _parts(self) -> AsyncIterator[_Part]:
        async with plain_commands(self._timeout_s):
            found = await shares(self._client, range(BUCKETS))
        for _, buckets in found:
            for some in _some_of(buckets, _BUCKETS_AT_ONCE):
                yield await self._part(some)

    async def _part(self, buckets: Sequence[int]) -> _Part:
        part = _Part(len(buckets))
        names = [self._keys.bucket(number, "accounts") for number in buckets]
        accounts: list[str] = []
        async for name, members in self._asked("SMEMBERS", [(name,) for name in names]):
            if isinstance(members, ResponseError):
                part.unreadable[name] = str(members)
            else:
                accounts += map(_text, members)
        by_key = {self._keys.of_account(one)[0]: one for one in sorted(accounts)}
        async for name, stored in self._asked("HGET", [(name, "schema") for name in by_key]):
            part.note(by_key[name], stored)
        return part

    async def _asked(
        self, command: str, arguments: Sequence[tuple[str, ...]]
    ) -> AsyncIterator[tuple[str, Any]]:
        """Ask the same of many keys; yield each key with the answer, or with its own fault."""
        for some in _some_of(arguments, _ACCOUNTS_AT_ONCE):
            async with plain_commands(self._timeout_s):
                pipeline = self._client.pipeline(transaction=False)
                for each in some:
                    pipeline.execute_command(command, *each)
                answers = await pipeline.execute(raise_on_error=False)
            for (name, *_), answer in zip(some, answers, strict=True):
                # Any other error, such as CLUSTERDOWN, is the server's and not the key's.
                own = isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer)
                if isinstance(answer, Exception) and not own:
                    raise ledger_error(RedisUnavailable(described(answer))) from answer
                yield name, answer


@dataclass(slots=True)
class _Part:
    """The accounts of some buckets."""

    buckets: int
    accounts: Counter[int] = field(default_factory=Counter)
    older: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def note(self, account_id: str, stored: Any) -> None:
        if stored is None or isinstance(stored, ResponseError):
            self.unreadable[account_id] = str(stored or "its record is missing")
            return
        try:
            schema = schema_of(stored)
        except ValueError as error:
            self.unreadable[account_id] = str(error)
            return
        self.accounts[schema] += 1
        if schema < NEWEST:
            self.older.append(account_id)


def _some_of(values: Sequence[_T], most: int) -> Iterator[Sequence[_T]]:
    return (values[start : start + most] for start in range(0, len(values), most))


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
