"""Reads what Redis has of accounts as it is stored, for those who check the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster

from runtime.credits import decoding
from runtime.credits.batch import Call, Mode
from runtime.credits.checks import check_account_id, check_whole
from runtime.credits.journal import JournalError
from runtime.credits.results import GrantBalance, LedgerUnavailable
from runtime.credits.script_client import ScriptClient, plain_commands
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client

_MOST_PAGES = 10_000
_BUCKETS_AT_ONCE = 128
_JOURNAL = 8  # its place among the keys of an account


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account as it is stored, at one moment: what is due by now is not yet in it.

    ``seq`` and ``chain`` are those of its last journal entry. Amounts are millicredits.
    """

    account_id: str
    epoch: str
    seq: int
    chain: str
    granted_mc: int
    parts_mc: dict[str, int]
    overage_mc: int
    exposure_mc: int
    grants: dict[str, GrantBalance]


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry of the journal in Redis, as it is written."""

    seq: int
    chain: str
    body: str


class Inspection:
    """Reads accounts and journals, and writes nothing.

    Every method may raise ``LedgerUnavailable``.
    """

    def __init__(
        self, client: Client, keys: Keys, script_client: ScriptClient, timeout_ms: int
    ) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._script_client = script_client
        self._timeout_s = timeout_ms / 1000

    async def stored(self, account_id: str) -> StoredAccount:
        """Return an account with balance, sequence and chain as one script found them.

        Raises:
            AccountUnknown: there is no such account.
            AccountDamaged: its records can't be trusted.
        """
        check_account_id(account_id)
        page: tuple[bytes, ...] = ()
        records: list[bytes] = []
        for _ in range(_MOST_PAGES):
            answer = await self._script_client.ask(account_id, Call("stored", page, mode=Mode.READ))
            records += answer[2]
            if answer[0] != b"more":
                return _stored(account_id, answer[1], records, answer[3])
            page = (answer[1],)
        raise LedgerUnavailable(f"account {account_id!r} changes faster than it can be read")

    async def journal(self, account_id: str, after_seq: int, most: int) -> list[StreamEntry]:
        """Return the entries in Redis that follow ``after_seq``, at most so many.

        Raises:
            JournalError: an entry is none of the ledger's.
        """
        check_whole(after_seq, "after_seq")
        check_whole(most, "most", least=1)
        async with plain_commands(self._timeout_s):
            found = await self._client.xrange(
                self._journal_key(account_id), min=f"0-{after_seq + 1}", count=most
            )
        return [_stream_entry(account_id, name, fields) for name, fields in found]

    async def accounts(self) -> list[str]:
        """Return the ids of all accounts in Redis, in order."""
        found: list[str] = []
        for first in range(0, BUCKETS, _BUCKETS_AT_ONCE):
            numbers = range(first, min(BUCKETS, first + _BUCKETS_AT_ONCE))
            async with plain_commands(self._timeout_s):
                found += await self._accounts_of(numbers)
        return sorted(found)

    async def _accounts_of(self, numbers: Sequence[int]) -> list[str]:
        names = [self._keys.bucket(number, "accounts") for number in numbers]
        if isinstance(self._client, RedisCluster):
            members = [await self._client.smembers(name) for name in names]
        else:
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.smembers(name)
            members = await pipeline.execute()
        return [_text(member) for one in members for member in one]

    def _journal_key(self, account_id: str) -> str:
        check_account_id(account_id)
        return self._keys.of_account(account_id)[_JOURNAL]


def _stored(
    account_id: str, flat: Sequence[Any], records: Sequence[bytes], chain: bytes
) -> StoredAccount:
    fields = dict(zip(map(bytes.decode, flat[::2]), flat[1::2], strict=True))
    grants = [
        decoding.grant(grant_id.decode(), record.decode())
        for grant_id, record in zip(records[::2], records[1::2], strict=True)
    ]
    return StoredAccount(
        account_id=account_id,
        epoch=fields["epoch"].decode(),
        seq=fields["seq"],
        chain=chain.decode(),
        granted_mc=fields["granted"],
        parts_mc={
            part: fields[part] for part in ("available", "reserved", "charged", "expired", "voided")
        },
        overage_mc=fields["overage"],
        exposure_mc=fields["exposure"],
        grants={grant.grant_id: grant for grant in grants},
    )


def _stream_entry(account_id: str, name: Any, fields: Any) -> StreamEntry:
    text = _text(name)
    major, _, minor = text.partition("-")
    try:
        if major != "0":
            raise ValueError("its id does not begin with 0-")
        return StreamEntry(int(minor), _text(fields[b"c"]), _text(fields[b"e"]))
    except (KeyError, ValueError) as exc:
        raise JournalError(f"account {account_id}: journal entry {text}: {exc}") from exc


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
