"""With ``replicated``, nothing is archived that the replicas may not have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.archive.copier import Copier
from runtime.credits.results import LedgerUnavailable
from runtime.redis.keys import Keys
from runtime.store.database import Database
from tests.harness.archive import archived_bodies, fill
from tests.harness.ledger.desk import connect, make_ledger
from tests.harness.replicas import ReplicaSet
from tests.harness.servers import ServerProgramMissing, refuse_or_skip


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ReplicaSet]:
    """A primary and its replica."""
    try:
        servers = ReplicaSet(tmp_path, replicas=1)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    servers.start()
    yield servers
    servers.stop()


@pytest.mark.long
async def test_law_1a_what_the_replica_may_not_have_is_archived_once_it_has_it(
    servers: ReplicaSet, database: Database, key_prefix: str
) -> None:
    client = connect(servers.primary.url)
    ledger = make_ledger(client, key_prefix)
    copier = Copier(database, client, Keys(key_prefix), timeout_ms=4_000, replicas=1)
    await fill(ledger, "acme", 10)
    assert (await copier.run_once()).entries > 0
    before = await archived_bodies(database, "acme")

    servers.servers[1].pause()
    await fill(ledger, "acme", 5, first=10)
    with pytest.raises(LedgerUnavailable, match="fewer than 1 replicas"):
        await copier.run_once()
    assert await archived_bodies(database, "acme") == before

    servers.servers[1].resume()
    assert (await copier.run_once()).entries == 5
    assert len(await archived_bodies(database, "acme")) == len(before) + 5
    await ledger.drain()
    await client.aclose()
