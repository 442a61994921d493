"""Journals of a real ledger, copied into an archive as plainly as it can be said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from runtime.archive.opening import open_archive
from runtime.archive.statement import Statements
from runtime.config import Config
from runtime.credits.identity import Dimensions
from runtime.credits.installation_key import identity_of
from runtime.credits.journal import Part, parse
from runtime.redis.client import open_client
from runtime.redis.keys import Keys
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import accounts, dimensions, entries

LEFT = (Part.AVAILABLE, Part.RESERVED)
Raw = list[tuple[bytes, Mapping[bytes, bytes]]]


@asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[Database]:
    """Open a file as an archive, which belongs to no installation yet."""
    async with open_database(database_url(f"sqlite:///{path}")) as database:
        yield database


@asynccontextmanager
async def open_pages(path: Path, installation: str = "here") -> AsyncIterator[Statements]:
    """Open the statements of a file."""
    async with open_file(path) as database:
        yield Statements(database, installation)


async def archive_journal(database: Database, account_id: str, raw: Raw) -> None:
    """Archive an account's journal, as ``XRANGE`` returns it; what is there already is replaced."""
    names: dict[int, Dimensions] = {}
    found = [(parse(entry_id, fields, names), fields[b"e"].decode()) for entry_id, fields in raw]
    rows: list[dict[str, Any]] = []
    left_mc = 0
    async with database.engine.begin() as connection:
        no = await connection.scalar(
            select(accounts.c.no).where(accounts.c.account_id == account_id)
        )
        for table in (entries, dimensions):
            await connection.execute(delete(table).where(table.c.account == no))
        await connection.execute(delete(accounts).where(accounts.c.no == no))
        last = found[-1][0]
        await connection.execute(
            insert(accounts).values(
                **({} if no is None else {"no": no}),
                account_id=account_id,
                epoch=last.epoch,
                seq=last.seq,
                chain=last.chain,
                left_mc=0,
                state="open",
                archived_ms=last.at_ms,
            )
        )
        no = await connection.scalar(
            select(accounts.c.no).where(accounts.c.account_id == account_id)
        )
        for entry, body in found:
            for posting in entry.postings:
                moved = (posting.target in LEFT) - (posting.source in LEFT)
                left_mc += posting.amount_mc * moved
            dims = body.split("\t")[7:8]
            rows.append(
                {
                    "account": no,
                    "seq": entry.seq,
                    "chain": entry.chain,
                    "kind": body.split("\t")[2],
                    "at_ms": entry.at_ms,
                    "effective_ms": entry.effective_at_ms,
                    "dims": int(dims[0]) if dims and dims[0] else 0,
                    "charged_mc": sum(
                        p.amount_mc for p in entry.postings if p.target is Part.CHARGED
                    ),
                    "left_mc": left_mc,
                    "body": body,
                }
            )
        await connection.execute(insert(entries), rows)
        named = [
            {"account": no, "number": number, **found._asdict()} for number, found in names.items()
        ]
        if named:
            await connection.execute(insert(dimensions), named)
        await connection.execute(
            update(accounts).where(accounts.c.no == no).values(left_mc=left_mc)
        )


async def archive_account(config: Config, account_id: str) -> None:
    """Archive an account of a configured ledger, where its command line reads it."""
    journal = Keys(config.redis.key_prefix).of_account(account_id)[8]
    async with (
        open_client(config.redis, config.data_dir) as opened,
        open_archive(config, identity_of(config).check_value()) as database,
    ):
        client: Any = opened  # redis-py types answers by what its settings could make of them
        await archive_journal(database, account_id, await client.xrange(journal))
