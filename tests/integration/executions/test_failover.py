"""A whole runtime behind sentinels: after a failover all that it does in Redis goes on."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from creditgate import ActionRuntime, ExecutionResult, GrantKind, open_runtime
from fallback.reasons import FallbackReason
from providers.mock.options import MockOptions
from providers.mock.server import start
from runtime.credits import sweeping
from runtime.executions.spool import Spool
from runtime.processes import register
from tests.harness.sentinels import MASTER, SentinelGroup
from tests.harness.servers import ServerProgramMissing, refuse_or_skip
from tests.harness.workbench import ACCOUNT, make_config, make_request, reasons

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    try:
        made = SentinelGroup(tmp_path / "sentinels")
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


async def test_law_4_executions_turns_learning_register_and_sweep_go_on_after_a_failover(
    group: SentinelGroup,
    key_prefix: str,
    imported_litellm: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(register, "BEAT_EVERY_S", 0.5)
    monkeypatch.setattr(sweeping, "SWEEP_EVERY_S", 0.5)

    server = await start(MockOptions(latency_median_ms=20))
    try:
        await executions_go_on(group, key_prefix, f"{server.url}/v1", tmp_path)
    finally:
        await server.aclose()


async def executions_go_on(
    group: SentinelGroup, key_prefix: str, provider_url: str, tmp_path: Path
) -> None:
    """Lose the primary while four callers execute, and read what is written to the next one."""

    def change(config: dict[str, Any]) -> None:
        del config["redis"]["url"]
        config["redis"] |= {
            "sentinel": {"master": MASTER, "nodes": group.nodes},
            "timeout_ms": 4_000,
            "durability": "replicated",
            "wait_replicas": 2,
        }

    config = make_config(
        tmp_path / "data",
        "",
        key_prefix,
        provider_url,
        endpoint="shared_concurrency: 8, requests_per_minute: 1000000",
        change=change,
    )
    results: list[ExecutionResult] = []
    over = asyncio.Event()
    async with open_runtime(config) as runtime:
        await runtime.accounts.open_account(ACCOUNT, plan="growth")
        await runtime.accounts.grant(
            ACCOUNT, amount_mc=10**9, kind=GrantKind.PROMOTIONAL, reference="test"
        )
        working = asyncio.gather(*(work(runtime, each, results, over) for each in range(4)))
        await until(lambda: len(results) > 20)
        lost = await asyncio.to_thread(group.fail_over, signal.SIGKILL)
        group.rejoin(lost)
        await asyncio.to_thread(group.wait_until_in_step)
        with Redis(port=group.primary.port) as client:
            client.delete(*shared_keys(client, key_prefix))
        then = len(results)
        await until(
            lambda: len(results) > then + 40 and {one.status for one in results[-20:]} == {"model"}
        )
        with Redis(port=group.primary.port) as client:
            await until(lambda: has_all(shared_keys(client, key_prefix)))
        over.set()
        await working

        fell_back = {reason for result in results for reason in reasons(result)}
        assert fell_back <= {None, FallbackReason.LEDGER_UNAVAILABLE}
        spool = Spool(config.data_dir / "spool")
        await until(lambda: not spool.waiting())
        balance = await runtime.accounts.balance(ACCOUNT)
        assert balance.conserved
        assert balance.charged_mc >= sum(result.charged_mc for result in results) > 0


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, however slow the machine."""
    async with asyncio.timeout(100):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def has_all(names: list[bytes]) -> bool:
    """Return whether turns, register, sweeps and what was learned are all there again."""
    written = b" ".join(names)
    return all(part in written for part in (b"endpoint:", b"processes", b"sweeping", b"learned:"))


async def work(
    runtime: ActionRuntime, caller: int, results: list[ExecutionResult], over: asyncio.Event
) -> None:
    """Execute one request after the other."""
    for number in itertools.count(caller * 100_000):
        result = await runtime.execute(make_request(number))
        assert isinstance(result, ExecutionResult)
        results.append(result)
        if over.is_set():
            return
        await asyncio.sleep(0.01)


def shared_keys(client: Any, prefix: str) -> list[bytes]:
    """What belongs to no account, but for the installation."""
    found = client.scan_iter(f"{prefix}:*", count=1_000)
    return [key for key in found if b":{b" not in key and b":installation" not in key]
