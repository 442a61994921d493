"""What an execution was quoted by settles it; long requests pay what their tier costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from fallback.reasons import FallbackReason
from pricing.quote import cost_mc
from pricing.rate_card import RateCard, RateCards, Rates, Tier
from providers.base import Completion, CompletionRequest
from providers.litellm.adapter import LiteLLMProvider
from runtime.catalog.models import Models
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action

CHANGE = datetime(2026, 12, 1, tzinfo=UTC)
CHEAP = Rates(1_000_000, 10_000_000, 1_000_000, 1_000_000, 10_000_000)
DEAR = Rates(3_000_000, 30_000_000, 3_000_000, 3_000_000, 30_000_000)
CARDS = RateCards(
    [
        RateCard("before", datetime(2026, 1, 1, tzinfo=UTC), {"writer": CHEAP}),
        RateCard("after", CHANGE, {"writer": DEAR}),
    ]
)


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
    async with open_bench(provider=provider) as bench:
        quoter = bench.runtime._quoter
        quoter._rate_cards, quoter._clock = CARDS, lambda: provider.now

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
    async with open_bench(provider=provider) as bench:
        quoter = bench.runtime._quoter
        quoter._rate_cards, quoter._clock = CARDS, lambda: provider.now
        quoter._models = Models(
            {m.id: replace(m, retires_on=date(2026, 12, 1)) for m in quoter._models}
        )

        assert (await bench.execute()).status == "model"
        retired = await bench.execute()

        assert retired.origins["reply"].reason is FallbackReason.MODEL_UNAVAILABLE
        assert await bench.calls() == 1
    await provider.aclose()


@pytest.mark.parametrize("above, is_long", [(20, True), (20_000, False)])
async def test_a_long_request_pays_what_its_tier_costs(
    bench: Workbench, above: int, is_long: bool
) -> None:
    tier = Tier(2_000_000, 15_000_000, 2_000_000, 2_000_000, 15_000_000, above_input_tokens=above)
    tiered = replace(CHEAP, tiers=(tier,))
    started = datetime(2026, 1, 1, tzinfo=UTC)
    quoter = bench.runtime._quoter
    quoter._rate_cards = RateCards([RateCard("tiered", started, {"writer": tiered})])

    result = await bench.execute()

    assert result.usage is not None
    paid_in, paid_out = (2, 15) if is_long else (1, 10)
    usage = result.usage
    assert result.charged_mc == usage.input_tokens * paid_in + usage.output_tokens * paid_out
    assert result.charged_mc <= result.reserved_mc


async def test_a_prompt_that_does_not_fit_into_the_context_is_not_sent(bench: Workbench) -> None:
    quoter = bench.runtime._quoter
    spec = action(limits={"max_output_tokens": 120})
    models = list(quoter._models)
    quoter._models = Models({m.id: replace(m, context_tokens=1_000) for m in models})

    short = await bench.execute(spec)
    long = await bench.execute(spec, data={"customer": {"message": "card " * 900}})

    assert short.status == "model"
    assert {origin.reason for origin in long.origins.values()} == {FallbackReason.PROMPT_ERROR}
    assert long.detail is not None
    assert "do not fit into the 1,000 tokens of model 'writer'" in long.detail
    assert await bench.calls() == 1
    assert (await bench.books()).charged_mc == short.charged_mc
