"""A whole runtime on real parts, and short words for what tests do with it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from ruamel.yaml import YAML

from creditgate import ActionRuntime, ActionSpec, Config, ExecutionRequest, ExecutionResult
from fallback.reasons import FallbackReason
from providers.mock.server import MockServer
from runtime.actions.requests import Source
from runtime.config import parse_config
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance
from runtime.executions.execution import Execution
from runtime.executions.spool import Spool
from runtime.redis.keys import Keys

ACCOUNT = "acme"
Change = Callable[[dict[str, Any]], None]

_CONFIG = """
version: 1
data_dir: {data_dir}
redis: {{url: "{redis_url}", key_prefix: {key_prefix}, timeout_ms: {timeout_ms}}}
executions: {{wait_for_credits_ms: {wait_ms}, reservation_ttl_ms: 120000}}
alerts: {{low_percent: 30, cooldown_minutes: 90}}
endpoints:
  mock: {{api_base: "{api_base}", max_concurrency: {max_concurrency}{endpoint}}}
plans:
  trial: {{ai_credits: false}}
  growth: {{ai_credits: true}}
models:
  writer: {{litellm_model: openai/gpt-4o-mini, endpoint: mock, class: quick}}
  other: {{litellm_model: openai/gpt-4.1-mini, endpoint: mock, class: quick}}
  wordy: {{litellm_model: openai/gpt-4o-mini, endpoint: mock, class: quick, json_schema: false}}
  hanging: {{litellm_model: "openai/gpt-4o-mini#hang", endpoint: mock, class: quick}}
  retired:
    {{litellm_model: openai/gpt-4o-mini, endpoint: mock, class: quick, retires_on: "2026-01-01"}}
  replaced:
    litellm_model: openai/gpt-4o-mini
    endpoint: mock
    class: quick
    retires_on: "2026-01-01"
    replaced_by: writer
rate_cards:
  - version: "2026-01"
    effective_from: "2026-01-01T00:00:00Z"
    rates:
      writer: {{input: 1000, output: 10000}}
      other: {{input: 1000, output: 10000}}
      wordy: {{input: 1000, output: 10000}}
      hanging: {{input: 1000, output: 10000}}
      retired: {{input: 1000, output: 10000}}
      replaced: {{input: 1000, output: 10000}}
actions: {{}}
"""


OUTPUTS: dict[str, Any] = {
    "intent": {
        "type": "single_select",
        "options": ["card", "transfer", "other"],
        "fallback": "other",
    },
    "score": {
        "type": "number",
        "minimum": 0,
        "maximum": 10,
        "fallback": 5,
        "store_as": "customer",
        "attribute": "lead_score",
    },
    "reply": {"type": "text", "max_length": 80, "fallback": "We will be in touch."},
}


def action(**changes: Any) -> ActionSpec:
    """An action with three outputs, changed as told; ``limits`` are merged."""
    limits = {"max_output_tokens": 120, "deadline_ms": 30_000, "attempts": 1}
    limits |= changes.pop("limits", {})
    content = {
        "id": "route",
        "model": "writer",
        "system": "You sort messages of customers.",
        "user": "{{ customer.message }}",
        "outputs": OUTPUTS,
        "limits": limits,
    }
    return ActionSpec.model_validate(content | changes)


def make_request(number: int, spec: ActionSpec | None = None, **changes: Any) -> ExecutionRequest:
    """A request of the person of that number."""
    fields: dict[str, Any] = {
        "execution_id": f"journey-{number}:route:1",
        "account_id": ACCOUNT,
        "workspace_id": "retail",
        "campaign_id": "welcome",
        "person_id": f"person-{number}",
        "action": spec or action(),
        "data": {"customer": {"message": f"Where is my card? I am number {number}."}},
        "source": Source.LIVE,
    }
    return ExecutionRequest(**(fields | changes))


@dataclass
class Workbench:
    """A runtime, what it stands on, and short words for what tests do with it."""

    runtime: ActionRuntime
    mock: MockServer
    redis: Redis
    keys: Keys
    ledger: CreditLedger
    """The runtime's ledger as another process has it."""
    spool: Spool
    """The runtime's spool, likewise."""
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def request(self, spec: ActionSpec | None = None, **changes: Any) -> ExecutionRequest:
        """A request with an id of its own, unless it is given."""
        return make_request(next(self.ids), spec, **changes)

    async def execute(self, spec: ActionSpec | None = None, **changes: Any) -> ExecutionResult:
        """Execute a new request, which runs nowhere else."""
        return await self.run(self.request(spec, **changes))

    async def run(self, request: ExecutionRequest) -> ExecutionResult:
        """Execute a request that runs nowhere else."""
        result = await self.runtime.execute(request)
        assert isinstance(result, ExecutionResult)
        return result

    async def traced(self, request: ExecutionRequest) -> tuple[ExecutionResult, Execution]:
        """Execute a request that runs nowhere else; return the trace as well."""
        result, trace = await self.runtime.execute_traced(request)
        assert isinstance(result, ExecutionResult)
        assert trace is not None
        return result, trace

    async def until_reserved(self) -> None:
        """Wait until an execution has its credits: its call is about to be made, or is."""
        async with asyncio.timeout(10):
            while not (await self.runtime.accounts.balance(ACCOUNT)).reserved_mc:  # noqa: ASYNC110 - Redis
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def turns_taken(self, count: int) -> AsyncIterator[None]:
        """Have so many turns at the endpoint taken, by executions whose calls hang."""
        called = await self.calls() + count
        holders = [asyncio.create_task(self.execute(action(model="hanging"))) for _ in range(count)]
        async with asyncio.timeout(10):
            while await self.calls() < called:  # noqa: ASYNC110 - the server's count
                await asyncio.sleep(0.005)
        yield
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)

    async def calls(self) -> int:
        """How many requests reached the provider so far."""
        return int(self.mock.stats()["requests"])

    async def books(self) -> Balance:
        """The balance, after the check that it conserves and that nothing is left reserved."""
        balance = await self.runtime.accounts.balance(ACCOUNT)
        assert balance.conserved
        assert balance.reserved_mc == 0
        assert balance.open_reservations == 0
        return balance


def reasons(result: ExecutionResult) -> set[FallbackReason | None]:
    """Return why values are not the model's; ``None`` stands for those that are."""
    return {origin.reason for origin in result.origins.values()}


OpenWorkbench = Callable[..., AbstractAsyncContextManager[Workbench]]


def make_config(
    data_dir: Path,
    redis_url: str,
    key_prefix: str,
    api_base: str,
    *,
    timeout_ms: int = 1_000,
    wait_ms: int = 300,
    max_concurrency: int = 512,
    endpoint: str = "",
    change: Change = lambda config: None,
) -> Config:
    """The tests' config, on these parts.

    ``endpoint`` is more of the endpoint's section; ``change`` may change all of it.
    """
    written = _CONFIG.format(
        data_dir=data_dir,
        redis_url=redis_url,
        key_prefix=key_prefix,
        api_base=api_base,
        timeout_ms=timeout_ms,
        wait_ms=wait_ms,
        max_concurrency=max_concurrency,
        endpoint=f", {endpoint}" if endpoint else "",
    )
    config = YAML(typ="safe").load(written)
    change(config)
    return parse_config(json.dumps(config))
