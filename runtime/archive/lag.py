"""The lag of the archive: entries that wait in Redis, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.archive.streams import Streams, Unreadable
from runtime.redis.keys import BUCKETS
from runtime.redis.primaries import Client, shares

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class AccountLag:
    """An account with entries that are not archived; ``seconds`` is the oldest one's age.

    ``entries`` is ``None`` where the account's own record can't be read.
    """

    account_id: str
    entries: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Lag:
    """The accounts that the archive is behind, the longest first."""

    accounts: tuple[AccountLag, ...]

    @property
    def entries(self) -> int:
        """The entries that wait, in all."""
        return sum(account.entries or 0 for account in self.accounts)

    @property
    def seconds(self) -> float:
        """The age of the oldest one."""
        return max((account.seconds for account in self.accounts), default=0.0)


async def lag_of(client: Client, streams: Streams) -> Lag:
    """Return the lag, as the ledger itself has it; the archive is not asked.

    Raises:
        LedgerUnavailable: Redis, or a server of a cluster, can't be reached.
    """
    found: list[AccountLag] = []
    for primary, buckets in await streams.ask(shares(client, range(BUCKETS))):
        now_ms = await streams.ask(primary.time_ms())
        names, _ = await streams.news(buckets)
        for at in range(0, len(names), _CHUNK):
            found += await _lags(streams, names[at : at + _CHUNK], now_ms)
    return Lag(tuple(sorted(found, key=lambda one: (-one.seconds, one.account_id))))


async def _lags(streams: Streams, account_ids: list[str], now_ms: int) -> list[AccountLag]:
    books = await streams.books(account_ids)
    known = [0 if isinstance(each, Unreadable) else each.archived for each in books]
    first = await streams.read(
        [(name, seq, 1) for name, seq in zip(account_ids, known, strict=True)]
    )
    found = []
    for name, each, entries in zip(account_ids, books, first, strict=True):
        waiting = None if isinstance(each, Unreadable) else max(0, each.seq - each.archived)
        if waiting != 0:
            seconds = 0.0
            if not isinstance(entries, Unreadable) and entries:
                seconds = max(0, now_ms - _at_ms(entries[0][1])) / 1000
            found.append(AccountLag(name, waiting, seconds))
    return found


def _at_ms(body: bytes) -> int:
    columns = body.split(b"\t", 4)
    return int(columns[3]) if len(columns) > 3 and columns[3].isdigit() else 0
