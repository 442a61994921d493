"""Keys of the queue that are not what creditgate wrote: named, and nobody else is held up."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from runtime.queue.entries import DeadReason, Ended
from runtime.queue.errors import QueueDamaged
from tests.harness.queues import ACCOUNT, CAMPAIGN, Bench, people_of, result_of


async def content(bench: Bench) -> dict[bytes, Any]:
    """All keys of the test with what they hold."""
    return {
        key: await bench.client.dump(key)
        async for key in bench.client.scan_iter(match=f"{bench.prefix}:{{*")
    }


async def fault_of(call: Awaitable[object]) -> str | None:
    """What a call says of a damaged key, if it does."""
    try:
        await call
    except QueueDamaged as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "field, value", [("state", None), ("state", b"\xff"), ("workspace_id", None)]
)
async def test_law_11_a_campaign_that_is_damaged_is_named_and_the_others_are_served(
    one_bench: Bench, field: str, value: bytes | None
) -> None:
    await one_bench.add(1)
    await one_bench.add(2, campaign_id="other")
    name = one_bench.key("campaign")
    if value is None:
        await one_bench.client.hdel(name, field)
    else:
        await one_bench.client.hset(name, field, value)
    assert people_of(await one_bench.take()) == ["p2"]
    assert await one_bench.queue.take(ACCOUNT, "worker") is None
    before = await content(one_bench)
    for change in (one_bench.add(3), one_bench.queue.pause(ACCOUNT, CAMPAIGN)):
        with pytest.raises(QueueDamaged, match="campaign:welcome"):
            await change
    assert await content(one_bench) == before


OWN_KINDS = {
    "campaign": "hash",
    "queue": "stream",
    "taken": "zset",
    "held": "hash",
    "missed": "stream",
    "imports": "hash",
}
KINDS = ("string", "hash", "stream", "zset")
FOREIGN = [
    pytest.param(part, kind, marks=[] if kind == "string" else pytest.mark.long)
    for part, own in OWN_KINDS.items()
    for kind in KINDS
    if kind != own
]


@pytest.mark.parametrize("part, kind", FOREIGN)
async def test_law_11_a_key_of_a_foreign_type_is_named_and_nothing_is_changed(
    one_bench: Bench, part: str, kind: str
) -> None:
    await one_bench.add(1, 2, import_id="file")
    taken = await one_bench.take(count=1)
    await one_bench.add(9, campaign_id="other")
    key = one_bench.key(part)
    await one_bench.client.delete(key)
    match kind:
        case "string":
            await one_bench.client.set(key, "x")
        case "hash":
            await one_bench.client.hset(key, "x", "y")
        case "stream":
            await one_bench.client.xadd(key, {"x": "y"})
        case _:
            await one_bench.client.zadd(key, {"x": 1})
    found = 0
    queue = one_bench.queue
    ended = [Ended(each, result_of(each.request)) for each in taken.entries]
    for call in (
        lambda: queue.finish(taken, ended),
        lambda: queue.status(ACCOUNT, CAMPAIGN),
        lambda: queue.give_back(taken, taken.entries),
        lambda: one_bench.add(3, import_id="file", row=2),
        lambda: queue.rerun(ACCOUNT, CAMPAIGN),
        lambda: queue.forget(ACCOUNT, "p8"),
    ):
        at_first = await content(one_bench)
        fault = await fault_of(call())
        if fault is not None:
            found += 1
            assert f":{part}:welcome" in fault
            assert await content(one_bench) == at_first
    assert found
    served = await one_bench.queue.take(ACCOUNT, "worker")
    while served is not None and served.campaign_id == CAMPAIGN:
        served = await one_bench.queue.take(ACCOUNT, "worker")
    assert people_of(served) == ["p9"]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 40, ""])
async def test_law_11_a_counter_that_is_no_number_stops_its_campaign_before_anything_is_changed(
    one_bench: Bench, value: str
) -> None:
    await one_bench.add(1)
    taken = await one_bench.take()
    await one_bench.client.hset(one_bench.key("campaign"), "model", value)
    before = await content(one_bench)
    with pytest.raises(QueueDamaged, match="campaign:welcome model"):
        await one_bench.finish(taken)
    assert await content(one_bench) == before
    await one_bench.client.hdel(one_bench.key("campaign"), "model")
    assert await one_bench.finish(taken) == 1


async def test_an_entry_that_somebody_removed_is_counted_as_a_dead_letter(
    one_bench: Bench,
) -> None:
    await one_bench.add(1, 2)
    taken = await one_bench.take(idle_ms=0)
    await one_bench.client.xdel(one_bench.key("queue"), taken.entries[0].entry_id)
    assert people_of(await one_bench.take(idle_ms=60_000)) == ["p2"]
    [dead] = await one_bench.queue.dead_letters(ACCOUNT)
    assert (dead.reason, dead.body) == (DeadReason.BODY_MISSING, b"")


async def test_a_result_that_is_damaged_is_left_out(one_bench: Bench) -> None:
    await one_bench.add(1)
    await one_bench.finish(await one_bench.take())
    stream = one_bench.keys.part(ACCOUNT, "results")
    for value in (b"", b"[]", b"\xff", b"[" * 100_000):
        await one_bench.client.xadd(stream, {"j": value})
    await one_bench.client.xadd(stream, {"x": "y"})
    assert len(await one_bench.queue.results(ACCOUNT)) == 1
    batch = await one_bench.queue.outgoing.claim(ACCOUNT, 1_000)
    assert batch is not None
    assert len(batch.results) == 1
