"""What benchmarks run on: real Redis, the mock provider as a process, the example's config."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from creditgate import ActionRuntime, Config, load_config, open_ledger, open_runtime
from pricing.offers import GrantKind
from providers.base import Endpoint, ModelRoute, Provider
from runtime.credits.ledger import CreditLedger
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.paths import ROOT

ACCOUNT = "bench"

_PLAN = "growth"
_ENDPOINT = "mock"
_GRANT_MC = 10**12
_START_S = 60.0
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A runtime whose one account has one grant, which pays for everything."""

    runtime: ActionRuntime
    config: Config
    folder: Path
    redis: str
    ledger: CreditLedger
    """The runtime's ledger as another process has it."""

    def endpoint(self, model_id: str) -> Endpoint:
        """Return where a model is called."""
        return self.config.build_endpoint(self.config.models[model_id].endpoint)


@asynccontextmanager
async def open_stage(
    *,
    route: ModelRoute = ModelRoute.AUTO,
    provider: Provider | None = None,
    latency_ms: float = 0,
    latency_sigma: float = 0,
    reasoning_tokens: int = 0,
    reasoning_sigma: float = 0,
    changes: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stage]:
    """Start what is needed, and stop it afterwards.

    Args:
        route: the way on which all models are called.
        provider: takes the place of LiteLLM and the mock provider, which is not started then.
        latency_ms: the median of what the mock provider waits before it answers.
        reasoning_tokens: the median of what it thinks before it answers.
        changes: takes the place of fields of the configuration.
    """
    options = {
        "--latency-median-ms": latency_ms,
        "--latency-sigma": latency_sigma,
        "--reasoning-tokens": reasoning_tokens,
        "--reasoning-sigma": reasoning_sigma,
    }
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="creditgate-bench-")))
        config = load_config(ROOT / "config.example.yaml")
        # Without offers, the account has no other grant.
        models = {
            model_id: model.model_copy(update={"route": route})
            for model_id, model in config.models.items()
        }
        own = {"data_dir": folder, "offers": {}, "models": models}
        config = config.model_copy(update={**own, **(changes or {})})
        redis = await stack.enter_async_context(EmbeddedRedis(folder / "redis"))
        if provider is None:
            url = await stack.enter_async_context(open_mock_provider(options))
            config = config.with_api_base(_ENDPOINT, f"{url}/v1")
        runtime = await stack.enter_async_context(open_runtime(config, provider=provider))
        await runtime.accounts.open_account(ACCOUNT, plan=_PLAN)
        await runtime.accounts.grant(
            ACCOUNT, amount_mc=_GRANT_MC, kind=GrantKind.PURCHASED, reference="bench"
        )
        ledger = await stack.enter_async_context(open_ledger(config))
        yield Stage(runtime, config, folder, await describe_redis(redis.url), ledger)


async def describe_redis(url: str) -> str:
    """Return what the server is, and how often it syncs its file."""
    client = Redis.from_url(url)
    try:
        server = await client.info("server")
        sync = await client.config_get("appendfsync")
    finally:
        await client.aclose()
    name = "Valkey" if "valkey_version" in server else "Redis"
    found = server.get("valkey_version", server["redis_version"])
    return f"{name} {found}, embedded, AOF {sync['appendfsync']}"


@asynccontextmanager
async def open_mock_provider(options: Mapping[str, float]) -> AsyncIterator[str]:
    """Start the mock provider in a process of its own; yield its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "runtime.cli", "mock-provider", "--json", "--until-stdin-closes", "--port", "0"),
        *(str(part) for option in options.items() for part in option),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # A terminal's Ctrl-C is for the benchmark, which then ends this process.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        yield json.loads(line)["url"]
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.shield(_ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
