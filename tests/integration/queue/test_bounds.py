"""Bounds of the queue: what comes from outside, and what its scripts take of the server."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.queue.entries import (
    MOST_AT_ONCE,
    MOST_BYTES_AT_ONCE,
    MOST_REQUEST_BYTES,
    Ended,
    QueueSettings,
)
from runtime.queue.errors import QueueFull, RequestTooLarge
from runtime.queue.packing import body_of, in_bounds, packed_request
from runtime.queue.taking import read_entries
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes
from tests.harness.queues import ACCOUNT, CAMPAIGN, WORKSPACE, Bench, request_of, result_of

MB = 1024 * 1024


def entries_of(count: int, body: bytes) -> list[tuple[bytes, bytes, int]]:
    """Entries as ``take.lua`` answers them."""
    return [(b"%d-0" % number, body, 1) for number in range(1, count + 1)]


def largest_body() -> bytes:
    """A request at its bound, of as many values as it can hold."""
    values = [0] * (MOST_REQUEST_BYTES // 2 - 200)
    return body_of(request_of(1, data={"customer": {"v": values}}))


def test_law_15_reading_a_slice_at_its_bound_takes_less_than_50_ms_and_16_mb() -> None:
    body = largest_body()
    entries = entries_of(MOST_BYTES_AT_ONCE // len(body), body)
    assert len(entries) >= 7
    assert_cpu(lambda: read_entries(ACCOUNT, CAMPAIGN, entries), 0.050)
    assert peak_bytes(lambda: read_entries(ACCOUNT, CAMPAIGN, entries)) < 16 * MB


def test_law_15_reading_twice_as_many_entries_takes_about_twice_the_time() -> None:
    body = body_of(request_of(1, data={"customer": {"message": "x" * 2_000}}))
    assert_linear(
        lambda size: entries_of(size, body),
        lambda entries: read_entries(ACCOUNT, CAMPAIGN, entries),
        400,
    )


@pytest.mark.parametrize(
    "body",
    [b"[" * MOST_REQUEST_BYTES, b'{"a":' * (MOST_REQUEST_BYTES // 5), b'"' + b"\\u0000" * 43_000],
    ids=["arrays", "objects", "escapes"],
)
def test_law_15_what_is_no_request_is_refused_within_50_ms(body: bytes) -> None:
    entries = entries_of(MOST_BYTES_AT_ONCE // len(body), body)
    assert_cpu(lambda: read_entries(ACCOUNT, CAMPAIGN, entries), 0.050)


def test_law_15_a_request_beyond_the_bound_is_not_added() -> None:
    fits = request_of(1, data={"customer": {"m": "x" * (MOST_REQUEST_BYTES - 400)}})
    assert packed_request(fits, ACCOUNT, WORKSPACE, CAMPAIGN)
    with pytest.raises(RequestTooLarge):
        packed_request(
            request_of(1, data={"customer": {"m": "x" * MOST_REQUEST_BYTES}}),
            *(ACCOUNT, WORKSPACE, CAMPAIGN),
        )


def test_law_15_what_one_script_takes_in_is_bounded() -> None:
    packed = [(f"{number}-0", b"x" * 100_000) for number in range(1, 101)]
    groups = list(in_bounds(packed))
    assert sum(len(group) // 2 for group in groups) == 100
    assert max(len(str(group)) for group in groups) <= MOST_BYTES_AT_ONCE
    many = [("1-0", b"")] * (2 * MOST_AT_ONCE + 1)
    assert [len(group) // 2 for group in in_bounds(many)] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


async def test_law_15_a_slice_has_at_most_so_many_bytes_and_at_least_one_request(
    one_bench: Bench,
) -> None:
    data = {"customer": {"m": "x" * 200_000}}
    for first in range(0, 20, 5):
        requests = [request_of(number, data=data) for number in range(first, first + 5)]
        await one_bench.queue.add(ACCOUNT, WORKSPACE, CAMPAIGN, requests)
    taken = await one_bench.take(count=100)
    size = sum(len(body_of(each.request)) for each in taken.entries)
    assert MOST_BYTES_AT_ONCE <= size < MOST_BYTES_AT_ONCE + MOST_REQUEST_BYTES
    assert len((await one_bench.take(count=100)).entries) == 20 - len(taken.entries)


async def test_law_15_a_campaign_has_at_most_so_many_actions_and_imports(one_bench: Bench) -> None:
    requests = [request_of(number, action=f"a{number}") for number in range(101)]
    with pytest.raises(QueueFull, match="actions"):
        await one_bench.queue.add(ACCOUNT, WORKSPACE, CAMPAIGN, requests)
    await one_bench.client.hset(
        one_bench.key("imports"), mapping={f"i{number}": "1\t" for number in range(1_000)}
    )
    with pytest.raises(QueueFull, match="imports"):
        await one_bench.add(1, import_id="one more")


async def test_law_15_results_of_an_account_are_bounded_in_number(one_bench: Bench) -> None:
    one_bench.settings = QueueSettings(results_most=1_000)
    for first in range(0, 1_500, 500):
        await one_bench.add(*range(first, first + 500))
        await one_bench.finish(await one_bench.take(count=500))
    number = await one_bench.client.xlen(one_bench.keys.part(ACCOUNT, "results"))
    assert 1_000 <= number <= 1_100


@pytest.mark.long
async def test_law_15_no_kind_of_script_takes_50_ms_of_the_servers_cpu_on_average(
    one_bench: Bench,
) -> None:
    client: Any = one_bench.client
    for first in range(0, 5_000, 500):
        await one_bench.add(*range(first, first + 500))
    queue = one_bench.queue
    data = {"customer": {"m": "x" * 3_500}}
    requests = [request_of(f"large{number}", data=data) for number in range(500)]
    await queue.add(ACCOUNT, WORKSPACE, CAMPAIGN, requests)
    taken = await one_bench.take(count=500)
    ended = [Ended(each, result_of(each.request)) for each in taken.entries]
    for call in (
        lambda: queue.add(ACCOUNT, WORKSPACE, CAMPAIGN, requests),
        lambda: one_bench.take(count=500),
        lambda: queue.finish(taken, ended),
        lambda: queue.forget(ACCOUNT, "p3000"),
        lambda: queue.stop(ACCOUNT, CAMPAIGN),
        lambda: queue.missed_counts(ACCOUNT, CAMPAIGN),
        lambda: queue.resume(ACCOUNT, CAMPAIGN),
        lambda: queue.rerun(ACCOUNT, CAMPAIGN),
        queue.trim,
    ):
        before_s, scripts = await spent(client)
        await call()
        after_s, scripts_then = await spent(client)
        assert after_s - before_s <= 0.050 * max(1, scripts_then - scripts)


async def spent(client: Any) -> tuple[float, int]:
    """The server's CPU seconds so far, which other processes don't change, and its script calls."""
    cpu, stats = await client.info("cpu"), await client.info("commandstats")
    calls = sum(stats.get(name, {}).get("calls", 0) for name in ("cmdstat_evalsha", "cmdstat_eval"))
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"], calls
