"""Workers on a cluster of three primaries and three replicas, while slots move and primaries die.

Each write is acknowledged by a replica (`replicated`), so nothing that was told may be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.archive.audit import Auditor
from runtime.archive.copier import Copier
from runtime.archive.opening import open_archive
from runtime.credits.told import read_told
from runtime.ledger_opening import connected
from runtime.redis.keys import Keys
from tests.harness.archive import archived_bodies
from tests.harness.cluster_operator import REPLICATED, SOUND_UNDER_STALLS, ClusterOperator
from tests.harness.servers import CLUSTER_SCHEME, Cluster, ServerProgramMissing, refuse_or_skip
from tests.harness.workers import Crew, open_crew

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    # redis-py leaves its own connections to a node that the map no longer has to the collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    # So streaq does with a connection that broke.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PREFIX = "t"
ACCOUNTS = ("account-0", "account-1", "account-2")
"""Each is on another primary."""
PEOPLE = 800
"""Of each account."""
PATIENCE_S = 120.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        made = Cluster(tmp_path / "cluster", {**SOUND_UNDER_STALLS, **REPLICATED}, replicas=1)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture
async def crew(imported_litellm: None, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Crew]:
    def change(config: dict[str, Any]) -> None:
        config["redis"] |= {"cluster": True, "durability": "replicated", "wait_replicas": 1}
        config["archive"] = {"url": f"sqlite:///{tmp_path}/archive.db"}

    url = cluster.url.removeprefix(CLUSTER_SCHEME)
    async with open_crew(tmp_path / "data", url, PREFIX, change, timeout_ms=2_000) as opened:
        yield opened
    await asyncio.sleep(0.05)  # redis-py closes some connections in tasks of its own


async def test_law_3b_a_campaign_on_a_cluster_that_changes_charges_each_call_once(
    cluster: Cluster, crew: Crew
) -> None:
    operator = ClusterOperator(cluster)
    for account_id in ACCOUNTS:
        await crew.open_account(account_id)
        await crew.add(PEOPLE, account_id, campaign_of(account_id))

    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(crew.worker())
        for strike in (
            lambda: operator.move(ACCOUNTS[0], keys_at_once=20, pause_s=0.02),
            lambda: operator.fail_over_by_kill(ACCOUNTS[1]),
            lambda: operator.fail_over_by_command(ACCOUNTS[2]),
        ):
            await some_more_end(crew)
            await asyncio.to_thread(strike)
        await until_all_ended(crew)

    assert not [each for each in crew.ended if each.result is None], "there are dead letters"
    await books_are_right(crew)


def campaign_of(account_id: str) -> str:
    """Each account has a campaign of its own name, so that no two have an execution id."""
    return f"welcome-{account_id}"


async def some_more_end(crew: Crew, count: int = 100) -> None:
    """Wait until more requests have ended."""
    until = len(crew.ended) + count
    async with asyncio.timeout(PATIENCE_S):
        while len(crew.ended) < until:  # noqa: ASYNC110 - workers tell nobody
            await asyncio.sleep(0.02)


async def until_all_ended(crew: Crew) -> None:
    """Wait until every person's request is counted as done."""
    async with asyncio.timeout(PATIENCE_S):
        for account_id in ACCOUNTS:
            while (await crew.status(account_id, campaign_of(account_id))).ended < PEOPLE:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)


async def books_are_right(crew: Crew) -> None:
    """Check queue, ledger, archive and the provider's own count against each other."""
    config = crew.config
    async with (
        connected(config, None) as client,
        open_archive(config, crew.ledger.key_check) as database,
    ):
        copier = Copier(database, client, Keys(PREFIX), timeout_ms=5_000, replicas=1)
        async with asyncio.timeout(PATIENCE_S):
            while (await copier.run_once()).left:  # noqa: ASYNC110 - a server comes back
                await asyncio.sleep(0.1)
        charged_mc = 0
        settled = 0
        for account_id in ACCOUNTS:
            status = await crew.status(account_id, campaign_of(account_id))
            assert (status.model, status.ended) == (PEOPLE, PEOPLE), status
            balance = await crew.ledger.accounts.balance(account_id)
            assert balance.conserved
            assert (balance.reserved_mc, balance.overage_mc) == (0, 0)
            assert balance.charged_mc == status.charged_mc
            bodies = await archived_bodies(database, account_id)
            assert len(bodies) == balance.journal_seq
            settled += sum(body.split("\t")[2] == "s" for body in bodies)
            charged_mc += balance.charged_mc
        told = read_told([config.data_dir / "told"], PREFIX)
        audit = await Auditor(crew.ledger.inspection, database, told).audit(list(ACCOUNTS))
        assert (list(audit.differences), list(audit.lost)) == ([], [])
    answered = int(crew.mock.stats()["requests"])
    assert settled == answered == len(ACCOUNTS) * PEOPLE
    # A request whose end was not acknowledged is heard of again, with the outcome that was kept.
    heard = {each.result.execution_id: each.result for each in crew.ended if each.result}
    assert len(heard) == answered
    assert charged_mc == sum(result.charged_mc for result in heard.values())
