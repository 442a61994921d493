"""Missed requests, dead letters and results: what is kept, put back, forgotten and let go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.queue.entries import MOST_REQUEST_BYTES, DeadReason, Ended
from runtime.queue.packing import body_of
from runtime.queue.retained import MissedCount, Rerun
from tests.harness.queues import ACCOUNT, CAMPAIGN, Bench, people_of, request_of, result_of

NO_CREDITS = FallbackReason.INSUFFICIENT_CREDITS
REFUSED = FallbackReason.CONTENT_REFUSED


async def miss(bench: Bench, number: int, reason: FallbackReason, *, kept: bool = False) -> None:
    """Let one person's request fall back."""
    await bench.add(number)
    taken = await bench.take()
    [entry] = taken.entries
    result = result_of(entry.request, reason, kept=kept)
    assert await bench.queue.finish(taken, [Ended(entry, result)]) == 1


async def test_requests_that_fell_back_are_put_back_by_group(bench: Bench) -> None:
    await miss(bench, 1, NO_CREDITS)
    await miss(bench, 2, FallbackReason.PROVIDER_TIMEOUT)
    await miss(bench, 3, FallbackReason.CAP_REACHED)
    missed = await bench.queue.missed(ACCOUNT, CAMPAIGN, [ReasonGroup.CREDITS, ReasonGroup.LIMITS])
    assert [(each.request, each.reason) for each in missed] == [
        (request_of(1), "insufficient_credits"),
        (request_of(3), "cap_reached"),
    ]
    done = await bench.queue.rerun(ACCOUNT, CAMPAIGN, [ReasonGroup.CREDITS, ReasonGroup.MODEL])
    assert done == Rerun(put_back=2, gone=0, left=0)
    assert await bench.queue.missed_counts(ACCOUNT, CAMPAIGN) == {
        ReasonGroup.LIMITS: MissedCount(kept=1, gone=0)
    }
    taken = await bench.take()
    assert [each.request for each in taken.entries] == [request_of(1), request_of(2)]
    assert (await bench.status()).rerun == 2


async def test_a_kept_fallback_is_asked_again_under_the_next_id(bench: Bench) -> None:
    await miss(bench, 1, REFUSED, kept=True)
    for number in (1, 2, 3):
        assert (await bench.queue.rerun(ACCOUNT, CAMPAIGN)).put_back == 1
        taken = await bench.take()
        [entry] = taken.entries
        assert entry.request == request_of(1, execution_id=f"journey-1:route:1:r{number}")
        await bench.queue.finish(
            taken, [Ended(entry, result_of(entry.request, REFUSED, kept=True))]
        )
    # Nothing was kept of the third one: the same id again.
    [missed] = await bench.queue.missed(ACCOUNT, CAMPAIGN)
    assert (missed.first_id, missed.number, missed.is_kept) == ("journey-1:route:1", 3, True)


async def test_a_rerun_is_done_once_however_often_it_is_asked(bench: Bench) -> None:
    await miss(bench, 1, NO_CREDITS)
    assert (await bench.queue.rerun(ACCOUNT, CAMPAIGN)).put_back == 1
    assert (await bench.queue.rerun(ACCOUNT, CAMPAIGN)).put_back == 0
    assert people_of(await bench.take()) == ["p1"]


async def test_people_whose_request_is_not_kept_any_more_are_counted_as_gone(bench: Bench) -> None:
    bench.settings = replace(bench.settings, missed_ms=400)
    await miss(bench, 1, NO_CREDITS)
    await asyncio.sleep(0.5)
    await miss(bench, 2, NO_CREDITS)
    status = await bench.status()
    assert (status.missed, status.missed_gone) == ({ReasonGroup.CREDITS: 2}, 1)
    assert await bench.queue.rerun(ACCOUNT, CAMPAIGN) == Rerun(put_back=1, gone=1, left=0)
    assert people_of(await bench.take()) == ["p2"]


