"""Alerts whose deliveries are kept in PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.alerts import open_alert_bench
from tests.harness.postgres import QUICK, open_postgres

pytestmark = pytest.mark.long


async def test_alerts_are_delivered_once_out_of_postgresql(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with open_postgres(QUICK) as server:

        def change(config: dict[str, Any]) -> None:
            config["archive"] = {"url": server.new_database()}

        async with open_alert_bench(tmp_path / "data", redis_url, key_prefix, change) as told:
            await told.open_account(1_000_000)
            await told.contacts("ana@example.com")
            await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
            await told.void()
            await asyncio.gather(*(told.alerts.reader.run_once() for _ in range(3)))
            await asyncio.gather(*(told.alerts.delivering.run_once() for _ in range(3)))
            await told.send()
            await told.alerts.watch.run_once()

            assert (len(told.mailbox.mails), len(told.receiver.posts)) == (2, 2)
            page, cursor = await told.alerts.deliveries.listed(told.account, limit=3)
            rest, end = await told.alerts.deliveries.listed(told.account, cursor=cursor)
            assert (len(page), len(rest), end) == (3, 1, None)
