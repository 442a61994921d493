"""What an execution was quoted by settles it; long requests pay what their tier costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.quote import cost_mc
from pricing.rate_card import Rates
from providers.base import Completion, CompletionRequest
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action

START = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE = datetime(2026, 12, 1, tzinfo=UTC)
CHEAP = Rates(1_000_000, 10_000_000, 1_000_000, 1_000_000, 10_000_000)
DEAR = Rates(3_000_000, 30_000_000, 3_000_000, 3_000_000, 30_000_000)


def card(version: str, since: datetime, **rates: Any) -> dict[str, Any]:
    """A rate card on which one model has a price, as the config writes it."""
    written = {"version": version, "effective_from": since.isoformat()}
    return {**written, "rates": {"writer": rates}}


def change_rates(config: dict[str, Any]) -> None:
    """Have the writer cost ``CHEAP``, and from the change on ``DEAR``."""
    before = card("before", START, input=1_000, output=10_000)
    after = card("after", CHANGE, input=3_000, output=30_000)
    config["rate_cards"] = [before, after]


class SlowProvider:
    """Calls the model, and by the time it answers the next rate card is in force."""

    def __init__(self) -> None:
        self.now = CHANGE - timedelta(milliseconds=1)
        self._inner = LiteLLMProvider()

    async def complete(self, request: CompletionRequest) -> Completion:
        self.now = CHANGE
        return await self._inner.complete(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def last_entry(bench: Workbench) -> str:
    entries = await bench.redis.xrevrange(bench.keys.of_account(ACCOUNT)[8], count=1)
    return str(entries)


async def test_the_version_quoted_is_the_version_settled_though_another_comes_into_force(
    open_bench: OpenWorkbench,
) -> None:
    provider = SlowProvider()
    async with open_bench(
        provider=provider, change=change_rates, clock=lambda: provider.now
    ) as bench:
        during = await bench.execute()
        journaled = await last_entry(bench)
        afterwards = await bench.execute()

        assert during.usage is not None
        assert during.status == "model"
        assert during.rate_card_version == "before"
        assert during.charged_mc == cost_mc(CHEAP, during.usage) <= during.reserved_mc
        assert "before" in journaled
        assert "after" not in journaled
        assert afterwards.usage is not None
        assert afterwards.rate_card_version == "after"
        assert afterwards.charged_mc == cost_mc(DEAR, afterwards.usage)
        books = await bench.books()
        assert books.charged_mc == during.charged_mc + afterwards.charged_mc
    await provider.aclose()


async def test_an_answer_that_began_before_its_model_retired_is_settled(
    open_bench: OpenWorkbench,
) -> None:
    provider = SlowProvider()

    def retire_the_writer(config: dict[str, Any]) -> None:
        config["models"]["writer"]["retires_on"] = CHANGE.date().isoformat()

    async with open_bench(
        provider=provider, change=retire_the_writer, clock=lambda: provider.now
    ) as bench:
        assert (await bench.execute()).status == "model"
        retired = await bench.execute()

        assert retired.origins["reply"].reason is FallbackReason.MODEL_UNAVAILABLE
        assert await bench.calls() == 1
    await provider.aclose()


@pytest.mark.parametrize("above, is_long", [(20, True), (20_000, False)])
async def test_a_long_request_pays_what_its_tier_costs(
    open_bench: OpenWorkbench, above: int, is_long: bool
) -> None:
    def add_a_tier(config: dict[str, Any]) -> None:
        tier = {"above_input_tokens": above, "input": 2_000, "output": 15_000}
        config["rate_cards"] = [card("tiered", START, input=1_000, output=10_000, tiers=[tier])]

    async with open_bench(change=add_a_tier) as bench:
        result = await bench.execute()

    assert result.usage is not None
    paid_in, paid_out = (2, 15) if is_long else (1, 10)
    usage = result.usage
    assert result.charged_mc == usage.input_tokens * paid_in + usage.output_tokens * paid_out
    assert result.charged_mc <= result.reserved_mc


async def test_a_prompt_that_does_not_fit_into_the_context_is_not_sent(
    open_bench: OpenWorkbench,
) -> None:
    def narrow_the_context(config: dict[str, Any]) -> None:
        config["models"]["writer"]["context_tokens"] = 1_000

    spec = action(limits={"max_output_tokens": 120})
    async with open_bench(change=narrow_the_context) as bench:
        short = await bench.execute(spec)
        long = await bench.execute(spec, data={"customer": {"message": "card " * 900}})

        assert short.status == "model"
        assert {origin.reason for origin in long.origins.values()} == {FallbackReason.PROMPT_ERROR}
        assert long.detail is not None
        assert "do not fit into the 1,000 tokens of model 'writer'" in long.detail
        assert await bench.calls() == 1
        assert (await bench.books()).charged_mc == short.charged_mc
