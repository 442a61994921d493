"""Laws 1 to 13: random operations, answered by the ledger as by a plain model.

The same steps check every part that the ledger keeps: nothing below zero (1a), caps (1b),
conservation (2a), pinned slices (2b), the journal (2c), one end (3a, 3b), identity (3c),
references (3d), plans and switches (5a), large amounts (7a), expiry (8a, 9a), burn order (10a),
that a refusal changes nothing (11a), refusals with their figures (12a), alerts (12b), voids and
closing (13a).
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from tests.harness.ledger.walk import walk
from tests.harness.servers import OLDEST, LedgerServers

IN_CI = bool(os.environ.get("CI"))
PROCESSES = 2
MILLION = 1_000_000
# CI has other long tests to run in its time: there, as many steps as fit in four minutes.
CI_SECONDS = 240
CI_STEPS = 20_000


def first_seed() -> int:
    return 0 if IN_CI else random.randrange(2**32)


@pytest.mark.timeout(900)
def test_laws_1_to_13_hold_whatever_happens_in_whatever_order(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    url = ledger_servers.url(OLDEST)

    made = walk(url, key_prefix, steps=20_000, first_seed=first_seed(), shrink=True)

    assert made >= 20_000


@pytest.mark.long
@pytest.mark.beside
@pytest.mark.timeout(4_000)
def test_laws_1_to_13_hold_for_a_million_steps(
    ledger_servers: LedgerServers,
    key_prefix: str,
    record_property: Callable[[str, object], None],
) -> None:
    url, seed = ledger_servers.url(OLDEST), first_seed() + 1_000_000
    half = partial(
        walk,
        url,
        steps=MILLION // PROCESSES,
        at_most_s=CI_SECONDS if IN_CI else float("inf"),
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        walks = [
            pool.submit(half, f"{key_prefix}{number}", first_seed=seed * (number + 1))
            for number in range(PROCESSES)
        ]
        made = sum(done.result() for done in walks)

    record_property("steps", made)
    assert made >= (CI_STEPS if IN_CI else MILLION)
