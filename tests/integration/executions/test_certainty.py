"""Each fault of each provider, through LiteLLM, against what the mock provider really did."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from creditgate import ActionRuntime, ExecutionRequest, ExecutionResult
from pricing.offers import MC_PER_CREDIT, GrantKind
from pricing.quote import cost_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from providers.mock.server import MockOptions, MockServer, start
from runtime.actions.requests import Source
from runtime.bootstrap import open_runtime
from runtime.config import parse_config
from runtime.credits.results import Balance
from runtime.redis.keys import Keys
from tests.harness.executions.certainty import (
    ATTEMPTS,
    MODELS,
    ROWS,
    Charge,
    Row,
    as_markdown,
    rows_of,
)
from tests.harness.paths import ROOT
from tests.harness.workbench import action

DOCS = ROOT / "docs" / "providers.md"
MADE_OF = "tests/harness/executions/certainty.py"
# Each class of tokens at a rate of its own, so that a token in the wrong class shows.
RATES = {
    "input": 1_000,
    "cached_input": 100,
    "cache_write": 1_300,
    "output": 10_000,
    "reasoning": 17_000,
}
HANGING_MS = 400
AMPLE_MC = 1_000_000_000


class Nobody:
    """An address at which nobody listens, with the books of a server that was never asked."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def stats(self) -> dict[str, Any]:
        """Nothing has come."""
        return {"requests": 0, "model_runs": 0, "tokens": {}, "unreported_tokens": {}}

    async def aclose(self) -> None:
        """Give the port back."""
        self._socket.close()


@dataclass
class Cell:
    """One fault of one provider: what is expected, who plays it, what came of it."""

    row: Row
    server: MockServer | Nobody
    account: str
    result: ExecutionResult | None = None
    books: Balance | None = None
    flags: str = ""


async def serve(row: Row) -> MockServer | Nobody:
    if row.scenario is None:
        return Nobody()
    return await start(MockOptions(scenario=row.scenario or None))


@asynccontextmanager
async def played(provider: str, redis_url: str, prefix: str, folder: Path) -> AsyncIterator[Any]:
    """A runtime with a model, a server and an account for each fault of a provider."""
    cells = []
    for number, row in enumerate(rows_of(provider)):
        cells.append(Cell(row, await serve(row), f"account-{number}"))
    version = "" if provider.startswith(("anthropic", "gemini")) else "/v1"
    config = {
        "version": 1,
        "data_dir": str(folder),
        "redis": {"url": redis_url, "key_prefix": prefix, "timeout_ms": 10_000},
        "endpoints": {cell.account: {"api_base": cell.server.url + version} for cell in cells},
        "plans": {"growth": {"ai_credits": True}},
        "models": {
            cell.account: {
                "litellm_model": MODELS[provider],
                "endpoint": cell.account,
                "class": "quick",
            }
            for cell in cells
        },
        "rate_cards": [
            {
                "version": "1",
                "effective_from": "2026-01-01T00:00:00Z",
                "rates": {cell.account: RATES for cell in cells},
            }
        ],
        "actions": {},
    }
    try:
        async with open_runtime(parse_config(json.dumps(config))) as runtime:
            yield runtime, cells
    finally:
        for cell in cells:
            await cell.server.aclose()


async def play(runtime: ActionRuntime, cell: Cell) -> None:
    await runtime.accounts.open_account(cell.account, plan="growth")
    await runtime.accounts.grant(
        cell.account, amount_mc=AMPLE_MC, kind=GrantKind.PROMOTIONAL, reference="test"
    )
    limits: dict[str, Any] = {"attempts": ATTEMPTS, "deadline_ms": 60_000}
    if cell.row.hangs:
        limits["attempt_timeout_ms"] = HANGING_MS
    result = await runtime.execute(
        ExecutionRequest(
            execution_id=cell.account,
            account_id=cell.account,
            workspace_id="retail",
            campaign_id="welcome",
            person_id="person-1",
            action=action(model=cell.account, limits=limits),
            data={"customer": {"message": "Where is my card?"}},
            source=Source.LIVE,
        )
    )
    assert isinstance(result, ExecutionResult)
    cell.result = result
    cell.books = await runtime.accounts.balance(cell.account)


