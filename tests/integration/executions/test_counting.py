"""Answers whose provider says no usage, so that their tokens are counted."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from providers.base import MAX_ANSWER_CHARS, Completion, CompletionRequest, FinishReason
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action

ANSWER = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
LONG = action(limits={"max_output_tokens": 100_000})
RUNS = 5


class Wordy:
    """Answers with so many characters, the dearest to count, and no usage: each time others."""

    def __init__(self, length: int) -> None:
        chance = random.Random(1)
        word = "".join(chr(chance.randrange(0x4E00, 0x9000)) for _ in range(length // 2 - 40))
        self.texts = [f"{word[n:]} {word} {ANSWER}" for n in range(RUNS)]
        self.answered = asyncio.Event()

    async def complete(self, request: CompletionRequest) -> Completion:
        self.answered.set()
        return Completion(self.texts.pop(), FinishReason.STOP, None)

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("length", [8_000, MAX_ANSWER_CHARS])
async def test_law_15_counting_an_answer_does_not_hold_the_event_loop(
    open_bench: OpenWorkbench, length: int
) -> None:
    async with open_bench(provider=Wordy(length), credits_mc=10**9) as bench:
        taken_s = []
        for _ in range(RUNS):
            start_s = time.thread_time()
            result = await bench.execute(LONG)
            taken_s.append(time.thread_time() - start_s)

            assert result.status == "model"
            assert result.usage is not None
            assert result.usage.output_tokens > 0
        assert min(taken_s) < 0.05


async def test_law_5_a_caller_that_is_cancelled_while_its_answer_is_counted_leaves_exposure(
    open_bench: OpenWorkbench,
) -> None:
    provider = Wordy(MAX_ANSWER_CHARS)
    async with open_bench(provider=provider) as bench:
        running = asyncio.create_task(bench.execute(LONG))
        await provider.answered.wait()
        quoted_mc = (await bench.runtime.accounts.balance(ACCOUNT)).reserved_mc
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bench.runtime.drain()
        books = await bench.books()

    assert (books.charged_mc, books.exposure_mc) == (0, quoted_mc)
