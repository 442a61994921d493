"""Quotes of long prompts: counted off the event loop, by the deadline, fairly between accounts."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.rate_card import ModelClass, RateCard, RateCards, Rates
from pricing.tokens import ENCODINGS, OTHER, SHORT_TEXT_CHARS, TokenCounter
from providers.base import Endpoint
from providers.pacing.deadline import Deadline
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Source
from runtime.catalog.models import Model, Models
from runtime.credits.identity import Identity
from runtime.executions.execution import Execution, Timings
from runtime.executions.quoting import Quoter
from tests.harness.bounds import assert_cpu, assert_linear, loop_holds_s, peak_bytes
from tests.harness.workbench import action

MOST_S = 0.05
CHARS = 1_000_000
CHANCE = random.Random(1)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = {
    "words": "I bought shoes in Berlin, and ask for 120.50 EUR. ",
    "one letter": "a",
    "spaces": " ",
    "line breaks": "\n",
    "emoji": "😀",
    "accents in the wrong order": "\u0300\u0316",
    "ligatures": "ﷺ",
    "random letters": "".join(CHANCE.choices(LETTERS, k=50_000)) + " ",
    "random signs": "".join(map(chr, CHANCE.choices(range(0x20, 0xD800), k=50_000))),
}

EASY_AND_HARD = {"words", "accents in the wrong order"}
SOME_TEXTS = [
    pytest.param(name, marks=[] if name in EASY_AND_HARD else pytest.mark.long) for name in TEXTS
]
"""All texts, but in the shorter run of tests only an honest one and one that is hard to count."""


def text(name: str, chars: int = CHARS) -> str:
    return (TEXTS[name] * (chars // len(TEXTS[name]) + 1))[:chars]


LEARNING: Any = None
"""Only adaptive reservations learn."""


class SlowCounter(TokenCounter):
    """Counts texts that say "wait" in a thread, and not before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def count_messages_at_once(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None = None,
    ) -> int | None:
        if "wait" in messages[-1]["content"]:
            return None
        return super().count_messages_at_once(messages, response_schema)

    def count_messages(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None = None,
    ) -> int:
        if "wait" in messages[-1]["content"]:
            self.begun.release()
            self.go_on.wait(20)
        return super().count_messages(messages, response_schema)


@pytest.fixture
def slow() -> Iterator[SlowCounter]:
    counter = SlowCounter()
    yield counter
    counter.go_on.set()


class Desk:
    """A quoter with one model, and requests to it."""

    def __init__(self, counter: TokenCounter) -> None:
        self._numbers = itertools.count(1)
        self.model = Model("writer", "openai/gpt-4o", ModelClass.QUICK, Endpoint("mock"), counter)
        rates = {"writer": Rates(1_000, 1_000, 1_000, 10_000, 10_000)}
        card = RateCard("1", datetime(2026, 1, 1, tzinfo=UTC), rates)
        self.quoter = Quoter(
            Identity(b"sixteen bytes or more").attempt,
            Models({"writer": self.model}),
            RateCards([card]),
            LEARNING,
        )

    async def prepare(
        self, message: str, account_id: str = "acme", deadline_ms: int = 30_000, **changes: Any
    ) -> Execution | ExecutionResult:
        spec = action(limits={"deadline_ms": deadline_ms, "attempt_timeout_ms": 50}, **changes)
        number = next(self._numbers)
        request = ExecutionRequest(
            execution_id=str(number),
            account_id=account_id,
            workspace_id="retail",
            campaign_id="welcome",
            person_id="ann",
            action=spec,
            data={"customer": {"message": message}},
            source=Source.LIVE,
        )
        deadline = Deadline(asyncio.get_running_loop().time() + deadline_ms / 1000)
        return await self.quoter.prepare(request, spec, deadline, Timings())


