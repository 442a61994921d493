"""The keys of the API in SQL."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.api_keys.errors import ApiKeyRevoked, ApiKeyUnknown, TooManyApiKeys
from runtime.api_keys.keys import (
    ApiKey,
    Scope,
    VerifiedKey,
    hash_of,
    new_key_id,
    new_key_text,
    now_ms,
    scopes_of,
    scopes_text,
)
from runtime.store.reopening import Store
from runtime.store.schema import api_keys

MOST_KEYS = 1_000
"""The most keys in force of one account, and of the operator."""

_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key with everything that is stored of it, but its secret's hashes.

    ``previous_until_ms`` is up to when the secret before the last rotation counts as well.
    """

    key: ApiKey
    created_ms: int
    created_by: str
    expires_ms: int | None
    revoked_ms: int | None
    used_ms: int | None
    previous_until_ms: int | None


class StoredKeys:
    """Makes keys, finds them, and changes them. Processes that know a key are not told here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def make(
        self,
        *,
        account_id: str | None,
        name: str,
        scopes: Collection[Scope],
        created_by: str,
        expires_ms: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key; return it with its text, which nobody can be shown again.

        Raises:
            TooManyApiKeys: the account, or the operator, has ``MOST_KEYS`` in force.
            StoreUnavailable: the database can't be reached.
        """
        text = new_key_text(new_key_id())
        row = _row(text, account_id, name, scopes, created_by, expires_ms)
        async with self._store.begin() as connection:
            in_force = (
                select(func.count())
                .select_from(api_keys)
                .where(_of(account_id), api_keys.c.revoked_ms.is_(None))
            )
            if (await connection.execute(in_force)).scalar_one() >= MOST_KEYS:
                raise TooManyApiKeys(
                    f"there are {MOST_KEYS:,} keys that were not revoked: revoke those not in use"
                )
            await connection.execute(insert(api_keys), [row])
            found = await connection.execute(_one(row["key_id"]))
            return _record(found.one()), text

    async def find(self, key_id: str, secret_hash: str) -> VerifiedKey | None:
        """Return a key that is in force; ``None`` if there is none, or its secret is another.

        The same is done for a wrong secret and for an unknown id.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        async with self._store.connect() as connection:
            row = (await connection.execute(_one(key_id))).one_or_none()
        current = _NO_HASH if row is None else row.secret_hash
        previous = _NO_HASH if row is None else row.previous_hash or _NO_HASH
        is_current = hmac.compare_digest(current, secret_hash)
        is_previous = hmac.compare_digest(previous, secret_hash)
        if row is None or row.revoked_ms is not None or not (is_current or is_previous):
            return None
        ends = [row.expires_ms] if is_current else [row.expires_ms, row.previous_until_ms]
        until_ms = min((end for end in ends if end is not None), default=None)
        key = ApiKey(row.key_id, row.account_id, row.name, scopes_of(row.scopes))
        found = VerifiedKey(key, until_ms)
        return None if found.is_over(now_ms()) else found

    async def page(
        self, account_id: str | None, *, after: str | None, limit: int
    ) -> Sequence[KeyRecord]:
        """Return keys of an account, or of the operator, in the order of their ids.

        Args:
            after: the id that precedes the first one.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        query = select(api_keys).where(_of(account_id)).order_by(api_keys.c.key_id).limit(limit)
        if after is not None:
            query = query.where(api_keys.c.key_id > after)
        async with self._store.connect() as connection:
            return [_record(row) for row in await connection.execute(query)]

    async def get(self, account_id: str | None, key_id: str) -> KeyRecord:
        """Return a key of an account, or of the operator.

        Raises:
            ApiKeyUnknown: it has none of this id.
            StoreUnavailable: the database can't be reached.
        """
        async with self._store.connect() as connection:
            return await _record_of(connection, account_id, key_id)

    async def rename(self, account_id: str | None, key_id: str, name: str) -> KeyRecord:
        """Give a key another name; errors as ``get``."""
        return await self._change(account_id, key_id, name=name)

    async def rotate(
        self, account_id: str | None, key_id: str, *, grace_ms: int
    ) -> tuple[KeyRecord, str]:
        """Give a key a new secret; return it with its text, which nobody can be shown again.

        Args:
            grace_ms: how long the secret so far counts as well. The one before that ends now.

        Raises:
            ApiKeyRevoked: the key was revoked.
            ApiKeyUnknown, StoreUnavailable: as ``get``.
        """
        text = new_key_text(key_id)
        async with self._store.begin() as connection:
            change = (
                update(api_keys)
                .where(_of(account_id), api_keys.c.key_id == key_id)
                .where(api_keys.c.revoked_ms.is_(None))
                .values(
                    previous_hash=api_keys.c.secret_hash,
                    previous_until_ms=now_ms() + grace_ms,
                    secret_hash=hash_of(text),
                )
            )
            was_changed = (await connection.execute(change)).rowcount
            record = await _record_of(connection, account_id, key_id)
            if not was_changed:
                raise ApiKeyRevoked(f"the key {key_id} was revoked: make another one")
            return record, text

    async def revoke(self, account_id: str | None, key_id: str) -> KeyRecord:
        """Let a key count no more; the first time counts. Errors as ``get``."""
        first = func.coalesce(api_keys.c.revoked_ms, now_ms())
        return await self._change(account_id, key_id, revoked_ms=first)

    async def _change(self, account_id: str | None, key_id: str, **values: Any) -> KeyRecord:
        async with self._store.begin() as connection:
            change = update(api_keys).where(_of(account_id), api_keys.c.key_id == key_id)
            await connection.execute(change.values(**values))
            return await _record_of(connection, account_id, key_id)

    async def mark_used(self, key_ids: Collection[str]) -> None:
        """Write that these keys were used just now.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        change = update(api_keys).where(api_keys.c.key_id.in_(key_ids)).values(used_ms=now_ms())
        async with self._store.begin() as connection:
            await connection.execute(change)


def _of(account_id: str | None) -> Any:
    column = api_keys.c.account_id
    return column.is_(None) if account_id is None else column == account_id


async def _record_of(connection: AsyncConnection, account_id: str | None, key_id: str) -> KeyRecord:
    row = (await connection.execute(_one(key_id).where(_of(account_id)))).one_or_none()
    if row is None:
        raise ApiKeyUnknown(f"there is no key {key_id} that may be seen here")
    return _record(row)


def _one(key_id: str) -> Any:
    return select(api_keys).where(api_keys.c.key_id == key_id)


def _row(
    text: str,
    account_id: str | None,
    name: str,
    scopes: Collection[Scope],
    created_by: str,
    expires_ms: int | None,
) -> dict[str, Any]:
    return {
        "key_id": text.split("_")[1],
        "account_id": account_id,
        "name": name,
        "secret_hash": hash_of(text),
        "scopes": scopes_text(scopes),
        "created_ms": now_ms(),
        "created_by": created_by,
        "expires_ms": expires_ms,
    }


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        ApiKey(row.key_id, row.account_id, row.name, scopes_of(row.scopes)),
        row.created_ms,
        row.created_by,
        row.expires_ms,
        row.revoked_ms,
        row.used_ms,
        row.previous_until_ms,
    )
