"""Real processes on one account, killed and started again at random: what holds all the same."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import chain

import pytest

from runtime.credits.answers import Existing
from runtime.credits.journal import Kind, replay, verify
from tests.integration.races import books, race
from tests.integration.races.course import PREVIEWS, TRIALS
from tests.integration.races.race import Aftermath, Size

SMALL = Size(workers=4, executions=4_000, ttl_ms=1_500, top_up_mc=150_000, kills=6, freezes=1)
ON_A_DYING_REDIS = Size(
    workers=3, executions=1_500, ttl_ms=1_500, top_up_mc=100_000, kills=2, deaths=3
)
LARGE = Size(
    workers=8,
    executions=100_000,
    ttl_ms=3_000,
    top_up_mc=1_500_000,
    kills=48,
    operators=3,
    freezes=3,
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SMALL, id="small"),
        pytest.param(ON_A_DYING_REDIS, id="on-a-dying-redis"),
        pytest.param(LARGE, id="large", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def aftermath(
    request: pytest.FixtureRequest,
    redis_server_program: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Aftermath:
    """What a race left behind. It is run once, and each promise is then looked at."""
    return asyncio.run(race.run(request.param, tmp_path_factory.mktemp("race")))


def test_promise_02_at_no_moment_is_more_charged_and_reserved_than_granted(
    aftermath: Aftermath,
) -> None:
    assert aftermath.watcher.wrong == []
    assert aftermath.watcher.looks > 20
    assert aftermath.watcher.most_reserved_mc > 0
    balance = aftermath.balance
    assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
    assert min(balance.charged_mc, balance.expired_mc, balance.voided_mc) > 0
