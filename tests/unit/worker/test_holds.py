"""Holds of endpoints, of accounts' ledgers, and of the queue itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fallback.policy import Origin
from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionResult
from runtime.campaigns.run import Then
from runtime.worker.holds import Holds
from tests.harness.queues import request_of, result_of

PATIENCE_S = 60.0
ENOUGH = 4


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def holds_of(clock: Clock, then: Then = Then.STOP) -> Holds:
    return Holds(patience_s=PATIENCE_S, then=then, enough=ENOUGH, now_s=clock)


def fallback(reason: FallbackReason) -> ExecutionResult:
    result = result_of(request_of(1), reason)
    return replace(result, origins={"reply": Origin("fallback", reason)}, kept=False)


def run(holds: Holds, endpoint: str, account_id: str, reason: FallbackReason | None) -> bool:
    """Run one execution; return whether there was leave."""
    leave = holds.start(endpoint, account_id)
    if leave is None:
        return False
    holds.ended(leave, fallback(reason) if reason else result_of(request_of(1)), 0.0)
    return True


def test_a_provider_that_is_away_holds_its_endpoint_for_all_accounts(clock: Clock) -> None:
    holds = holds_of(clock)
    for _ in range(ENOUGH):
        run(holds, "dead", "acme", FallbackReason.PROVIDER_ERROR)
    assert holds.is_held(("endpoint", "dead"))
    assert not run(holds, "dead", "corner-shop", None)
    assert run(holds, "alive", "acme", None)
    clock.now_s += 1
    assert run(holds, "dead", "corner-shop", None), "a probe"
    assert run(holds, "dead", "acme", None), "and its answer ends the hold"


def test_a_ledger_that_is_away_holds_its_account_alone(clock: Clock) -> None:
    holds = holds_of(clock)
    for _ in range(ENOUGH):
        run(holds, "alive", "acme", FallbackReason.LEDGER_UNAVAILABLE)
    assert holds.is_held(("account", "acme"))
    assert not run(holds, "alive", "acme", None)
    assert run(holds, "alive", "corner-shop", None)


def give_up(holds: Holds, clock: Clock) -> None:
    for _ in range(ENOUGH):
        run(holds, "dead", "acme", FallbackReason.PROVIDER_ERROR)
    clock.now_s += PATIENCE_S + 1
    for _ in range(2):
        run(holds, "dead", "acme", FallbackReason.PROVIDER_ERROR)


def test_where_the_patience_is_over_nothing_is_run_that_would_be_burnt(clock: Clock) -> None:
    holds = holds_of(clock)
    give_up(holds, clock)
    [held] = holds.given_up()
    assert held.place == ("endpoint", "dead")
    assert holds.is_held(held.place)
    assert not holds.keeps_fallbacks(held.place)
    assert not run(holds, "dead", "acme", None)
    holds.begin_again(held.place)
    assert run(holds, "dead", "acme", None)


def test_with_fallbacks_after_the_patience_everybody_is_run_until_there_are_answers(
    clock: Clock,
) -> None:
    holds = holds_of(clock, Then.FALLBACK)
    give_up(holds, clock)
    assert holds.keeps_fallbacks(("endpoint", "dead"))
    assert run(holds, "dead", "acme", FallbackReason.PROVIDER_ERROR)
    run(holds, "dead", "acme", None)
    assert not holds.keeps_fallbacks(("endpoint", "dead"))


def test_a_queue_that_can_not_be_read_is_given_up_after_the_patience(clock: Clock) -> None:
    holds = holds_of(clock)
    for _ in range(1_000):
        if holds.given_up():
            break
        if (start := holds.start_reading()) is not None:
            holds.not_read(start, "connection refused")
        clock.now_s += 0.5
    [held] = holds.given_up()
    assert held.place == ("queue", "")
    assert held.hold.trouble.reason is FallbackReason.LEDGER_UNAVAILABLE
    assert PATIENCE_S <= clock.now_s - held.hold.since_s <= PATIENCE_S + 20


def test_holds_of_accounts_without_trouble_are_forgotten(clock: Clock) -> None:
    holds = holds_of(clock)
    for _ in range(ENOUGH):
        run(holds, "dead", "acme", FallbackReason.PROVIDER_ERROR)
    for number in range(10_100):
        run(holds, "alive", f"account-{number}", None)
    assert holds.is_held(("endpoint", "dead"))
    assert len(holds) <= 10_000
