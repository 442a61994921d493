"""Laws 6 and 17: what a provider says that it used, and what of it an account pays."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, NotSent
from runtime.actions import answers
from runtime.actions.requests import Source
from runtime.credits.caps import Cap
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import LedgerUnavailable
from runtime.executions import reserved
from runtime.executions.spool import Spool
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, reasons

ANSWER = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
SECRET = "sk-very-secret"


class Biller:
    """Answers, and reports whatever it is made for."""

    def __init__(
        self, usage: TokenUsage | None, text: str = ANSWER, *, reasoning_beside: bool = False
    ) -> None:
        self.completion = Completion(
            text, FinishReason.STOP, usage, reasoning_beside=reasoning_beside
        )
        self.calls = 0

    async def complete(self, request: CompletionRequest) -> Completion:
        self.calls += 1
        return self.completion

    async def aclose(self) -> None:
        pass


async def entry(bench: Workbench) -> list[str]:
    """The columns of the last settlement in the journal."""
    (journal,) = (key for key in bench.keys.of_account(ACCOUNT) if key.endswith(":journal"))
    raw: Any = await bench.redis.xrevrange(journal, count=1)
    ((_, fields),) = raw
    return str(fields[b"e"].decode()).split("\t")


@pytest.mark.parametrize("tokens", [1_000_000, 10**9, 10**18, 10**30])
@pytest.mark.parametrize("part", ["input", "output", "both", "cached"])
async def test_law_15_and_17_a_bill_that_can_t_be_true_is_charged_at_the_bound(
    open_bench: OpenWorkbench, tokens: int, part: str
) -> None:
    usage = {
        "input": TokenUsage(tokens, 20),
        "output": TokenUsage(50, tokens),
        "both": TokenUsage(tokens, tokens),
        "cached": TokenUsage(tokens, 20, tokens),
    }[part]
    provider = Biller(usage)
    async with open_bench(provider=provider) as bench:
        request = bench.request()
        result, trace = await bench.traced(request)
        again = await bench.run(request)
        books = await bench.books()
        flags = (await entry(bench))[10].split(",")

    quote = trace.progress.quote
    most_input = max(2 * quote.input_tokens, quote.input_tokens + 500)
    bound_mc = trace.cost_mc(TokenUsage(most_input, 120))
    assert result.status == "model"
    assert 0 < result.charged_mc <= bound_mc
    assert "usage_capped" in flags
    assert books.charged_mc == result.charged_mc
    assert books.charged_mc + books.exposure_mc >= trace.cost_mc(usage)
    assert books.overage_mc == 0
    assert result.usage is not None
    assert result.usage.output_tokens <= 120
    assert bench.runtime.counters.usage_capped == 1
    assert (again.replayed, again.charged_mc, provider.calls) == (True, result.charged_mc, 1)


async def test_law_17_between_quote_and_bound_the_bill_is_charged_and_flagged(
    open_bench: OpenWorkbench,
) -> None:
    usage = TokenUsage(400, 120)
    async with open_bench(provider=Biller(usage)) as bench:
        result, trace = await bench.traced(bench.request())
        flags = (await entry(bench))[10]
        books = await bench.books()

    assert trace.progress.quote.input_tokens < 400
    assert result.charged_mc == trace.cost_mc(usage) > trace.progress.quote.amount_mc
    assert (flags, books.exposure_mc) == ("quote_exceeded", 0)


async def test_law_17_an_answer_without_usage_is_counted_on_at_most_its_limit(
    open_bench: OpenWorkbench,
) -> None:
    text = ANSWER + " " + "lorem ipsum " * 325_000
    async with open_bench(provider=Biller(None, text)) as bench:
        result, trace = await bench.traced(bench.request())
        flags = (await entry(bench))[10]

    assert result.charged_mc == trace.progress.quote.amount_mc
    assert flags == "usage_estimated,usage_capped"


async def test_law_17_free_previews_count_under_a_cap_with_what_they_would_have_cost(
    open_bench: OpenWorkbench,
) -> None:
    def with_free_previews(config: dict[str, Any]) -> None:
        config["executions"]["charge_previews"] = False

    provider = Biller(TokenUsage(50, 10**9))
    async with open_bench(provider=provider, change=with_free_previews) as bench:
        result, trace = await bench.traced(bench.request(source=Source.PREVIEW))
        columns = await entry(bench)

    assert result.charged_mc == 0
    free_mc, _, choices = columns[17].partition(";")
    assert (int(free_mc), choices) == (trace.cost_mc(TokenUsage(50, 120)), "0.0")


async def test_law_1b_free_previews_end_at_their_cap(open_bench: OpenWorkbench) -> None:
    def with_free_previews(config: dict[str, Any]) -> None:
        config["executions"]["charge_previews"] = False

    provider = Biller(TokenUsage(50, 120))
    async with open_bench(provider=provider, change=with_free_previews) as bench:
        _, trace = await bench.traced(bench.request(source=Source.PREVIEW))
        cap = Cap("total", source="preview")
        await bench.runtime.accounts.set_cap(
            ACCOUNT, cap, limit_mc=3 * trace.progress.quote.amount_mc, reference="cap"
        )
        results = [await bench.execute(source=Source.PREVIEW) for _ in range(5)]
        books = await bench.books()

    assert [result.status for result in results] == ["model"] * 3 + ["fallback"] * 2
    assert reasons(results[-1]) == {FallbackReason.CAP_REACHED}
    assert (books.charged_mc, provider.calls) == (0, 4)


@pytest.mark.parametrize("where", ["parse", "bill", "judge"])
async def test_law_4_whatever_is_raised_after_the_call_the_reservation_ends(
    open_bench: OpenWorkbench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise RecursionError(SECRET)

    monkeypatch.setattr(answers if where == "parse" else reserved, where, fails)
    with caplog.at_level(logging.DEBUG):
        async with open_bench(provider=Biller(TokenUsage(50, 20))) as bench:
            result = await bench.execute()
            books = await bench.books()

    assert reasons(result) == {FallbackReason.OUTPUT_INVALID}
    assert (result.charged_mc, books.charged_mc) == (0, 0)
    assert books.exposure_mc == result.reserved_mc > 0
    assert SECRET not in caplog.text


async def test_law_4_a_settlement_that_fails_in_the_ledger_is_released(
    open_bench: OpenWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: CreditLedger, settlement: object) -> None:
        raise ValueError(SECRET)

    async with open_bench(provider=Biller(TokenUsage(50, 20))) as bench:
        monkeypatch.setattr(CreditLedger, "settle", fails)
        result = await bench.execute()
        books = await bench.books()

    assert result.status == "fallback"
    assert (books.charged_mc, books.exposure_mc) == (0, result.reserved_mc)


async def test_law_4_a_spool_that_can_t_be_written_does_not_leave_execute(
    open_bench: OpenWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = CreditLedger.end
    away = True

    async def end(self: CreditLedger, ending: Any) -> Any:
        if away:
            raise LedgerUnavailable("away")
        return await settle(self, ending)

    async def put(self: Spool, ending: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(CreditLedger, "end", end)
    monkeypatch.setattr(Spool, "put", put)
    async with open_bench(provider=Biller(TokenUsage(50, 20))) as bench:
        result = await bench.execute()
        assert result.status == "model"
        assert (await bench.runtime.accounts.balance(ACCOUNT)).charged_mc == 0
        away = False
        async with asyncio.timeout(20):
            while not (await bench.runtime.accounts.balance(ACCOUNT)).charged_mc:  # noqa: ASYNC110 - Redis
                await asyncio.sleep(0.05)
        books = await bench.books()

    assert books.charged_mc == result.charged_mc > 0


async def test_what_an_adapter_raises_is_logged_by_its_type_alone(
    open_bench: OpenWorkbench, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Biller):
        async def complete(self, request: CompletionRequest) -> Completion:
            try:
                raise KeyError(SECRET)
            except KeyError as error:
                raise OverflowError(SECRET) from error

    with caplog.at_level(logging.DEBUG):
        async with open_bench(provider=Broken(None)) as bench:
            result = await bench.execute()
            books = await bench.books()

    assert reasons(result) == {FallbackReason.PROVIDER_ERROR}
    assert books.exposure_mc == result.reserved_mc
    assert "OverflowError" in caplog.text
    assert SECRET not in caplog.text


async def test_what_was_never_sent_says_what_stands_in_the_way(open_bench: OpenWorkbench) -> None:
    class Unsent(Biller):
        async def complete(self, request: CompletionRequest) -> Completion:
            raise NotSent(FailureKind.REJECTED, "the model does not take this temperature")

    async with open_bench(provider=Unsent(None)) as bench:
        result = await bench.execute(action(temperature=0.5))

    assert result.detail == "the model does not take this temperature"
