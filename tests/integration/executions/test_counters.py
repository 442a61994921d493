"""Whoever runs creditgate can see whether quotes hold."""

from __future__ import annotations

import json

import pytest

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action

ANSWER = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})


class Biller:
    """Answers, and bills what it is told to."""

    def __init__(self, usage: TokenUsage | None) -> None:
        self.usage = usage

    async def complete(self, request: CompletionRequest) -> Completion:
        return Completion(ANSWER, FinishReason.STOP, self.usage)

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    "usage, undercounted, exceeded, capped",
    [
        (TokenUsage(40, 20), 0, 0, 0),
        (TokenUsage(400, 20), 1, 0, 0),
        (TokenUsage(400, 120), 1, 1, 0),
        (TokenUsage(40, 2_000), 0, 0, 1),
        (TokenUsage(4_000, 120), 1, 1, 1),
        (None, 0, 0, 0),
    ],
)
async def test_law_17_a_bill_above_what_was_counted_or_reserved_is_seen(
    open_bench: OpenWorkbench,
    usage: TokenUsage | None,
    undercounted: int,
    exceeded: int,
    capped: int,
) -> None:
    async with open_bench(provider=Biller(usage)) as bench:
        assert (await bench.execute(action())).status == "model"

        counters = bench.runtime.counters
        assert counters.answers == 1
        assert (counters.input_undercounted, counters.quote_exceeded) == (undercounted, exceeded)
        assert counters.usage_capped == capped
        journal = await bench.redis.xrange(bench.keys.of_account(ACCOUNT)[8])
        assert ("quote_exceeded" in repr(journal)) == bool(exceeded)
        assert ("usage_capped" in repr(journal)) == bool(capped)


async def test_law_17_the_counted_input_covers_the_real_one_whatever_people_write(
    open_bench: OpenWorkbench,
) -> None:
    texts = [
        "",
        "Ωç√ß Größe",
        "word " * 900,
        "🏦💳" * 50,
        "<|endoftext|>",
        "a" * 3_000,
        "\n\t " * 99,
    ]
    async with open_bench(seed=2) as bench:
        for model in ("writer", "wordy"):
            for text in texts:
                data = {"customer": {"message": f"{text}."}}
                await bench.execute(action(model=model), data=data)
        assert bench.runtime.counters.answers == 2 * len(texts)
        assert bench.runtime.counters.input_undercounted == 0
        assert bench.runtime.counters.quote_exceeded == 0