async def test_what_is_older_than_its_retention_is_let_go_where_nothing_is_written_any_more(
    bench: Bench,
) -> None:
    await miss(bench, 1, NO_CREDITS)
    await bench.put(b"no JSON")
    assert await bench.queue.take(ACCOUNT, "worker") is None
    assert [len(each) for each in await everything(bench)] == [1, 1, 1]
    bench.ahead_ms = 3_000
    assert await bench.queue.trim() == 1
    assert [len(each) for each in await everything(bench)] == [1, 1, 0]
    bench.ahead_ms = 8_000
    await bench.client.zadd(bench.keys.retained(), {ACCOUNT: 0})
    await bench.queue.trim()
    assert [len(each) for each in await everything(bench)] == [0, 0, 0]
    assert await bench.queue.trim() == 0
    for stream in (bench.key("missed"), bench.keys.part(ACCOUNT, "dead")):
        assert 0 < await bench.client.pttl(stream) <= 7_000 or not await bench.client.exists(stream)


async def everything(bench: Bench) -> tuple[list[Any], list[Any], list[Any]]:
    """All that is kept of the account."""
    queue = bench.queue
    return (
        list(await queue.missed(ACCOUNT, CAMPAIGN)),
        list(await queue.dead_letters(ACCOUNT)),
        list(await queue.results(ACCOUNT)),
    )


async def test_results_are_read_page_by_page(bench: Bench) -> None:
    await bench.add(1, 2, 3)
    await bench.finish(await bench.take())
    first = await bench.queue.results(ACCOUNT, count=2)
    assert [each.person_id for each in first] == ["p1", "p2"]
    rest = await bench.queue.results(ACCOUNT, after=first[-1].entry_id)
    assert [(each.campaign_id, each.execution_id, each.result) for each in rest] == [
        (CAMPAIGN, "journey-3:route:1", result_of(request_of(3)).to_json())
    ]


@pytest.mark.parametrize("kind", ["waits", "runs", "missed", "result", "dead", "dead, no person"])
async def test_a_person_is_forgotten_wherever_they_are(bench: Bench, kind: str) -> None:
    await bench.add(1, 2)
    taken = await bench.take()
    if kind == "waits":
        await bench.queue.give_back(taken, taken.entries)
    elif kind == "missed":
        await bench.finish(taken, NO_CREDITS)
    elif kind == "result":
        await bench.finish(taken)
    elif kind == "dead":
        await bench.queue.finish(taken, [Ended(e, dead=DeadReason.FAILED) for e in taken.entries])
    elif kind == "dead, no person":
        await bench.put(body_of(request_of(1, campaign_id="other")))
        await bench.finish(taken)
        assert await bench.queue.take(ACCOUNT, "worker") is None
    found = 2 if kind in ("missed", "dead, no person") else 1
    assert await bench.queue.forget(ACCOUNT, "p1") == found
    assert b"p1" not in b"".join([repr(value).encode() for value in await dumped(bench)])
    assert await bench.queue.forget(ACCOUNT, "p1") == 0
    if kind == "waits":
        assert people_of(await bench.take()) == ["p2"]
    elif kind == "runs":
        assert await bench.finish(taken) == 1
    status = await bench.status()
    assert status.forgotten == (kind in ("waits", "runs"))
    assert sum(status.missed.values()) == (kind == "missed")


async def dumped(bench: Bench) -> list[Any]:
    """All values of the account's keys."""
    found: list[Any] = []
    async for key in bench.client.scan_iter(match=f"{bench.prefix}:*"):
        kind = await bench.client.type(key)
        if kind == b"stream":
            found += await bench.client.xrange(key)
        elif kind == b"hash":
            found.append(await bench.client.hgetall(key))
        else:
            found += await bench.client.zrange(key, 0, -1)
    return found


