"""``archive_bytes``: what the archive keeps of an execution, in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import text

from runtime.archive.copier import Copier
from runtime.store.database import Database, database_url, open_database
from tests.bench.conditions import say
from tests.bench.ledger_stage import CALLERS, LedgerStage, keys_of, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.registry import Measured
from tests.harness.postgres import CAREFUL, open_postgres

_FIRST = 10_000
_EXECUTIONS = 50_000
_TIMEOUT_MS = 10_000
_SIZE_SQLITE = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
_SIZE_POSTGRES = "SELECT pg_database_size(current_database())"
_BODIES = "SELECT avg(length(body)) FROM entries WHERE kind = 's'"


def measure() -> Measured:
    """Measure how a database grows by 50,000 executions, beyond the first 10,000."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger_stage() as stage, open_postgres(CAREFUL) as server:
            url = f"sqlite:///{Path(folder) / 'archive.db'}"
            in_sqlite = await _measure_in(stage, url, "in-sqlite", _SIZE_SQLITE)
            url = await asyncio.to_thread(server.new_database)
            in_postgres = await _measure_in(stage, url, "in-postgres", _SIZE_POSTGRES)
            conditions = {
                "postgres_bytes": in_postgres["bytes"],
                "body_bytes": in_sqlite["body_bytes"],
                "executions": _EXECUTIONS,
                **stage.conditions(),
            }
    return Measured(in_sqlite["bytes"], conditions)


async def _measure_in(stage: LedgerStage, url: str, account_id: str, size: str) -> dict[str, Any]:
    await stage.open_account(account_id)
    async with open_database(database_url(url)) as database:
        copier = Copier(database, stage.client, keys_of(stage), timeout_ms=_TIMEOUT_MS)
        sizes = []
        for count in (_FIRST, _EXECUTIONS):
            await run_calls(stage.pair, stage.attempts(count, account_id), CALLERS)
            archived = await copier.archive_account(account_id)
            if archived.left:
                raise RuntimeError(f"not archived: {archived.left}")
            sizes.append(int(await _ask(database, size)))
        grown = (sizes[1] - sizes[0]) / _EXECUTIONS
        say(f"  {account_id}: {grown:.0f} bytes")
        return {
            "bytes": round(grown, 1),
            "body_bytes": round(float(await _ask(database, _BODIES)), 1),
        }


async def _ask(database: Database, question: str) -> Any:
    async with database.connect() as connection:
        return await connection.scalar(text(question))
