"""Statements on the rows of the library, each within a transaction of its caller."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, case, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.actions.source import UnknownAction
from runtime.library.errors import ActionArchived, ActionChanged
from runtime.store.reopening import Store
from runtime.store.schema import action_changes, action_versions, actions

_NAME_LENGTH = 12


async def written(store: Store, account_id: str, action_id: str, revision: int) -> None:
    """Note that Redis has this publication of an action."""
    async with store.begin() as connection:
        of = (of_action(actions, account_id, action_id), actions.c.revision == revision)
        await connection.execute(update(actions).where(*of).values(to_write=0))


def of_action(table: Any, account_id: Any, action_id: Any) -> Any:
    """Return the condition on rows of one action."""
    return (table.c.account_id == account_id) & (table.c.action_id == action_id)


def select_actions() -> Any:
    """Return a SELECT of actions, each with the ``number`` of its published version."""
    published = of_action(action_versions, actions.c.account_id, actions.c.action_id) & (
        action_versions.c.version == actions.c.published
    )
    joined = actions.outerjoin(action_versions, published)
    return select(actions, action_versions.c.number).select_from(joined)


async def row_of(connection: AsyncConnection, account_id: str, action_id: str) -> Row[Any]:
    """Return the row of an action.

    Raises:
        UnknownAction: there is none.
    """
    query = select_actions().where(of_action(actions, account_id, action_id))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise UnknownAction(action_id)
    return row


async def change_row(
    connection: AsyncConnection,
    account_id: str,
    action_id: str,
    etag: str,
    values: Mapping[str, Any],
    *,
    archived: bool = False,
) -> Row[Any]:
    """Change an action's row if it still has this etag; return it with its new one.

    It is the first statement of its transaction, so that of several at once one succeeds.
    """
    state = [] if archived else [actions.c.archived_ms.is_(None)]
    changing = (
        update(actions)
        .where(of_action(actions, account_id, action_id), actions.c.etag == etag, *state)
        .values(etag=new_etag(), updated_ms=now_ms(), **values)
    )
    changed = (await connection.execute(changing)).rowcount
    row = await row_of(connection, account_id, action_id)
    if not changed:
        if row.etag == etag:
            raise ActionArchived(action_id)
        raise ActionChanged(action_id)
    return row


async def row_of_version(
    connection: AsyncConnection, account_id: str, action_id: str, version: str
) -> Row[Any] | None:
    """Return the row of a published version, if any, by its name or its number."""
    is_number = len(version) < _NAME_LENGTH and version.isascii() and version.isdecimal()
    column = action_versions.c.number if is_number else action_versions.c.version
    query = select(action_versions).where(
        of_action(action_versions, account_id, action_id),
        column == (int(version) if is_number else version),
    )
    return (await connection.execute(query)).one_or_none()


async def add_version(
    connection: AsyncConnection, row: Row[Any], content: str, note: str, by: str
) -> None:
    """Add what an action's row names as published to its versions, under the next number."""
    last = select(func.coalesce(func.max(action_versions.c.number), 0)).where(
        of_action(action_versions, row.account_id, row.action_id)
    )
    values = {
        "account_id": row.account_id,
        "action_id": row.action_id,
        "version": row.published,
        "number": (await connection.execute(last)).scalar_one() + 1,
        "spec": content,
        "note": note,
        "published_ms": row.updated_ms,
        "published_by": by,
    }
    await connection.execute(insert(action_versions), [values])


async def note_change(
    connection: AsyncConnection,
    account_id: str,
    action_id: str,
    kind: str,
    version: str | None,
    note: str,
    by: str,
) -> None:
    """Add a change to an action's history."""
    last = select(func.coalesce(func.max(action_changes.c.number), 0)).where(
        of_action(action_changes, account_id, action_id)
    )
    values = {
        "account_id": account_id,
        "action_id": action_id,
        "number": (await connection.execute(last)).scalar_one() + 1,
        "kind": kind,
        "version": version,
        "note": note,
        "changed_ms": now_ms(),
        "changed_by": by,
    }
    await connection.execute(insert(action_changes), [values])


def insert_into(connection: AsyncConnection, table: Any) -> Any:
    """Return an INSERT that can say what to do about rows that are there."""
    is_postgres = connection.dialect.name == "postgresql"
    return (postgres_insert if is_postgres else sqlite_insert)(table)


def later_revision(at_ms: int) -> Any:
    """Return the revision after the one that is stored: the time, or one more."""
    after = actions.c.revision + 1
    return case((after > at_ms, after), else_=at_ms)


def new_etag() -> str:
    """Return an etag that no other row ever has."""
    return secrets.token_urlsafe(16)


def now_ms() -> int:
    """Return the time by this process's clock."""
    return time.time_ns() // 1_000_000
