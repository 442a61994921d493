"""The limit of one execution: above it nothing is reserved, and the same id may ask again."""

from __future__ import annotations

from typing import Any

from fallback.reasons import FallbackReason
from runtime.config import Config
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action


def _limited(whole_credits: int) -> Any:
    def change(config: dict[str, Any]) -> None:
        config["executions"]["max_credits"] = whole_credits

    return change


async def test_an_execution_above_the_limit_falls_back_before_the_ledger_reserves(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(change=_limited(1)) as bench:
        result = await bench.execute(action(limits={"max_output_tokens": 2_000}))

        assert {o.reason for o in result.origins.values()} == {FallbackReason.CAP_REACHED}
        assert not result.kept
        assert (result.charged_mc, result.reserved_mc, result.attempts) == (0, 0, ())
        assert result.detail is not None
        assert "executions.max_credits" in result.detail
        balance = await bench.ledger.accounts.balance(ACCOUNT)
        assert (balance.open_reservations, balance.charged_mc) == (0, 0)
        assert bench.mock.stats()["requests"] == 0


async def test_at_the_limit_it_runs_and_below_it_the_same_id_asks_again(
    open_bench: OpenWorkbench,
) -> None:
    spec = action(limits={"max_output_tokens": 2_000})
    async with open_bench(change=_limited(1)) as bench:
        request = bench.request(spec)
        assert not (await bench.run(request)).kept
        raised: Config = bench.config.model_copy(
            update={
                "executions": bench.config.executions.model_copy(update={"max_charge_mc": 10**9})
            }
        )
        await bench.runtime.reload(raised)
        first = await bench.run(request)
        assert first.status == "model"

        lowered = raised.model_copy(
            update={"executions": raised.executions.model_copy(update={"max_charge_mc": 1_000})}
        )
        await bench.runtime.reload(lowered)
        again = await bench.run(request)
        assert (again.values, again.replayed) == (first.values, True)
        exact = lowered.model_copy(
            update={
                "executions": lowered.executions.model_copy(
                    update={"max_charge_mc": first.reserved_mc}
                )
            }
        )
        await bench.runtime.reload(exact)
        same = bench.request(spec, data=request.data)
        assert (await bench.run(same)).status == "model"
