"""An archive of a cluster whose primaries have a replica each, while some of it is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.archive.copier import Copier
from runtime.credits.ledger import CreditLedger
from runtime.redis.keys import Keys
from runtime.store.database import Database, database_url, open_database
from tests.harness.archive import archived_bodies, fill
from tests.harness.cluster_operator import SOUND_UNDER_STALLS, ClusterOperator
from tests.harness.ledger.desk import connect, make_ledger
from tests.harness.servers import Cluster, ServerProgramMissing, refuse_or_skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(180),
    # redis-py leaves its own connections to a node that the map no longer has to the collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ACCOUNTS = ("account-0", "account-1", "account-2")
"""Each is on another primary."""
EXECUTIONS = 10


@dataclass
class Archived:
    """A cluster, its ledger, and a copier of a process that makes no other calls."""

    operator: ClusterOperator
    ledger: CreditLedger
    database: Database
    copier: Callable[[int], Copier]
    """Makes one that waits for so many replicas."""
    executions: int = 0

    async def fill(self, account_ids: tuple[str, ...] = ACCOUNTS) -> None:
        """Let more executions run in each of the accounts."""
        for account_id in account_ids:
            await fill(self.ledger, account_id, EXECUTIONS, first=self.executions)
        self.executions += EXECUTIONS

    async def until_all_is_archived(self, replicas: int = 1) -> None:
        """Archive in rounds until one leaves nothing behind."""
        copier = self.copier(replicas)
        async with asyncio.timeout(60):
            while (await copier.run_once()).left:  # noqa: ASYNC110 - a server comes back
                await asyncio.sleep(0.1)

    async def behind(self, account_id: str) -> int:
        """Return how many entries the archive lacks."""
        balance = await self.ledger.accounts.balance(account_id)
        return balance.journal_seq - len(await archived_bodies(self.database, account_id))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        made = Cluster(tmp_path / "cluster", SOUND_UNDER_STALLS, replicas=1)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture
async def archived(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Archived]:
    client = connect(cluster.url, socket_timeout=1.0)
    own_client = connect(cluster.url, socket_timeout=1.0)
    ledger = make_ledger(client, "t", timeout_ms=2_000)
    async with open_database(database_url(f"sqlite:///{tmp_path}/archive.db")) as database:

        def copier(replicas: int) -> Copier:
            return Copier(database, own_client, Keys("t"), timeout_ms=2_000, replicas=replicas)

        yield Archived(ClusterOperator(cluster), ledger, database, copier)
    await ledger.drain()
    await client.aclose()
    await own_client.aclose()
    await asyncio.sleep(0.05)  # redis-py closes some connections in tasks of its own


async def test_the_accounts_of_the_primaries_that_are_there_are_archived(
    archived: Archived,
) -> None:
    operator, (lost, *others) = archived.operator, ACCOUNTS
    await archived.fill()
    await archived.until_all_is_archived()

    # This process asks for nothing but journals, so nothing else tells it of the heir.
    await asyncio.to_thread(operator.fail_over_by_kill, lost, comes_back=False)
    await archived.fill()
    await archived.until_all_is_archived(replicas=0)
    assert [await archived.behind(account_id) for account_id in ACCOUNTS] == [0, 0, 0]

    heir = await asyncio.to_thread(operator.owner, lost)
    heir.stop(signal.SIGKILL)
    await archived.fill(tuple(others))
    left = (await archived.copier(1).run_once()).left
    assert list(left) == [f"127.0.0.1:{heir.port}"]
    assert [await archived.behind(account_id) for account_id in others] == [0, 0]
