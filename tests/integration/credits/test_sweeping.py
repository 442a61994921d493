"""The sweep: one bad key holds up no other."""

from __future__ import annotations

import logging

import pytest

from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import Desk


@pytest.mark.parametrize("part", ["due", "news"])
async def test_a_bucket_key_of_the_wrong_type_keeps_the_sweep_from_no_other_bucket(
    desk: Desk, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    await desk.set_clock(await desk.server_ms() - 10_000)
    names = [f"acme-{number}" for number in range(6)]
    for account_id in names:
        await desk.open(100, account_id=account_id)
        await desk.ledger.reserve(desk.attempt(account_id=account_id), 50, 1_000)
    wrong = desk.keys.bucket(bucket_of("acme-2"), part)
    await desk.client.set(wrong, "not a sorted set")
    await desk.pass_time(5_000)

    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        for _ in range(3):
            await desk.ledger.sweep()

    named = wrong if part == "due" else "account acme-2: can't be swept"
    assert caplog.text.count(named) == 1
    for account_id in names:
        if account_id != "acme-2":
            raw = await desk.client.hget(desk.key("account", account_id), "books")
            assert raw.decode().split("\t")[6] == "0", "still reserved"
