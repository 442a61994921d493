"""What was not allowed to be charged is not called: caps, switches, closed accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from creditgate import CreditLedger, ExecutionResult
from fallback.reasons import FallbackReason
from runtime.actions.requests import Source
from runtime.credits.caps import Cap, CapStatus, CapWindow
from tests.harness.executions.held import held
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action

DAILY = Cap(CapWindow.DAY, workspace_id="retail", source="live")
DATA = {"customer": {"message": "Where is my card?"}}
SOON_S = 5


async def quote_mc(bench: Workbench) -> int:
    """What one execution reserves, and all others like it."""
    asked = bench.request(account_id="nobody", data=DATA)
    _, trace = await bench.traced(asked)
    assert trace is not None
    return trace.progress.quote.amount_mc


async def execute(bench: Workbench, **changes: Any) -> ExecutionResult:
    """Execute a request whose quote is that of all others here."""
    return await bench.execute(data=DATA, **changes)


async def set_cap(bench: Workbench, limit_mc: int, reference: str = "cap") -> None:
    await bench.runtime.accounts.set_cap(ACCOUNT, DAILY, limit_mc=limit_mc, reference=reference)


async def standing(bench: Workbench) -> CapStatus:
    [status] = await bench.runtime.accounts.caps(ACCOUNT)
    return status


def reason_of(result: ExecutionResult) -> FallbackReason | None:
    [reason] = {origin.reason for origin in result.origins.values()}
    return reason


async def test_a_cap_that_was_reached_gives_fallback_values_at_once_and_says_which(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench) as (bench, provider):
        await set_cap(bench, 1_250)
        async with asyncio.timeout(SOON_S):
            result = await execute(bench, person_id="ada@example.com")

        assert reason_of(result) is FallbackReason.CAP_REACHED
        assert result.values == action().fallbacks
        assert (result.charged_mc, result.reserved_mc) == (0, 0)
        assert result.available_after_mc == 10_000_000
        assert result.detail is not None
        assert result.detail.startswith(
            "the cap of 1.25 credits a day for workspace retail, source live: "
            "0 charged, 0 reserved; it resets in "
        )
        assert "ada" not in result.detail
        assert result.to_json()["detail"] == result.detail
        assert provider.calls == 0


async def test_a_capped_execution_keeps_its_outcome_when_the_cap_is_gone(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench() as bench:
        await set_cap(bench, 0)
        request = bench.request()
        first = await bench.run(request)
        await bench.runtime.accounts.remove_cap(ACCOUNT, DAILY, reference="away")

        again = await bench.run(request)
        another = await bench.execute()

        assert again.replayed
        assert reason_of(again) is reason_of(first) is FallbackReason.CAP_REACHED
        assert another.status == "model"


async def test_what_running_executions_hold_under_a_cap_is_waited_out(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench) as (bench, provider):
        # One worst case and one answer fit; two worst cases do not.
        await set_cap(bench, await quote_mc(bench) + 200)
        first = asyncio.create_task(execute(bench))
        await bench.until_reserved()
        second = asyncio.create_task(execute(bench))
        await asyncio.sleep(0.4)
        assert provider.calls == 1
        assert not second.done()

        provider.answers.set()
        async with asyncio.timeout(SOON_S):
            results = [await first, await second]

        assert [result.status for result in results] == ["model", "model"]
        status = await standing(bench)
        assert status.charged_mc == sum(result.charged_mc for result in results)
        assert (status.reserved_mc, status.cap_excess_mc) == (0, 0)
        await bench.books()


async def test_a_cap_that_stays_full_is_not_waited_for_longer_than_configured(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench, wait_ms=200) as (bench, provider):
        quoted_mc = await quote_mc(bench)
        await set_cap(bench, quoted_mc + 200)
        running = asyncio.create_task(execute(bench))
        await bench.until_reserved()
        async with asyncio.timeout(SOON_S):
            late = await execute(bench)

        assert reason_of(late) is FallbackReason.CAP_REACHED
        assert f"{quoted_mc / 1000:g} reserved" in (late.detail or "")
        assert late.timings_ms["total"] >= 150
        assert provider.calls == 1
        provider.answers.set()
        assert (await running).status == "model"


async def test_other_workspaces_and_sources_go_on_under_a_cap(bench: Workbench) -> None:
    await set_cap(bench, 0)

    assert (await bench.execute(workspace_id="other")).status == "model"
    assert (await bench.execute(source=Source.PREVIEW)).status == "model"
    assert reason_of(await bench.execute()) is FallbackReason.CAP_REACHED


Stop = Callable[[CreditLedger], Awaitable[object]]
STOPS: dict[str, tuple[Stop, FallbackReason]] = {
    "account off": (
        lambda ledger: ledger.accounts.switch_off(ACCOUNT, reference="stop"),
        FallbackReason.SWITCHED_OFF,
    ),
    "workspace off": (
        lambda ledger: ledger.accounts.switch_off(ACCOUNT, workspace_id="retail", reference="stop"),
        FallbackReason.SWITCHED_OFF,
    ),
    "action off": (
        lambda ledger: ledger.accounts.switch_off(ACCOUNT, action="route", reference="stop"),
        FallbackReason.SWITCHED_OFF,
    ),
    "closed": (
        lambda ledger: ledger.accounts.close_account(ACCOUNT, reference="stop", reason="test"),
        FallbackReason.ACCOUNT_CLOSED,
    ),
    "plan without": (
        lambda ledger: ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="stop"),
        FallbackReason.PLAN_NOT_ELIGIBLE,
    ),
    "cap lowered": (
        lambda ledger: ledger.accounts.set_cap(ACCOUNT, DAILY, limit_mc=100, reference="stop"),
        FallbackReason.CAP_REACHED,
    ),
}


@pytest.mark.parametrize("name", STOPS)
async def test_a_stop_ends_what_waits_at_once_and_answers_what_runs(
    open_bench: OpenWorkbench, name: str
) -> None:
    stop, reason = STOPS[name]
    async with held(open_bench) as (bench, provider):
        await set_cap(bench, await quote_mc(bench) + 200)
        running = asyncio.create_task(execute(bench))
        await bench.until_reserved()
        waiting = [asyncio.create_task(execute(bench)) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)

        await stop(bench.ledger)
        async with asyncio.timeout(SOON_S):
            stopped = [*await asyncio.gather(*waiting), await execute(bench)]

        assert {reason_of(result) for result in stopped} == {reason}
        assert all(result.values == action().fallbacks for result in stopped)
        assert provider.calls == 1
        provider.answers.set()
        answered = await running
        assert answered.status == "model"
        books = await bench.books()
        assert books.charged_mc == answered.charged_mc > 0
        assert books.overage_mc == 0


async def test_a_stop_reaches_those_who_wait_for_credits(open_bench: OpenWorkbench) -> None:
    async with held(open_bench, credits_mc=2_000) as (bench, provider):
        running = asyncio.create_task(execute(bench))
        await bench.until_reserved()
        waiting = asyncio.create_task(
            execute(bench, spec=action(limits={"min_output_tokens": 120}))
        )
        await asyncio.sleep(0.1)
        await bench.runtime.accounts.switch_off(ACCOUNT, reference="stop")
        async with asyncio.timeout(SOON_S):
            result = await waiting

        assert reason_of(result) is FallbackReason.SWITCHED_OFF
        provider.answers.set()
        assert (await running).status == "model"


async def test_a_switch_refuses_nothing_but_what_it_names(bench: Workbench) -> None:
    ledger = bench.ledger
    await ledger.accounts.switch_off(ACCOUNT, workspace_id="retail", reference="off-1")
    await ledger.accounts.switch_off(ACCOUNT, action="other", reference="off-2")

    assert reason_of(await bench.execute()) is FallbackReason.SWITCHED_OFF
    assert (await bench.execute(workspace_id="second")).status == "model"
    elsewhere = await bench.execute(action(id="other"), workspace_id="second")
    assert reason_of(elsewhere) is FallbackReason.SWITCHED_OFF

    await ledger.accounts.switch_on(ACCOUNT, workspace_id="retail", reference="on-1")
    assert (await bench.execute()).status == "model"


async def test_the_configured_alerts_are_those_of_the_ledger(bench: Workbench) -> None:
    settings = bench.ledger.settings

    assert settings.low_marks == ("p30",)
    assert settings.alert_cooldown_ms == 90 * 60_000
