"""The keys of the API, as the service and the command line use them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from runtime.api_keys.changes import KeyChanges
from runtime.api_keys.errors import ChangeNotTold, ScopesRefused
from runtime.api_keys.keys import ApiKey, Scope, now_ms
from runtime.api_keys.stored import KeyRecord, StoredKeys
from runtime.api_keys.verified import LONGEST_AGE_S, VerifiedKeys
from runtime.background import Periodic
from runtime.redis.errors import RedisUnavailable
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.database import StoreError
from runtime.store.reopening import Store

_log = logging.getLogger("creditgate.api_keys")

_WRITE_USED_EVERY_S = 60.0
_LAST_WRITE_WITHIN_S = 2.0


class ApiKeys:
    """Makes keys, verifies them, and changes them.

    Args:
        store: the database; owned by the caller, as is ``client``.
        timeout_ms: of telling a change through Redis.
    """

    def __init__(self, store: Store, client: Client, keys: Keys, timeout_ms: int) -> None:
        self._stored = StoredKeys(store)
        self._changes = KeyChanges(client, keys, timeout_ms / 1000)
        self._verified = VerifiedKeys(self._stored.find, self._changes)
        self._writing = Periodic(
            "writing which keys were used", self._write_used, _WRITE_USED_EVERY_S, spread=0.2
        )

    def start(self) -> None:
        """Watch for changes of keys, and write which were used, until ``aclose``."""
        self._verified.start()
        self._writing.start(after_s=_WRITE_USED_EVERY_S)

    async def aclose(self) -> None:
        """Stop, and write which keys were used lately."""
        await self._writing.aclose()
        await self._verified.aclose()
        try:
            async with asyncio.timeout(_LAST_WRITE_WITHIN_S):
                await self._write_used()
        except TimeoutError:
            _log.warning("which keys were used lately was not written: the database is too slow")

    async def verify(self, text: str) -> ApiKey | None:
        """Return the key of this text; ``None`` if there is none, or no longer.

        Raises:
            StoreUnavailable: the database can't be reached, and the key is not known well enough.
        """
        return await self._verified.verify(text)

    async def make(
        self,
        *,
        account_id: str | None,
        name: str,
        scopes: Collection[Scope],
        created_by: str,
        expires_ms: int | None = None,
        maker: ApiKey | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key; return it with its text, which nobody can be shown again.

        Args:
            account_id: whose key; ``None`` makes one of the operator's.
            maker: the key that asks for it, if one does.

        Raises:
            ScopesRefused: the new key could do what the maker can't.
            TooManyApiKeys: there are too many in force.
            StoreUnavailable: the database can't be reached.
        """
        lacking = [scope for scope in scopes if maker is not None and not maker.allows(scope)]
        if lacking:
            raise ScopesRefused(f"a key without {', '.join(lacking)} can make none with it")
        return await self._stored.make(
            account_id=account_id,
            name=name,
            scopes=scopes,
            created_by=created_by,
            expires_ms=expires_ms,
        )

    async def page(
        self, account_id: str | None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[KeyRecord]:
        """Return keys of an account, or of the operator, in the order of their ids.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        return await self._stored.page(account_id, after=after, limit=limit)

    async def get(self, account_id: str | None, key_id: str) -> KeyRecord:
        """Return a key of an account, or of the operator.

        Raises:
            ApiKeyUnknown: there is no such key.
            StoreUnavailable: the database can't be reached.
        """
        return await self._stored.get(account_id, key_id)

    async def rename(self, account_id: str | None, key_id: str, name: str) -> KeyRecord:
        """Give a key another name; errors as ``get``."""
        return await self._stored.rename(account_id, key_id, name)

    async def rotate(
        self, account_id: str | None, key_id: str, *, grace_ms: int = 0
    ) -> tuple[KeyRecord, str]:
        """Give a key a new secret; return it with its text, which nobody can be shown again.

        ``previous_until_ms`` of the answer is up to when the secret so far counts as well. Where
        Redis can't be reached, that is up to a minute later than what the grace asks for.

        Args:
            grace_ms: how long the secret so far counts as well.

        Raises:
            ApiKeyRevoked: the key was revoked.
            ApiKeyUnknown, StoreUnavailable: as ``get``.
        """
        record, text = await self._stored.rotate(account_id, key_id, grace_ms=grace_ms)
        try:
            await self._tell(key_id)
        except RedisUnavailable:  # the new secret must not be lost for that
            latest_ms = now_ms() + int(LONGEST_AGE_S * 1000)
            until_ms = max(record.previous_until_ms or 0, latest_ms)
            record = replace(record, previous_until_ms=until_ms)
        return record, text

    async def revoke(self, account_id: str | None, key_id: str) -> KeyRecord:
        """Let a key count no more, within a second in every process. May be repeated.

        Raises:
            ChangeNotTold: Redis is away; it is revoked within a minute.
            ApiKeyUnknown, StoreUnavailable: as ``get``.
        """
        revoked = await self._stored.revoke(account_id, key_id)
        try:
            await self._tell(key_id)
        except RedisUnavailable as error:
            raise ChangeNotTold(
                f"the key {key_id} is revoked, but other processes may accept it for up to "
                f"{LONGEST_AGE_S:.0f} s, because Redis could not be reached: revoke it once more"
            ) from error
        return revoked

    async def _tell(self, key_id: str) -> None:
        self._verified.forget([key_id])
        await self._changes.tell(key_id)

    async def _write_used(self) -> None:
        used = self._verified.take_used()
        if not used:
            return
        try:
            await self._stored.mark_used(used)
        except StoreError as error:
            _log.debug("which keys were used is not written this time: %s", error)
