"""The same changes by several processes at once, killed at random and started again."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from pathlib import Path

from pricing.offers import GrantKind
from runtime.credits.journal import Part, replay, verify
from tests.harness.private_redis import PrivateRedis
from tests.harness.races import books, race
from tests.harness.races.claimant import GRANT_MC, reference_of
from tests.harness.races.course import ACCOUNT, Course
from tests.harness.races.crew import Crew

CLAIMANTS = 4
CHANGES = 240
KILLS = 4


async def test_law_3d_a_reference_is_one_change_for_all_processes_and_their_successors(
    private_redis: PrivateRedis, tmp_path: Path
) -> None:
    course = Course(
        url=private_redis.url,
        folder=str(tmp_path),
        workers=0,
        executions=CHANGES,
        ttl_ms=1_000,
        top_up_mc=0,
        timeout_ms=30_000,
        hasty=0,
    )
    async with race.open_ledger(course) as (ledger, client), Crew(course) as crew:
        await ledger.accounts.open_account(ACCOUNT, plan="growth")
        await ledger.accounts.grant(
            ACCOUNT, amount_mc=GRANT_MC, kind=GrantKind.PURCHASED, reference="first"
        )
        keepers = [crew.keep_running("claimant", number) for number in range(CLAIMANTS)]
        chance = random.Random(10)
        for number in range(KILLS):
            while race.lines(course, "claimant") < CHANGES * (number + chance.random()) / 2:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.005)
            await crew.kill_one("claimant", chance)
        await asyncio.gather(*keepers)
        balance = await ledger.accounts.balance(ACCOUNT)
        entries = await race.journal(client)

    assert crew.kills == KILLS
    verify(entries)
    made = books.references(entries)
    assert made.keys() == {"first", *map(reference_of, range(CHANGES))}
    assert set(made.values()) == {1}

    news: dict[str, int] = defaultdict(int)
    answers: dict[str, set[str]] = defaultdict(set)
    for log in course.logs("claimant"):
        for reference, new, answer in log.lines():
            if new == "conflict":
                conflicts = {"contested": "amount_mc", "ambiguous": "kind"}
                assert answer == conflicts[reference.partition("-")[0]]
            else:
                news[reference] += new
                answers[reference].add(answer)
    assert max(news.values()) == 1
    assert {len(told) for told in answers.values()} == {1}

    granted = {grant.reference: grant.amount_mc - GRANT_MC for grant in balance.grants}
    for reference, extra_mc in granted.items():
        sort = reference.partition("-")[0]
        assert sort in {"first", "grant", "contested", "ambiguous"}
        assert extra_mc == 0 or (sort == "contested" and extra_mc < CLAIMANTS)
    assert len(granted) == len(balance.grants)
    rebuilt = replay(entries).grants
    assert balance.granted_mc == sum(grant.amount_mc for grant in rebuilt.values())
    assert rebuilt["g1"].parts_mc[Part.VOIDED] == balance.voided_mc == GRANT_MC
