"""A ledger with entries to archive, and what its archive holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.archive.copier import Copier
from runtime.credits.endings import Release, Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import chain_of
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Refused, Reserved
from runtime.redis.keys import Keys
from runtime.store.database import Database
from runtime.store.schema import accounts, entries
from tests.harness.ledger.desk import make_ledger

_CALLERS = 64
_EVERY_RELEASED = 10


async def fill(
    ledger: CreditLedger,
    account_id: str,
    executions: int,
    *,
    first: int = 0,
    cost_mc: int = 1_000,
    granted_mc: int = 10**9,
    **dimensions: str,
) -> int:
    """Open an account, and let executions run: one of ten is released, the others are settled.

    Args:
        first: the number of the first execution; run on with another one.
        dimensions: of the executions, where they are not ``retail``, ``welcome``, ``route`` ...

    Returns:
        The millicredits that were charged.
    """
    await ledger.accounts.open_account(account_id, plan="growth")
    await ledger.accounts.grant(
        account_id, amount_mc=granted_mc, kind=GrantKind.PROMOTIONAL, reference="fill"
    )
    numbers = iter(range(first, first + executions))

    async def run_some() -> int:
        charged_mc = 0
        for number in numbers:
            attempt = attempt_on(ledger, account_id, number, **dimensions)
            charged_mc += await _run(ledger, attempt, number, cost_mc)
        return charged_mc

    return sum(await asyncio.gather(*(run_some() for _ in range(_CALLERS))))


def attempt_on(
    ledger: CreditLedger, account_id: str, number: int, **dimensions: str
) -> ExecutionAttempt:
    """Return an attempt on the execution of a number."""
    fields: dict[str, Any] = {
        "workspace_id": "retail",
        "campaign_id": "welcome",
        "person_id": f"person-{number}",
        "action": "route",
        "source": "live",
        "action_version": "v1",
        "model": "writer",
    }
    return ledger.attempt(
        account_id=account_id, execution_id=f"j{number}:step:1", **(fields | dimensions)
    )


async def _run(ledger: CreditLedger, attempt: ExecutionAttempt, number: int, cost_mc: int) -> int:
    reserved = await ledger.reserve(attempt, 2 * cost_mc, 60_000, final=True)
    if isinstance(reserved, Refused):
        return 0
    assert isinstance(reserved, Reserved), reserved
    if number % _EVERY_RELEASED == _EVERY_RELEASED - 1:
        await ledger.release(
            Release(attempt, reason=FallbackReason.PROVIDER_ERROR, outcome=b"fell back")
        )
        return 0
    await ledger.settle(
        Settlement(
            attempt,
            cost_mc=cost_mc,
            reserved_mc=2 * cost_mc,
            reserved_at_ms=reserved.reserved_at_ms,
            tokens="500,,,50",
            rate_card_version="2026-04-01",
            outcome=b"answered",
        )
    )
    return cost_mc


async def archived_bodies(database: Database, account_id: str) -> list[str]:
    """Return the archived entries of an account, in their order."""
    statement = (
        select(entries.c.body)
        .join(accounts, accounts.c.no == entries.c.account)
        .where(accounts.c.account_id == account_id)
        .order_by(entries.c.seq)
    )
    async with database.connect() as connection:
        return list((await connection.execute(statement)).scalars())


@dataclass
class ArchiveDesk:
    """A ledger on a server, and the archive that its journals are copied into."""

    client: Any  # redis-py's types are unions of all that a setting could make of an answer
    keys: Keys
    ledger: CreditLedger
    database: Database
    stopped: list[tuple[str, str]] = field(default_factory=list)
    """Accounts that the copiers stopped, and why."""

    def copier(self) -> Copier:
        """Return a copier of its own, which stops forked accounts in the ledger."""
        return Copier(self.database, self.client, self.keys, timeout_ms=10_000, stop=self._stop)

    async def _stop(self, account_id: str, why: str) -> None:
        self.stopped.append((account_id, why))
        await self.ledger.repairs.stop(account_id, why=why)

    def key(self, part: str, account_id: str) -> str:
        """Return the account's key that ends so."""
        return self.keys.part(account_id, part)

    async def in_redis(self, account_id: str) -> list[str]:
        """Return the bodies of the account's entries that the stream still has."""
        found = await self.client.xrange(self.key("journal", account_id))
        return [fields[b"e"].decode() for _, fields in found]

    async def archived(self, account_id: str) -> list[str]:
        """Return the bodies of the account's archived entries."""
        return await archived_bodies(self.database, account_id)

    async def rows(self, statement: Any) -> list[Any]:
        """Return what the archive answers."""
        async with self.database.connect() as connection:
            return list(await connection.execute(statement))

    async def snapshot(self, account_id: str) -> dict[str, bytes]:
        """Return an account's keys as they are, as a replica would have them."""
        found = {}
        for key in self._own(account_id):
            dumped = await self.client.dump(key)
            if dumped is not None:
                found[key] = dumped
        return found

    async def lose_since(self, account_id: str, snapshot: dict[str, bytes]) -> None:
        """Put an account back to what it was, as a failover to that replica does."""
        for key in self._own(account_id):
            await self.client.delete(key)
        for key, dumped in snapshot.items():
            await self.client.restore(key, 0, dumped, replace=True)
        await self.client.sadd(self.keys.news(account_id), account_id)
        # A process that was told of what is lost would refuse to go on.
        self.ledger = make_ledger(self.client, self.keys.prefix)

    def _own(self, account_id: str) -> list[str]:
        found = self.keys.of_account(account_id)
        return [key for key in found if f":{account_id}:" in key]

    async def rewrite(self, account_id: str, change: Callable[[list[list[bytes]]], None]) -> None:
        """Change entries of a stream by hand: each is its id, its body and its chain."""
        key = self.key("journal", account_id)
        found = await self.client.xrange(key)
        entries = [[entry_id, fields[b"e"], fields[b"c"]] for entry_id, fields in found]
        change(entries)
        await self.client.delete(key)
        for entry_id, body, chain in entries:
            await self.client.xadd(key, {"e": body, "c": chain}, id=entry_id)


