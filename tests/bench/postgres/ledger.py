"""Calls the ledger in PostgreSQL: prepared statements on pooled connections."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from runtime.credits.identity import ExecutionAttempt
from tests.bench.ledger_stage import (
    CAP_LIMIT_MC,
    COST_MC,
    GRANT_MC,
    OPEN_GRANTS,
    OUTCOME,
    RATE_CARD,
    RESERVED_MC,
    TOKENS,
    TTL_MS,
    WORKSPACE,
)
from tests.harness.postgres import PostgresServer

_FILES = ("schema.sql", "single.sql", "many.sql")
_TTL = timedelta(milliseconds=TTL_MS)
_RESERVE = "SELECT * FROM reserve($1, $2, $3, $4, $5, $6, $7)"
_SETTLE = "SELECT * FROM settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_RESERVE_MANY = "SELECT * FROM reserve_many($1, $2, $3, $4, $5, $6, $7)"
_SETTLE_MANY = "SELECT * FROM settle_many($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"


async def make_schema(server: PostgresServer) -> str:
    """Make the tables and functions; return the server's version."""
    connection = await asyncpg.connect(**address(server))
    try:
        for name in _FILES:
            await connection.execute(Path(__file__).with_name(name).read_text())
        version: str = await connection.fetchval("SHOW server_version")
        return version
    finally:
        await connection.close()


async def vacuum(server: PostgresServer) -> None:
    """Do what is otherwise done now and then in the background; plans are made anew from it."""
    connection = await asyncpg.connect(**address(server))
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@asynccontextmanager
async def connect(
    server: PostgresServer, connections: int, **settings: str
) -> AsyncIterator[PostgresLedger]:
    """Open the pool. ``settings`` are the server's, for its sessions."""
    async with asyncpg.create_pool(
        **address(server),
        min_size=connections,
        max_size=connections,
        server_settings=settings,
        # No call leaves anything behind, so that the round trip which would clean up is saved.
        reset=_leave,
    ) as pool:
        yield PostgresLedger(pool)


def address(server: PostgresServer) -> dict[str, Any]:
    """Return what asyncpg takes to connect to the server's own database."""
    return {"host": str(server.folder), "port": server.port, "user": "postgres"}


async def _leave(_: Any) -> None:
    pass


class PostgresLedger:
    """Reserve and settle, one execution a call or many."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def open_account(self, account_id: str) -> None:
        """Open an account with the grants and the cap that the other ledger's accounts have."""
        async with self._pool.acquire() as connection, connection.transaction():
            number = await connection.fetchval(
                "INSERT INTO accounts (account_id, plan, eligible, top_mc)"
                " VALUES ($1, 'growth', true, $2) RETURNING account_no",
                account_id,
                OPEN_GRANTS * GRANT_MC,
            )
            await connection.execute(
                "INSERT INTO grants (account_no, grant_no, kind, reference, priority, expires_at,"
                " amount_mc, available_mc) SELECT $1, n, 'plan', 'grant-' || n, n * 10,"
                " CASE WHEN n < $2 THEN now() + interval '30 days' ELSE 'infinity' END, $3, $3"
                " FROM generate_series(1, $2::integer) AS n",
                number,
                OPEN_GRANTS,
                GRANT_MC,
            )
            await connection.execute(
                "INSERT INTO caps (account_no, cap_no, cap_window, workspace_id, limit_mc)"
                " VALUES ($1, 1, 'month', $2, $3)",
                number,
                WORKSPACE,
                CAP_LIMIT_MC,
            )

    async def pair(self, attempt: ExecutionAttempt) -> None:
        """Reserve and settle, a transaction each."""
        key, dimensions = _key(attempt), list(attempt.dimensions)
        account_id, attempt_id = attempt.account_id, attempt.attempt_id
        fingerprint = attempt.fingerprint
        reserved = await self._pool.fetchrow(
            _RESERVE, account_id, key, attempt_id, RESERVED_MC, _TTL, fingerprint, dimensions
        )
        if reserved["answer"] != "reserved":
            raise RuntimeError(f"nothing was reserved: {reserved}")
        settled = await self._pool.fetchrow(
            _SETTLE,
            account_id,
            key,
            attempt_id,
            COST_MC,
            reserved["reserved_at"],
            fingerprint,
            dimensions,
            TOKENS,
            RATE_CARD,
            "",
            OUTCOME,
        )
        if settled["answer"] != "settled":
            raise RuntimeError(f"not settled: {settled}")

    async def pairs(self, attempts: Sequence[ExecutionAttempt]) -> None:
        """Reserve for all, which are one account's, then settle them all; a transaction each."""
        account_id, count = attempts[0].account_id, len(attempts)
        keys = [_key(attempt) for attempt in attempts]
        attempt_ids = [attempt.attempt_id for attempt in attempts]
        fingerprints = [attempt.fingerprint for attempt in attempts]
        dimensions = ["\t".join(attempt.dimensions) for attempt in attempts]
        amounts = [RESERVED_MC] * count
        reserved = await self._pool.fetch(
            _RESERVE_MANY, account_id, keys, attempt_ids, amounts, _TTL, fingerprints, dimensions
        )
        if any(row["answer"] != "reserved" for row in reserved):
            raise RuntimeError("nothing was reserved for some")
        settled = await self._pool.fetch(
            _SETTLE_MANY,
            account_id,
            keys,
            attempt_ids,
            [COST_MC] * count,
            [row["reserved_at"] for row in reserved],
            fingerprints,
            dimensions,
            [TOKENS] * count,
            RATE_CARD,
            "",
            [OUTCOME] * count,
        )
        if any(row["answer"] != "settled" for row in settled):
            raise RuntimeError("some were not settled")

    async def check_books(self, account_id: str, pairs: int) -> None:
        """Make sure that every pair was booked, once."""
        books = await self._pool.fetchrow(
            "SELECT a.seq, (SELECT sum(charged_mc) FROM grants g WHERE g.account_no = a.account_no)"
            " AS charged, (SELECT sum(reserved_mc) FROM grants g WHERE g.account_no = a.account_no)"
            " AS reserved, (SELECT sum(charged_mc + reserved_mc) FROM caps c"
            " WHERE c.account_no = a.account_no) AS capped,"
            " (SELECT count(*) FROM journal j WHERE j.account_no = a.account_no) AS entries,"
            " (SELECT count(*) FROM outcomes o WHERE o.account_no = a.account_no) AS outcomes"
            " FROM accounts a WHERE account_id = $1",
            account_id,
        )
        charged = pairs * COST_MC
        if tuple(books.values()) != (pairs, charged, 0, charged, pairs, pairs):
            raise RuntimeError(f"the books are wrong after {pairs} pairs: {books}")


def _key(attempt: ExecutionAttempt) -> bytes:
    """Return the 16 bytes that the other ledger writes as text."""
    return urlsafe_b64decode(f"{attempt.execution_key}==")
