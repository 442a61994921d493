"""Runs the machine, example after example, on desks of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from runtime.credits.caps import DefaultCap
from tests.harness.ledger.desk import OFFERS, open_desk
from tests.harness.ledger.duel import COOLDOWN_MS, HORIZON_MS
from tests.harness.ledger.machine import LedgerAgainstModel
from tests.harness.ledger.staged import asking_again_at_once, one_script_call_at_a_time
from tests.harness.ledger.wire import open_wire

T = TypeVar("T")

LOW_MARKS = (("p20",), ("p50", "a120", "p10"), ())
CAP_MARKS = (("c80", "c100"), (), ("c50", "c100", "c1"))
DEFAULT_CAPS = (
    (),
    (DefaultCap("workspace_id", "day", 150), DefaultCap("campaign_id", "total", 400)),
    (DefaultCap("campaign_id", "month", 100),),
)
# No command within a script takes so long, and no script is quicker.
SCRIPTS_TAKE_AT_LEAST_US = 20


def walk(
    url: str,
    prefix: str,
    *,
    steps: int,
    first_seed: int,
    shrink: bool = False,
    at_most_s: float = float("inf"),
) -> int:
    """Run example after example until so many steps were made, or time is up; return how many."""
    until_s = time.monotonic() + at_most_s
    machine = LedgerAgainstModel
    with asyncio.Runner() as runner, asking_again_at_once(), one_script_call_at_a_time():
        stack = AsyncExitStack()

        def enter(context: AbstractAsyncContextManager[T]) -> T:
            return runner.run(stack.enter_async_context(context))

        machine.loop, machine.steps = runner.get_loop(), 0
        machine.desks = [
            enter(
                open_desk(
                    url,
                    prefix,
                    outcome_ttl_ms=HORIZON_MS,
                    alert_cooldown_ms=COOLDOWN_MS,
                    low_marks=marks,
                    cap_marks=cap_marks,
                    default_caps=caps,
                    offers=OFFERS,
                )
            )
            for marks, cap_marks, caps in zip(LOW_MARKS, CAP_MARKS, DEFAULT_CAPS, strict=True)
        ]
        machine.wire = enter(open_wire(machine.desks[0].client))
        logged_us = ("slowlog-log-slower-than", SCRIPTS_TAKE_AT_LEAST_US)
        runner.run(machine.wire.ask(("CONFIG", "SET", *logged_us)))
        try:
            while machine.steps < steps and time.monotonic() < until_s:
                _run_examples(seed(first_seed + machine.accounts)(machine), shrink)
        finally:
            runner.run(stack.aclose())
    return machine.steps


def _run_examples(machine: type[LedgerAgainstModel], shrink: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=100,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
