"""Archiving from one process, compared with a bare COPY of the same rows."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from runtime.archive.copier import Copier
from runtime.credits.journal import chain_of
from runtime.redis.keys import Keys
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import entries
from tests.bench.conditions import median, say, spread
from tests.bench.ledger_stage import ACCOUNT, LedgerStage, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.registry import Measured
from tests.harness.archive import Journal, put_journal
from tests.harness.postgres import CAREFUL, PostgresServer, open_postgres

_ROUNDS = 3
_EXECUTIONS = 1_000
_ACCOUNTS = 30
_COPIES = 2
_TIMEOUT_MS = 30_000
_COLUMNS = [column.name for column in entries.columns]


@dataclass(slots=True)
class _Rates:
    """Entries a second, by round."""

    postgres: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    sqlite: list[float] = field(default_factory=list)


def measure_share() -> Measured:
    """Measure which share of a bare COPY's speed archiving into PostgreSQL has."""
    rates, conditions = _measured()
    shares = [own / bare for own, bare in zip(rates.postgres, rates.copy, strict=True)]
    return Measured(median(shares), {**conditions, "spread": spread(shares)})


def measure_rate() -> Measured:
    """Measure how many entries a second are archived into PostgreSQL."""
    rates, conditions = _measured()
    return Measured(round(statistics.median(rates.postgres)), conditions)


@cache
def _measured() -> tuple[_Rates, dict[str, Any]]:
    return asyncio.run(_measure())


async def _measure() -> tuple[_Rates, dict[str, Any]]:
    rates = _Rates()
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_ledger_stage())
        server = await stack.enter_async_context(open_postgres(CAREFUL))
        bodies = await _bodies(stage)
        journals = [_journal(bodies, number) for number in range(_ACCOUNTS)]
        for number in range(1 + _ROUNDS):
            say(f"  round {number} of {_ROUNDS}")
            await _round(stage, server, journals, rates if number else _Rates())
        conditions = {
            **stage.conditions(),
            "postgres_server": f"PostgreSQL {server.sql('SHOW server_version')}",
            "entries": _ACCOUNTS * len(journals[0]),
            "accounts": _ACCOUNTS,
            "body_bytes": round(statistics.mean(len(body) for body, _ in journals[0])),
            "archive_entries_s": round(statistics.median(rates.postgres)),
            "bare_copy_rows_s": round(statistics.median(rates.copy)),
            "sqlite_entries_s": round(statistics.median(rates.sqlite)),
        }
    return rates, conditions


async def _round(
    stage: LedgerStage,
    server: PostgresServer,
    journals: Sequence[Journal],
    rates: _Rates,
) -> None:
    total = sum(map(len, journals))
    async with _postgres(server) as database:
        rates.postgres.append(total / await _archive(stage, database, journals))
        async with database.connect() as connection:
            rows = [tuple(row) for row in await connection.execute(select(entries))]
    if len(rows) != total:
        raise RuntimeError(f"{len(rows)} of {total} entries were archived")
    async with _postgres(server) as database:
        rates.copy.append(total / await _copy(database, rows))
    with tempfile.TemporaryDirectory(prefix="creditgate-bench-") as folder:
        async with open_database(database_url(f"sqlite:///{Path(folder)}/a.db")) as database:
            rates.sqlite.append(total / await _archive(stage, database, journals))


@asynccontextmanager
async def _postgres(server: PostgresServer) -> AsyncIterator[Database]:
    async with open_database(database_url(server.new_database())) as database:
        yield database
    server.sql("CHECKPOINT")


async def _archive(stage: LedgerStage, database: Database, journals: Sequence[Journal]) -> float:
    """Return the seconds that the journals take."""
    keys = Keys(stage.ledger.settings.key_prefix)
    for number, journal in enumerate(journals):
        await put_journal(stage.client, keys, f"archived-{number}", journal)
    copier = Copier(database, stage.client, keys, timeout_ms=_TIMEOUT_MS)
    began_s = time.perf_counter()
    archived = await copier.run_once()
    took_s = time.perf_counter() - began_s
    if archived.left:
        raise RuntimeError(f"left behind: {archived.left}")
    return took_s


async def _copy(database: Database, rows: Sequence[tuple[Any, ...]]) -> float:
    async with database.engine.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        began_s = time.perf_counter()
        # Outside of a transaction of its own, a COPY is committed as it ends.
        await raw.copy_records_to_table("entries", records=rows, columns=_COLUMNS)
        return time.perf_counter() - began_s


async def _bodies(stage: LedgerStage) -> list[bytes]:
    """Let executions run, and return the entries that the ledger wrote of them."""
    await stage.open_account()

    async def pair(attempt: Any) -> None:
        await stage.settle(attempt, await stage.reserve(attempt))

    await run_calls(pair, stage.attempts(_EXECUTIONS), 64)
    keys = Keys(stage.ledger.settings.key_prefix)
    found = await stage.client.xrange(keys.part(ACCOUNT, "journal"))
    await stage.client.srem(keys.news(ACCOUNT), ACCOUNT)
    return [fields[b"e"] for _, fields in found]


def _journal(bodies: Sequence[bytes], number: int) -> Journal:
    """Return a journal of an account with these entries, the executions' several times."""
    chain, journal = "", []
    setup = [body for body in bodies if body.split(b"\t")[2] != b"s"]
    settled = [body for body in bodies if body.split(b"\t")[2] == b"s"]
    for body in setup + settled * _COPIES:
        columns = body.decode().split("\t")
        if columns[4]:
            columns[4] = f"{number:04d}{columns[4][4:]}"
        text = "\t".join(columns)
        chain = chain_of(chain, text)
        journal.append((text.encode(), chain.encode()))
    return journal
