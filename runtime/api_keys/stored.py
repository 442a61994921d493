"""The keys of the API in SQL."""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection

from sqlalchemy import insert, select

from runtime.api_keys.keys import ApiKey, Scope, new_key_text, parse_key, scopes_of, scopes_text
from runtime.store.reopening import Store
from runtime.store.schema import api_keys


class StoredKeys:
    """Makes keys and finds them."""

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
    ) -> tuple[ApiKey, str]:
        """Make a key; return it with its text, which nobody can be shown again.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        text = new_key_text()
        parsed = parse_key(text)
        assert parsed is not None  # noqa: S101 - what was made just now
        key_id, secret_hash = parsed
        row = {
            "key_id": key_id,
            "account_id": account_id,
            "name": name,
            "secret_hash": secret_hash,
            "scopes": scopes_text(scopes),
            "created_ms": _now_ms(),
            "created_by": created_by,
            "expires_ms": expires_ms,
        }
        async with self._store.begin() as connection:
            await connection.execute(insert(api_keys), [row])
        return ApiKey(key_id, account_id, name, frozenset(scopes)), text

    async def verify(self, text: str) -> ApiKey | None:
        """Return the key of this text; ``None`` if there is none, or no longer.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        parsed = parse_key(text)
        if parsed is None:
            return None
        key_id, secret_hash = parsed
        async with self._store.connect() as connection:
            query = select(api_keys).where(api_keys.c.key_id == key_id)
            row = (await connection.execute(query)).one_or_none()
        if row is None or not hmac.compare_digest(row.secret_hash, secret_hash):
            return None
        if row.revoked_ms is not None or (row.expires_ms or _now_ms() + 1) <= _now_ms():
            return None
        return ApiKey(row.key_id, row.account_id, row.name, scopes_of(row.scopes))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
