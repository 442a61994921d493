"""What is archived is what the ledger wrote, and Redis is trimmed behind it."""

from __future__ import annotations

from typing import Any

from runtime.archive.copier import Copier
from runtime.redis.keys import Keys
from runtime.store.database import Database
from tests.harness.archive import archived_bodies, fill
from tests.harness.ledger.desk import connect, make_ledger


async def bodies(client: Any, keys: Keys, account_id: str) -> list[str]:
    journal = keys.of_account(account_id)[8]
    return [fields[b"e"].decode() for _, fields in await client.xrange(journal)]


async def test_every_entry_is_archived_byte_for_byte_and_trimmed(
    database: Database, redis_url: str, key_prefix: str
) -> None:
    client = connect(redis_url)
    keys = Keys(key_prefix)
    ledger = make_ledger(client, key_prefix)
    for account_id in ("acme", "beta"):
        await fill(ledger, account_id, 200)
    written = {name: await bodies(client, keys, name) for name in ("acme", "beta")}
    copier = Copier(database, client, keys, timeout_ms=10_000)

    archived = await copier.run_once()

    assert archived.left == {}
    assert archived.entries == sum(map(len, written.values()))
    for account_id, expected in written.items():
        assert await archived_bodies(database, account_id) == expected
        assert await bodies(client, keys, account_id) == []
    assert (await copier.run_once()).entries == 0
    await fill(ledger, "acme", 20, first=200)
    assert (await copier.run_once()).entries == 20
    await client.aclose()
