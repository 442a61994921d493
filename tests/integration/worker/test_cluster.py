"""Workers on a cluster of three primaries and three replicas, while slots move and primaries die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

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

PREFIX = "u"
"""With it the first primary, which `redis.url` names, has the tickets and the installation."""
ACCOUNTS = ("account-0", "account-1", "account-2")
"""Each is on another primary."""
PEOPLE = 800
"""Of each account."""
PATIENCE_S = 120.0


@asynccontextmanager
async def crew_on_cluster(
    folder: Path, settings: Mapping[str, str], durability: str
) -> AsyncIterator[tuple[Crew, ClusterOperator]]:
    """Open a cluster whose accounts have a campaign each."""

    def change(config: dict[str, Any]) -> None:
        config["redis"] |= {"cluster": True, "durability": durability, "wait_replicas": 1}
        config["archive"] = {"url": f"sqlite:///{folder}/archive.db"}

    try:
        cluster = Cluster(folder / "cluster", {**SOUND_UNDER_STALLS, **settings}, replicas=1)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    cluster.start()
    try:
        url = cluster.url.removeprefix(CLUSTER_SCHEME)
        async with open_crew(folder / "data", url, PREFIX, change, timeout_ms=2_000) as crew:
            for account_id in ACCOUNTS:
                await crew.open_account(account_id)
                await crew.add(PEOPLE, account_id, campaign_of(account_id))
            yield crew, ClusterOperator(cluster)
        await asyncio.sleep(0.05)  # redis-py closes some connections in tasks of its own
    finally:
        cluster.stop()


async def test_law_3b_a_campaign_on_a_cluster_that_changes_charges_each_call_once(
    imported_litellm: None, tmp_path: Path
) -> None:
    async with crew_on_cluster(tmp_path, REPLICATED, "replicated") as (crew, operator):
        async with crew.worker(), crew.worker():
            for strike in (
                lambda: operator.move(ACCOUNTS[0], keys_at_once=20, pause_s=0.02),
                lambda: operator.fail_over_by_kill(ACCOUNTS[1]),
                lambda: operator.fail_over_by_command(ACCOUNTS[2]),
            ):
                await some_more_end(crew)
                await asyncio.to_thread(strike)
            await until_all_ended(crew, ACCOUNTS)
        assert not [each for each in crew.ended if each.result is None], "there are dead letters"
        await books_are_right(crew)


async def test_a_worker_goes_on_though_the_server_that_its_config_names_never_comes_back(
    imported_litellm: None, tmp_path: Path
) -> None:
    async with crew_on_cluster(tmp_path, {}, "relaxed") as (crew, operator), crew.worker():
        named, *others = operator.cluster.servers
        lost, *going_on = sorted(ACCOUNTS, key=lambda one: operator.owner(one) is not named)
        await some_more_end(crew)
        await asyncio.to_thread(operator.fail_over_by_kill, lost, comes_back=False)
        await until_all_ended(crew, going_on)
        assert not named.runs
        assert all(server.runs for server in others)


def campaign_of(account_id: str) -> str:
    """Each account has a campaign of its own name, so that no two have an execution id."""
    return f"welcome-{account_id}"


async def some_more_end(crew: Crew, count: int = 100) -> None:
    """Wait until more requests have ended."""
    until = len(crew.ended) + count
    async with asyncio.timeout(PATIENCE_S):
        while len(crew.ended) < until:  # noqa: ASYNC110 - workers tell nobody
            await asyncio.sleep(0.02)


async def until_all_ended(crew: Crew, account_ids: Collection[str]) -> None:
    """Wait until every person's request is counted as done."""
    async with asyncio.timeout(PATIENCE_S):
        for account_id in account_ids:
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