Journal = list[tuple[bytes, bytes]]
"""Bodies and chains."""


def made_journal(executions: int, *, grants: int = 1) -> Journal:
    """Return a journal that no ledger wrote, with so many settlements from so many grants."""
    slices = [f"g{number}:rc:1000" for number in range(1, grants + 1)]
    head = ["1", "abcd"]
    at_ms = 1_790_000_000_000
    named = "retail\twelcome\troute\tv1\twriter\tlive"
    rows = [
        [*head, "o", str(at_ms), *[""] * 13, "growth;1;UTC"],
        *(
            [*head, "g", str(at_ms), "", f"g{number}:na:1000000000", *[""] * 10, f"ref-{number}"]
            for number in range(1, grants + 1)
        ),
        [*head, "n", str(at_ms), "", "", "", "1", *[""] * 9, named],
        *(
            [*head, "s", str(at_ms + n), f"{n:022d}", ",".join(slices), "900", "1", "500,,,50"]
            for n in range(executions)
        ),
    ]
    chain, journal = "", []
    for row in rows:
        chain = chain_of(chain, "\t".join(row))
        journal.append(("\t".join(row).encode(), chain.encode()))
    return journal


async def put_journal(client: Any, keys: Keys, account_id: str, journal: Journal) -> None:
    """Write a journal into Redis as if the account had written it."""
    own = keys.part(account_id, "account"), keys.part(account_id, "journal")
    pipeline = client.pipeline(transaction=False)
    pipeline.delete(own[0], own[1])
    books = ["1", str(len(journal)), *("0" for _ in range(17)), journal[-1][1].decode(), ""]
    pipeline.hset(own[0], mapping={"schema": "1", "books": "\t".join(books)})
    for seq, (body, chain) in enumerate(journal, 1):
        pipeline.execute_command("XADD", own[1], f"0-{seq}", "e", body, "c", chain)
    pipeline.sadd(keys.news(account_id), account_id)
    await pipeline.execute()