@pytest.mark.parametrize("provider", MODELS)
async def test_law_6_each_fault_is_told_by_what_is_certain_and_paid_by_whom_it_concerns(
    provider: str, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with played(provider, redis_url, key_prefix, tmp_path / "data") as (runtime, cells):
        await asyncio.gather(*(play(runtime, cell) for cell in cells))
        async with Redis.from_url(redis_url) as redis:
            for cell in cells:
                journal = Keys(key_prefix).of_account(cell.account)[8]
                cell.flags = str(await redis.xrevrange(journal, count=1))
        wrong = {cell.row.fault: found for cell in cells if (found := differences(cell))}

    assert wrong == {}
    assert runtime.counters.answers > 5
    assert (runtime.counters.input_undercounted, runtime.counters.quote_exceeded) == (0, 0)


def differences(cell: Cell) -> list[str]:
    """Return what is not as the table says, or what the books don't cover."""
    row, result, books, stats = cell.row, cell.result, cell.books, cell.server.stats()
    assert result is not None
    assert books is not None
    reported, really_used = used(stats["tokens"]), used(stats["tokens"], stats["unreported_tokens"])
    reasons = {origin.reason for origin in result.origins.values()}
    requests = 0 if row.scenario is None else row.attempts
    if row.hangs:
        # Among so many others its time may be up before the request has left.
        requests = min(requests, stats["requests"])
    charge = books.charged_mc
    found = {
        "reasons": (reasons, {row.reason}),
        "values": (result.values == action().fallbacks, row.reason is not None),
        "attempts": (len(result.attempts), row.attempts),
        "requests": (stats["requests"], requests),
        "exposure": (books.exposure_mc, row.exposed * result.reserved_mc),
        "charge told": (result.charged_mc, charge),
        "flagged": ("usage_estimated" in cell.flags, row.charge is Charge.COUNTED),
        "free": (charge == 0, row.charge is Charge.NOTHING),
        "given back": (books.available_mc, AMPLE_MC - charge),
        # What the provider bills for is charged or known as exposure, whatever it is called.
        "billed and not in the books": (charge + books.exposure_mc < really_used, False),
        "above the quote": (charge > result.reserved_mc, False),
    }
    if row.charge is Charge.USAGE:
        found["usage"] = (charge, reported)
    return [f"{what}: {is_} for {should}" for what, (is_, should) in found.items() if is_ != should]


def used(*books: dict[str, int]) -> int:
    """Return what tokens of a mock provider's books cost."""
    tokens = sum((Counter(book) for book in books), Counter[str]())
    in_mc = {name: rate * MC_PER_CREDIT for name, rate in RATES.items()}
    rates = Rates(
        in_mc["input"],
        in_mc["output"],
        in_mc["cached_input"],
        in_mc["cache_write"],
        in_mc["reasoning"],
    )
    usage = TokenUsage(
        tokens["input"],
        tokens["output"],
        tokens["cached_input"],
        tokens["cache_write"],
        tokens["reasoning"],
    )
    return cost_mc(rates, usage)


def test_the_table_for_people_is_the_tests_own() -> None:
    _, _, after = DOCS.read_text(encoding="utf-8").partition(
        f"<!-- the table: made of {MADE_OF} -->\n"
    )

    shown, end, _ = after.partition("\n<!-- its end -->")

    assert end
    assert shown == as_markdown(), as_markdown()


def test_each_fault_has_one_row() -> None:
    faults = [row.fault for row in ROWS]

    assert len(set(faults)) == len(faults)
    for provider in MODELS:
        assert {row.fault for row in rows_of(provider)} == set(faults)
