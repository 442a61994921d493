"""``execute()`` twice with the same id, for each reason: is the first outcome kept?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fallback.reasons import FallbackReason, is_kept
from runtime.actions.requests import ExecutionRequest
from runtime.credits.caps import Cap
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, reasons

_R = FallbackReason
Cause = Callable[[Workbench, ExecutionRequest], AbstractAsyncContextManager[ExecutionRequest]]
"""Makes the request fall back within its block, and mends the cause at the end of it."""


def cause(play: Callable[[Workbench, ExecutionRequest], AsyncIterator[Any]]) -> Cause:
    """Make a cause of a generator; it may yield another request, to be asked first."""

    @asynccontextmanager
    async def within(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
        async with asynccontextmanager(play)(bench, request) as changed:
            yield changed or request

    return within


def scenario(name: str) -> Cause:
    """Let the provider play a scenario."""

    @cause
    async def play(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
        bench.mock.play(name)
        yield None
        bench.mock.play(None)
        if name in ("status=401", "status=403", "status=404"):
            await asyncio.sleep(0.15)  # their breaker is open

    return play


def refused(status: int) -> Cause:
    """Let the provider refuse, and wait until one that refused a key or a model is called again."""

    @cause
    async def play(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
        bench.mock.play(f"status={status}")
        yield None
        bench.mock.play(None)
        await asyncio.sleep(0.1)

    return play


def asked_as(**changes: Any) -> Cause:
    """Ask with a changed request."""

    @cause
    async def changed(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
        yield replace(request, **changes)

    return changed


@cause
async def no_credits(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    yield None
    await bench.runtime.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="paid")


@cause
async def lowered(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    limits = {"max_output_tokens": 1_000, "min_output_tokens": 3}
    yield replace(request, action=action(limits=limits))
    await bench.runtime.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="paid")


@cause
async def reserved_elsewhere(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    other = bench.ledger.attempt(
        account_id=ACCOUNT,
        execution_id="other",
        workspace_id="retail",
        campaign_id="welcome",
        person_id="other",
        action="route",
        source="live",
    )
    await bench.ledger.reserve(other, 2_000, 60_000)
    yield replace(request, action=action(limits={"min_output_tokens": 120, "deadline_ms": 400}))
    await bench.runtime.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="paid")


@cause
async def on_trial(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    await bench.runtime.accounts.change_plan(ACCOUNT, plan="trial", reference="down")
    yield None
    await bench.runtime.accounts.change_plan(ACCOUNT, plan="growth", reference="up")


@cause
async def closed(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    await bench.runtime.accounts.close_account(ACCOUNT, reference="close", reason="test")
    yield None


@cause
async def capped(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    cap = Cap("day", workspace_id="retail")
    await bench.runtime.accounts.set_cap(ACCOUNT, cap, limit_mc=1, reference="cap")
    yield None
    await bench.runtime.accounts.remove_cap(ACCOUNT, cap, reference="no cap")


@cause
async def switched_off(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    await bench.runtime.accounts.switch_off(ACCOUNT, workspace_id="retail", reference="off")
    yield None
    await bench.runtime.accounts.switch_on(ACCOUNT, workspace_id="retail", reference="on")


@cause
async def no_turn(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    async with bench.turns_taken(1):
        yield replace(request, action=action(limits={"deadline_ms": 200}))


@cause
async def breaker_open(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    bench.mock.play("status=500")
    await bench.execute()
    yield None
    bench.mock.play(None)
    await asyncio.sleep(0.1)


@cause
async def damaged_account(bench: Workbench, request: ExecutionRequest) -> AsyncIterator[Any]:
    """The account's books are damaged for a while."""
    key = bench.keys.of_account(ACCOUNT)[0]
    schema = await bench.redis.hget(key, "schema")
    await bench.redis.hset(key, "schema", "99")
    yield None
    await bench.redis.hset(key, "schema", schema)


@dataclass(frozen=True)
class Case:
    """A reason, what brings it about, and what is expected of the first ask."""

    reason: FallbackReason
    cause: Cause
    calls: int
    charged: bool
    kept: bool
    status: int | None = None
    bench: dict[str, Any] = field(default_factory=dict)
    name: str = ""