async def test_law_15_a_person_is_found_among_thousands(one_bench: Bench) -> None:
    for first in range(0, 2_400, 400):
        await one_bench.add(*range(first, first + 400))
    assert await one_bench.queue.forget(ACCOUNT, "p2399") == 1
    assert await one_bench.queue.forget(ACCOUNT, "p239") == 1
    assert (await one_bench.status()).waiting == 2_398


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "invalid_request"),
        (b"no JSON", "invalid_request"),
        (b"[]", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b'{"execution_id":"' + b"[" * 100_000, "invalid_request"),
        (b"[" * 100_000, "invalid_request"),
        (body_of(request_of(1)).replace(b'"acme"', b'"other"'), "invalid_request"),
        (body_of(request_of(1, campaign_id="another")), "invalid_request"),
        (body_of(request_of(1)).replace(b'"person_id":"p1",', b""), "invalid_request"),
        (b'"' + b"x" * MOST_REQUEST_BYTES + b'"', "too_large"),
        (None, "invalid_request"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_request_is_a_dead_letter_and_the_others_run(
    one_bench: Bench, body: bytes | None, reason: str
) -> None:
    await one_bench.add(1)
    await one_bench.put(body)
    await one_bench.add(2)
    assert people_of(await one_bench.take()) == ["p1", "p2"]
    [dead] = await one_bench.queue.dead_letters(ACCOUNT)
    assert (dead.campaign_id, dead.reason) == (CAMPAIGN, reason)
    assert dead.body == ((body or b"")[:1_000] if reason == "too_large" else body or b"")
    assert (await one_bench.status()).dead == 1


async def test_what_kills_whoever_takes_it_is_a_dead_letter_in_the_end(bench: Bench) -> None:
    await bench.add(1, 2)
    for deliveries in (1, 2, 3):
        taken = await bench.take(idle_ms=1_000)
        assert taken.entries[0].deliveries == deliveries
        if deliveries == 1:
            await bench.queue.finish(taken, [Ended(taken.entries[1], result_of(request_of(2)))])
        bench.ahead_ms += 2_000
    assert await bench.queue.take(ACCOUNT, "worker") is None
    [dead] = await bench.queue.dead_letters(ACCOUNT)
    assert (dead.reason, dead.deliveries) == ("too_many_deliveries", 3)
    assert dead.body == body_of(request_of(1))


async def test_an_action_that_no_worker_knows_is_a_dead_letter_with_that_reason(
    bench: Bench,
) -> None:
    await bench.add(1)
    for _ in range(3):
        taken = await bench.take()
        await bench.queue.give_back(
            taken, taken.entries, counts=True, reason=DeadReason.UNKNOWN_ACTION
        )
    assert await bench.queue.take(ACCOUNT, "worker") is None
    [dead] = await bench.queue.dead_letters(ACCOUNT)
    assert (dead.reason, dead.deliveries) == ("unknown_action", 3)


async def test_what_is_given_back_uncounted_never_becomes_a_dead_letter(bench: Bench) -> None:
    await bench.add(1)
    for _ in range(10):
        taken = await bench.take()
        assert taken.entries[0].deliveries == 1
        await bench.queue.give_back(taken, taken.entries)


async def test_what_was_given_back_for_later_is_taken_later(bench: Bench) -> None:
    await bench.add(1)
    taken = await bench.take()
    await bench.queue.give_back(taken, taken.entries, after_ms=5_000)
    assert await bench.queue.take(ACCOUNT, "worker") is None
    bench.ahead_ms = 5_500
    assert people_of(await bench.take()) == ["p1"]


async def test_what_is_kept_is_not_taken_by_others(bench: Bench) -> None:
    await bench.add(1)
    taken = await bench.take(idle_ms=1_000)
    assert await bench.queue.keep(taken, taken.entries, 10_000) == 1
    bench.ahead_ms = 5_000
    assert await bench.queue.take(ACCOUNT, "worker") is None
    bench.ahead_ms = 11_000
    assert people_of(await bench.take()) == ["p1"]
    assert await bench.queue.keep(taken, taken.entries, 10_000) == 0