@pytest.mark.parametrize("encoding", ["o200k_base", OTHER])
@pytest.mark.parametrize("name", SOME_TEXTS)
async def test_law_15_counting_a_million_characters_does_not_hold_the_event_loop(
    name: str, encoding: str
) -> None:
    desk = Desk(TokenCounter(encoding))
    await desk.prepare("warm")

    longest_s = []
    for attempt in range(3):  # neighbours on the machine only ever add to it
        message = f"{attempt}{text(name)}"[:CHARS]
        prepared, holds_s = await loop_holds_s(desk.prepare(message))
        assert isinstance(prepared, Execution)
        assert prepared.progress.quote.input_tokens > 1_000
        longest_s.append(max(holds_s))
    assert min(longest_s) < MOST_S


@pytest.mark.parametrize("encoding", [*ENCODINGS, OTHER])
@pytest.mark.parametrize("name", TEXTS)
def test_law_15_a_short_text_is_counted_within_a_third_of_the_bound(
    name: str, encoding: str
) -> None:
    short = text(name, SHORT_TEXT_CHARS)
    TokenCounter(encoding).warm_up()

    assert TokenCounter(encoding).count_text_at_once(short) is not None
    assert_cpu(lambda: TokenCounter(encoding).count_text(short), MOST_S / 3)


@pytest.mark.parametrize("encoding", [*ENCODINGS, OTHER])
@pytest.mark.parametrize("name", SOME_TEXTS)
def test_law_15_a_text_is_counted_in_time_in_proportion_to_its_length(
    name: str, encoding: str
) -> None:
    assert_linear(
        lambda chars: text(name, chars),
        lambda some: TokenCounter(encoding).count_text(some),
        60_000,
    )


@pytest.mark.parametrize("encoding", ["o200k_base", OTHER])
@pytest.mark.parametrize("name", SOME_TEXTS)
def test_law_15_counting_a_million_characters_takes_at_most_32_mb(name: str, encoding: str) -> None:
    some = text(name)

    assert peak_bytes(lambda: TokenCounter(encoding).count_text(some)) < 32_000_000


async def test_a_text_that_was_counted_lately_is_counted_at_once() -> None:
    counter = TokenCounter()
    messages = [{"role": "user", "content": text("words", 20_000)}]
    assert counter.count_messages_at_once(messages) is None

    counted = counter.count_messages(messages)

    assert counter.count_messages_at_once(messages) == counted


async def test_a_prompt_that_is_not_counted_by_the_deadline_is_an_error_of_the_prompt(
    slow: SlowCounter,
) -> None:
    prepared = await Desk(slow).prepare("wait", deadline_ms=50)

    assert isinstance(prepared, ExecutionResult)
    assert prepared.values["reply"] == "We will be in touch."
    assert {origin.reason for origin in prepared.origins.values()} == {FallbackReason.PROMPT_ERROR}
    assert prepared.detail == "the prompt was not counted within 50 ms"
    assert not prepared.kept


async def test_an_account_with_long_prompts_waits_for_itself_and_no_other_does(
    slow: SlowCounter,
) -> None:
    desk = Desk(slow)
    hostile = [asyncio.create_task(desk.prepare(f"wait {number}")) for number in range(20)]
    assert await asyncio.to_thread(slow.begun.acquire, timeout=10)

    for number in range(20):
        message = f"{number} {text('words', 20_000)}"
        assert isinstance(await desk.prepare(message, "other"), Execution)

    assert not slow.begun.acquire(blocking=False), "one at a time"
    assert not any(task.done() for task in hostile)
    slow.go_on.set()
    assert all(isinstance(prepared, Execution) for prepared in await asyncio.gather(*hostile))


async def test_who_is_cancelled_gets_away_at_once_and_the_next_one_waits_for_the_count(
    slow: SlowCounter,
) -> None:
    desk = Desk(slow)
    first = asyncio.create_task(desk.prepare("wait"))
    assert await asyncio.to_thread(slow.begun.acquire, timeout=10)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(desk.prepare("wait as well"))
    await asyncio.sleep(0.05)

    assert not slow.begun.acquire(blocking=False)
    slow.go_on.set()
    assert isinstance(await second, Execution)