_BREAKER = {"endpoint": "breaker: {failures: 1, open_ms: 100, max_open_ms: 100}"}
CASES = (
    Case(_R.INSUFFICIENT_CREDITS, no_credits, 0, False, True, bench={"credits_mc": 0}),
    Case(
        _R.CREDITS_RESERVED_ELSEWHERE,
        reserved_elsewhere,
        0,
        False,
        False,
        bench={"credits_mc": 2_100},
    ),
    Case(_R.EXECUTION_TOO_LARGE, no_credits, 0, False, True, bench={"credits_mc": 10}),
    Case(_R.PLAN_NOT_ELIGIBLE, on_trial, 0, False, True),
    Case(_R.ACCOUNT_CLOSED, closed, 0, False, True),
    Case(_R.CAP_REACHED, capped, 0, False, True),
    Case(_R.SWITCHED_OFF, switched_off, 0, False, False),
    Case(_R.DEADLINE_EXCEEDED, no_turn, 0, False, True, bench={"max_concurrency": 1}),
    Case(_R.PROMPT_ERROR, asked_as(data={"customer": {"name": "Ada"}}), 0, False, False),
    Case(_R.MODEL_UNAVAILABLE, asked_as(action=action(model="retired")), 0, False, False),
    Case(
        _R.MODEL_UNAVAILABLE,
        breaker_open,
        0,
        False,
        False,
        bench=_BREAKER,
        name="model_unavailable while the breaker is open",
    ),
    *(
        Case(
            _R.PROVIDER_REJECTED,
            refused(status),
            1,
            False,
            kept,
            status,
            bench=_BREAKER,
            name=f"provider_rejected by {status}",
        )
        for status, kept in [
            (400, True),
            (413, True),
            (422, True),
            (401, False),
            (402, False),
            (403, False),
            (404, False),
        ]
    ),
    Case(_R.PROVIDER_RATE_LIMITED, scenario("status=429"), 1, False, False),
    Case(_R.PROVIDER_ERROR, scenario("status=500"), 1, False, False),
    Case(_R.PROVIDER_TIMEOUT, scenario("status=504"), 1, False, False),
    Case(_R.CONTENT_REFUSED, scenario("refusal"), 1, True, True),
    Case(_R.OUTPUT_TRUNCATED, scenario("truncated"), 1, True, True),
    Case(
        _R.OUTPUT_TRUNCATED,
        lowered,
        1,
        False,
        False,
        bench={"credits_mc": 400},
        name="output_truncated by a limit that was lowered",
    ),
    Case(_R.OUTPUT_INVALID, scenario("malformed=broken_json"), 1, True, True),
    Case(_R.LEDGER_UNAVAILABLE, damaged_account, 0, False, False),
)
ELSEWHERE = {
    _R.ACCOUNT_UNKNOWN: "test_an_account_that_was_never_opened_keeps_nothing",
    _R.MODEL_NOT_PRICED: "test_a_model_without_a_price_is_not_kept",
    _R.OUTCOME_LOST: "test_values_that_are_lost_are_not_kept_and_not_paid_for_twice",
}
"""Reasons whose cause needs more than a case has."""


def test_every_reason_is_tried() -> None:
    assert {case.reason for case in CASES} | set(ELSEWHERE) == set(FallbackReason)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name or str(case.reason))
async def test_law_3_what_is_kept_comes_again_and_what_is_not_starts_afresh(
    open_bench: OpenWorkbench, case: Case
) -> None:
    async with open_bench(**case.bench) as bench:
        request = bench.request()
        async with case.cause(bench, request) as asked:
            before = await bench.calls()
            first = await bench.run(asked)
            called = await bench.calls() - before
        before = await bench.calls()
        again = await bench.run(request)
        called_again = await bench.calls() - before

        assert reasons(first) == {case.reason}
        assert is_kept(case.reason, charged=case.charged, status=case.status) is case.kept
        assert (called, first.charged_mc > 0, first.kept) == (case.calls, case.charged, case.kept)
        if case.kept:
            assert (again.replayed, again.kept, called_again) == (True, True, 0)
            assert (again.values, again.origins) == (first.values, first.origins)
            assert again.charged_mc == first.charged_mc
        else:
            assert (again.replayed, called_again) == (False, 1)


async def test_a_model_without_a_price_is_not_kept(open_bench: OpenWorkbench) -> None:
    def leave_the_price_out(config: dict[str, Any]) -> None:
        del config["rate_cards"][0]["rates"]["other"]

    async with open_bench(change=leave_the_price_out) as bench:
        request = bench.request()

        first = await bench.run(replace(request, action=action(model="other")))
        again = await bench.run(request)

        assert (reasons(first), first.kept) == ({_R.MODEL_NOT_PRICED}, False)
        assert (again.status, again.replayed, await bench.calls()) == ("model", False, 1)


async def test_values_that_are_lost_are_not_kept_and_not_paid_for_twice(bench: Workbench) -> None:
    request = bench.request()
    charged_mc = (await bench.run(request)).charged_mc
    [key] = [key async for key in bench.redis.scan_iter(f"{bench.keys.prefix}:*:o:*")]
    stored = await bench.redis.get(key)
    assert isinstance(stored, bytes)
    await bench.redis.set(key, stored.partition(b"\n")[0] + b"\n")

    lost, again = await bench.run(request), await bench.run(request)

    for result in (lost, again):
        assert (reasons(result), result.kept) == ({_R.OUTCOME_LOST}, False)
        assert result.charged_mc == charged_mc
    assert await bench.calls() == 1
    assert (await bench.books()).charged_mc == charged_mc
