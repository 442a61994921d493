"""The archive's own side of copying: how far it is, and batches written in one transaction each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.archive.batches import Batch, Position, Step, StreamEntry
from runtime.store.database import Database
from runtime.store.schema import COMPLETE_TO, accounts, dimensions, entries, forks, installation

OPEN, FORKED = "open", "forked"
_COLUMNS = [column.name for column in entries.columns]
_INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - numbers
_LOCK = "SELECT no, seq, chain FROM accounts WHERE no = ANY($1::int[]) ORDER BY no FOR UPDATE"
_MOVE = """
    UPDATE accounts SET seq = v.seq, chain = v.chain, epoch = v.epoch, left_mc = v.left_mc,
        archived_ms = $6
    FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
        AS v(no, seq, chain, epoch, left_mc)
    WHERE accounts.no = v.no"""
_CHUNK = 500


class ArchivedMeanwhile(Exception):
    """Another process has moved an account on; nothing was written."""


def insert(database: Database, table: Any) -> Any:
    """Return an INSERT that can say what to do about rows that are there."""
    return (postgres_insert if database.is_postgres else sqlite_insert)(table)


async def positions(database: Database, account_ids: Sequence[str]) -> dict[str, Position]:
    """Return how far accounts are archived; those that the archive does not know are added."""
    found: dict[str, Position] = {}
    for at in range(0, len(account_ids), _CHUNK):
        found |= await _positions(database, account_ids[at : at + _CHUNK])
    return found


async def _positions(database: Database, account_ids: Sequence[str]) -> dict[str, Position]:
    async with database.connect() as connection:
        found = await _select(connection, account_ids)
    if missing := [each for each in account_ids if each not in found]:
        rows = [
            {
                "account_id": account_id,
                "epoch": "",
                "seq": 0,
                "chain": "",
                "left_mc": 0,
                "state": OPEN,
                "archived_ms": _now_ms(),
            }
            for account_id in sorted(missing)
        ]
        async with database.begin() as connection:
            # Another archiver may meet a new account at the same time.
            await connection.execute(insert(database, accounts).on_conflict_do_nothing(), rows)
            found |= await _select(connection, missing)
    return found


async def write(database: Database, batch: Batch) -> None:
    """Write a batch, all of it or nothing.

    Raises:
        ArchivedMeanwhile: another process has archived entries of one of its accounts.
    """
    steps = batch.steps
    async with database.begin() as connection:
        if database.is_postgres:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            # Begins the transaction, which the raw connection then shares.
            await connection.exec_driver_sql("SELECT 1")
            await _move_in_postgres(raw, steps)
            await raw.copy_records_to_table("entries", records=batch.rows, columns=_COLUMNS)
        else:
            await _move(connection, steps)
            await connection.exec_driver_sql(_INSERT, batch.rows)
        if batch.dimensions:
            await _write_dimensions(database, connection, batch)
        await batch.rollup.write(connection, database.is_postgres)


async def forked_accounts(database: Database) -> tuple[str, ...]:
    """Return the accounts that are not archived because they have forked."""
    statement = select(accounts.c.account_id).where(accounts.c.state == FORKED)
    async with database.connect() as connection:
        found = await connection.execute(statement.order_by(accounts.c.account_id))
        return tuple(found.scalars())


async def mark_complete(database: Database, at_ms: int) -> None:
    """Note that everything is archived which the ledger wrote before an instant of its clock."""
    statement = insert(database, installation).values(name=COMPLETE_TO, value=str(at_ms))
    new = statement.excluded.value
    # Another archiver may have been quicker.
    later = cast(installation.c.value, BigInteger) < cast(new, BigInteger)
    async with database.begin() as connection:
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"value": new}, where=later
            )
        )


async def mark_forked(database: Database, position: Position) -> None:
    """Stop archiving an account whose ledger tells another story than its archive."""
    async with database.begin() as connection:
        statement = update(accounts).where(accounts.c.no == position.no)
        await connection.execute(statement.values(state=FORKED))


async def write_fork(database: Database, no: int, branch: Iterable[StreamEntry]) -> None:
    """Keep entries of the other branch of a forked account."""
    rows = [
        {
            "account": no,
            "seq": int(entry_id.removeprefix(b"0-")),
            "chain": chain.decode(errors="replace")[:12],
            "body": body.decode(errors="replace").replace("\0", "�"),
            "found_ms": _now_ms(),
            "resolved_ms": None,
        }
        for entry_id, body, chain in branch
    ]
    if rows:
        async with database.begin() as connection:
            await connection.execute(insert(database, forks).on_conflict_do_nothing(), rows)


async def chains(database: Database, no: int, first: int, last: int) -> dict[int, str]:
    """Return the chains of an account's archived entries, by sequence."""
    statement = select(entries.c.seq, entries.c.chain).where(
        entries.c.account == no, entries.c.seq.between(first, last)
    )
    async with database.connect() as connection:
        return {row.seq: row.chain for row in await connection.execute(statement)}


async def _select(connection: AsyncConnection, account_ids: Sequence[str]) -> dict[str, Position]:
    statement = select(
        accounts.c.no,
        accounts.c.account_id,
        accounts.c.epoch,
        accounts.c.seq,
        accounts.c.chain,
        accounts.c.left_mc,
        accounts.c.state,
    ).where(accounts.c.account_id.in_(account_ids))
    return {row.account_id: Position(*row) for row in await connection.execute(statement)}


async def _move_in_postgres(raw: Any, steps: Sequence[Step]) -> None:
    # In order, or two archivers could wait for each other.
    found = await raw.fetch(_LOCK, [step.no for step in steps])
    before = [(step.no, step.seq_before, step.chain_before) for step in steps]
    if [tuple(row) for row in found] != before:
        raise ArchivedMeanwhile
    await raw.execute(
        _MOVE,
        [step.no for step in steps],
        [step.seq for step in steps],
        [step.chain for step in steps],
        [step.epoch for step in steps],
        [step.left_mc for step in steps],
        _now_ms(),
    )


async def _move(connection: AsyncConnection, steps: Sequence[Step]) -> None:
    statement = (
        update(accounts)
        .where(
            accounts.c.no == bindparam("of_no"),
            accounts.c.seq == bindparam("seq_before"),
            accounts.c.chain == bindparam("chain_before"),
        )
        .values(
            seq=bindparam("to_seq"),
            chain=bindparam("to_chain"),
            epoch=bindparam("to_epoch"),
            left_mc=bindparam("to_left"),
            archived_ms=_now_ms(),
        )
    )
    done = await connection.execute(
        statement,
        [
            {
                "of_no": step.no,
                "seq_before": step.seq_before,
                "chain_before": step.chain_before,
                "to_seq": step.seq,
                "to_chain": step.chain,
                "to_epoch": step.epoch,
                "to_left": step.left_mc,
            }
            for step in steps
        ],
    )
    if done.rowcount != len(steps):
        raise ArchivedMeanwhile


async def _write_dimensions(database: Database, connection: AsyncConnection, batch: Batch) -> None:
    names = [column.name for column in dimensions.columns]
    statement = insert(database, dimensions)
    # After a fork the same number may be given to other dimensions.
    statement = statement.on_conflict_do_update(
        index_elements=names[:2], set_={name: statement.excluded[name] for name in names[2:]}
    )
    rows = [dict(zip(names, row, strict=True)) for row in batch.dimensions]
    await connection.execute(statement, rows)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
