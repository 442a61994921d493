"""The ledger in PostgreSQL that Redis is compared to keeps the same laws: it is no straw man."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.bench.postgres.ledger import PostgresLedger, address, make_schema
from tests.harness.postgres import QUICK, PostgresUnavailable, open_postgres, refuse_or_skip

pytestmark = pytest.mark.long

ACCOUNT = "acme"
DIMENSIONS = ["retail-eu1", "welcome", "route", "v1", "writer", "live"]
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def connection() -> AsyncIterator[Any]:
    """A server with one account: grants of 6,000, 6,000 and 0, and a cap far above them."""
    try:
        async with open_postgres(QUICK) as server:
            await make_schema(server)
            async with asyncpg.create_pool(**address(server), min_size=1, max_size=1) as pool:
                await PostgresLedger(pool).open_account(ACCOUNT)
                async with pool.acquire() as found:
                    await found.execute(
                        "UPDATE grants SET amount_mc = least(12000 - 6000 * (grant_no - 1), 6000),"
                        " available_mc = least(12000 - 6000 * (grant_no - 1), 6000)"
                    )
                    yield found
    except PostgresUnavailable as missing:
        refuse_or_skip(missing)


async def reserve(connection: Any, key: bytes, amount_mc: int, attempt: str = "a") -> Any:
    return await connection.fetchrow(
        "SELECT * FROM reserve($1, $2, $3, $4, $5, 'print', $6)",
        *(ACCOUNT, key, attempt, amount_mc, MINUTE, DIMENSIONS),
    )


async def reserve_many(connection: Any, keys: list[bytes], amount_mc: int) -> list[str]:
    rows = await connection.fetch(
        "SELECT * FROM reserve_many($1, $2, $3, $4, $5, $6, $7)",
        *(ACCOUNT, keys, ["a"] * len(keys), [amount_mc] * len(keys), MINUTE),
        *(["print"] * len(keys), ["\t".join(DIMENSIONS)] * len(keys)),
    )
    return [row["answer"] for row in rows]


async def settle(connection: Any, key: bytes, cost_mc: int, attempt: str = "a") -> Any:
    return await connection.fetchrow(
        "SELECT * FROM settle($1, $2, $3, $4, $5, 'print', $6, '', '', '', $7)",
        *(ACCOUNT, key, attempt, cost_mc, datetime.now(UTC), DIMENSIONS, b"outcome"),
    )


async def settle_many(connection: Any, keys: list[bytes], cost_mc: int) -> list[str]:
    count = len(keys)
    rows = await connection.fetch(
        "SELECT * FROM settle_many($1, $2, $3, $4, $5, $6, $7, $8, '', '', $9)",
        *(ACCOUNT, keys, ["a"] * count, [cost_mc] * count, [datetime.now(UTC)] * count),
        *(["print"] * count, ["\t".join(DIMENSIONS)] * count, [""] * count, [b"o"] * count),
    )
    return [row["answer"] for row in rows]


async def parts(connection: Any) -> list[tuple[int, int, int]]:
    """What is available, reserved and charged of each grant; the sums are the table's check."""
    rows = await connection.fetch(
        "SELECT available_mc, reserved_mc, charged_mc FROM grants ORDER BY grant_no"
    )
    return [tuple(row) for row in rows]


async def test_a_reservation_takes_from_grants_in_burn_order_and_gives_the_rest_back(
    connection: Any,
) -> None:
    assert (await reserve(connection, b"1", 7_000))["answer"] == "reserved"
    assert await parts(connection) == [(0, 6_000, 0), (5_000, 1_000, 0), (0, 0, 0)]
    assert tuple(await settle(connection, b"1", 6_500)) == ("settled", 6_500, 0, 5_500)
    assert await parts(connection) == [(0, 0, 6_000), (5_500, 0, 500), (0, 0, 0)]


async def test_a_set_takes_what_single_calls_take(connection: Any) -> None:
    assert await reserve_many(connection, [b"1", b"2", b"3"], 4_000) == ["reserved"] * 3
    assert await parts(connection) == [(0, 6_000, 0), (0, 6_000, 0), (0, 0, 0)]
    assert await settle_many(connection, [b"1", b"2", b"3"], 3_000) == ["settled"] * 3
    assert await parts(connection) == [(1_000, 0, 5_000), (2_000, 0, 4_000), (0, 0, 0)]
    capped = await connection.fetchrow("SELECT charged_mc, reserved_mc FROM caps")
    assert tuple(capped) == (9_000, 0)


async def test_nothing_is_overspent_by_a_set(connection: Any) -> None:
    answers = await reserve_many(connection, [b"1", b"2", b"3", b"4"], 5_000)
    assert answers == ["reserved"] * 2 + ["credits_reserved_elsewhere"] * 2


async def test_a_cap_refuses(connection: Any) -> None:
    await connection.execute("UPDATE caps SET limit_mc = 9000")
    assert await reserve_many(connection, [b"1", b"2"], 5_000) == ["reserved", "cap_reached"]
    assert (await reserve(connection, b"3", 5_000))["answer"] == "cap_reached"


async def test_an_execution_is_reserved_and_charged_once(connection: Any) -> None:
    assert (await reserve(connection, b"1", 5_000))["answer"] == "reserved"
    assert (await reserve(connection, b"1", 5_000))["answer"] == "reserved"
    assert (await reserve(connection, b"1", 5_000, "b"))["answer"] == "in_progress"
    assert await settle_many(connection, [b"1", b"1"], 5_000) == ["settled", "settled"]
    assert await settle_many(connection, [b"1"], 5_000) == ["settled"]
    assert (await settle(connection, b"1", 5_000, "b"))["answer"] == "existing"
    assert await reserve_many(connection, [b"1"], 5_000) == ["existing"]
    assert await parts(connection) == [(1_000, 0, 5_000), (6_000, 0, 0), (0, 0, 0)]


async def test_what_is_due_goes_home_and_a_late_settlement_is_charged(connection: Any) -> None:
    assert (await reserve(connection, b"1", 5_000))["answer"] == "reserved"
    await connection.execute("UPDATE reservations SET deadline = now() - interval '1 second'")
    assert (await reserve(connection, b"2", 12_000))["answer"] == "reserved"
    assert tuple(await settle(connection, b"2", 11_000))[:3] == ("settled", 11_000, 0)
    assert tuple(await settle(connection, b"1", 5_000))[:3] == ("settled", 1_000, 4_000)
    journal = await connection.fetch("SELECT kind, flags FROM journal ORDER BY seq")
    assert [tuple(entry) for entry in journal] == [
        ("expired", None),
        ("settled", ""),
        ("settled", "orphan"),
    ]
