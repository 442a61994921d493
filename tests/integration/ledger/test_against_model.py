"""All promises: random operations, answered by the ledger as by a plain model."""

from __future__ import annotations

import os
import random

from tests.integration.ledger import machine


def test_all_promises_hold_whatever_happens_in_whatever_order(
    redis_url: str, key_prefix: str
) -> None:
    first_seed = 0 if os.environ.get("CI") else random.randrange(2**32)

    machine.walk(redis_url, key_prefix, steps=20_000, first_seed=first_seed, shrink=True)
