from __future__ import annotations
import pytest
from runtime.credits.answers import *
from runtime.credits.caps import Cap, CapWindow
from pricing.offers import MAX_MC
from tests.integration.ledger.desk import ACCOUNT, Desk, START_MS

async def test_many_due_past_grant_expiry(desk: Desk) -> None:
    await desk.open()
    await desk.grant(300, expires_in_ms=5_000)
    for _ in range(300):
        await desk.reserve(1, ttl_ms=1_000)
    await desk.pass_time(6_000)
    answer = await desk.ledger.reserve(desk.attempt(), 1, 60_000)
    b = await desk.balance()
    print(answer, b.available_mc, b.expired_mc)
    assert isinstance(answer, Refused)

async def test_zero_amount_removed_cap(desk: Desk) -> None:
    await desk.open(100)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=50, reference="c1")
    a, r = await desk.reserve(0)
    await desk.ledger.remove_cap(ACCOUNT, cap, reference="c2")
    await desk.settle(a, r, 0)

async def test_zero_amount_midnight(desk: Desk) -> None:
    await desk.open(100)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=50, reference="c1")
    a, r = await desk.reserve(0, ttl_ms=86_400_000)
    await desk.pass_time(86_400_000-1)
    b, r2 = await desk.reserve(1)
    await desk.pass_time(10)
    await desk.balance()

async def test_lost_cap(desk: Desk) -> None:
    await desk.open(100)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=50, reference="c1")
    await desk.client.hdel(desk.key("limits"), cap.field)
    with pytest.raises(AccountDamaged):
        await desk.reserve(60)

async def test_lost_limits_set(desk: Desk) -> None:
    await desk.open(100)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=50, reference="c1")
    await desk.client.delete(desk.key("limits"))
    with pytest.raises(AccountDamaged):
        await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=60, reference="c2")

async def test_garbage_dims(desk: Desk) -> None:
    await desk.open(100)
    await desk.spend(1)
    ((name, _),) = (await desk.client.hgetall(desk.key("dims"))).items()
    await desk.client.hset(desk.key("dims"), name, "garbage")
    with pytest.raises(AccountDamaged):
        await desk.reserve(1)

async def test_void_of_lost_ended(desk: Desk) -> None:
    await desk.open(100)
    await desk.spend(100)
    await desk.client.delete(desk.key("ended"))
    with pytest.raises(AccountDamaged):
        await desk.ledger.void(ACCOUNT, "g1", reference="v", reason="r")

async def test_huge_use(desk: Desk) -> None:
    await desk.open(100)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=MAX_MC, used_mc=MAX_MC, reference="c1")
    assert not isinstance(await desk.settle(desk.attempt(), Reserved(10, 0, desk.now_ms, 0), 8), Exception)
    print(await desk.ledger.caps(ACCOUNT))
    assert (await desk.ledger.caps(ACCOUNT))[0].charged_mc == MAX_MC
