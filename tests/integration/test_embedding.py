"""A runtime is used where it was opened, and the page on embedding says how."""

from __future__ import annotations

import asyncio
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from creditgate import (
    Config,
    ExecutionResult,
    RuntimeClosed,
    Sample,
    WrongEventLoop,
    open_estimator,
    open_ledger,
)
from tests.harness.paths import ROOT
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action, make_config

_PAGE = (ROOT / "docs" / "embedding.md").read_text("utf-8")


@pytest.fixture
def config(redis_url: str, key_prefix: str, tmp_path: Path) -> Config:
    return make_config(tmp_path, redis_url, key_prefix, "http://127.0.0.1:9/v1")


def example(name: str, **names: Any) -> dict[str, Any]:
    """Run an example of the page; return what it defines."""
    [source] = re.findall(rf"```python\n# {name}\n(.*?)```", _PAGE, re.DOTALL)
    exec(compile(source, f"embedding.md: {name}", "exec"), names)  # noqa: S102 - our own page
    return names


async def in_another_loop(use: Callable[[], Any]) -> None:
    """Await what ``use`` returns in a thread with an event loop of its own."""

    async def used() -> None:
        await use()

    await asyncio.to_thread(asyncio.run, used())


async def test_use_from_another_event_loop_is_refused_at_once_and_reserves_nothing(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench() as bench:
        uses: list[Callable[[], Any]] = [
            lambda: bench.runtime.execute(bench.request()),
            lambda: bench.runtime.execute_traced(bench.request()),
            lambda: bench.runtime.accounts.balance(ACCOUNT),
            lambda: bench.runtime.accounts.purchase(
                ACCOUNT, credits=100_000, payment_reference="p"
            ),
            bench.runtime.drain,
        ]
        async with open_estimator(bench.config) as estimator, open_ledger(bench.config) as ledger:
            sample = Sample()
            uses += [
                lambda: estimator.estimate(action(), sample),
                lambda: estimator.learned(action(), ["writer"]),
                lambda: ledger.accounts.open_account("other", plan="growth"),
            ]
            for use in uses:
                with pytest.raises(WrongEventLoop, match="event loop that opened it"):
                    await in_another_loop(use)
        balance = await bench.runtime.accounts.balance(ACCOUNT)
        assert (balance.reserved_mc, balance.charged_mc) == (0, 0)
        assert (await bench.execute()).status == "model"


async def test_use_after_the_block_is_refused(open_bench: OpenWorkbench) -> None:
    async with open_bench() as bench:
        runtime = bench.runtime
        async with open_estimator(bench.config) as estimator, open_ledger(bench.config) as ledger:
            pass
    for use in (
        lambda: runtime.execute(bench.request()),
        lambda: runtime.accounts.balance(ACCOUNT),
        lambda: estimator.estimate(action(), Sample()),
        lambda: ledger.accounts.balance(ACCOUNT),
    ):
        with pytest.raises(RuntimeClosed, match="is closed"):
            await use()


FORK = """
import asyncio, os, sys
from pathlib import Path
from creditgate import WrongEventLoop, open_ledger
from tests.harness.workbench import make_config

async def main():
    config = make_config(Path(sys.argv[1]), sys.argv[2], sys.argv[3], "http://127.0.0.1:9/v1")
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth")
        child = os.fork()
        if not child:
            try:
                await ledger.accounts.balance("acme")
            except WrongEventLoop as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print((await ledger.accounts.balance("acme")).reserved_mc)

asyncio.run(main())
"""


def test_use_in_a_forked_process_is_refused(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path), redis_url, key_prefix],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    refused, reserved = ended.stdout.splitlines()
    assert "before a fork" in refused
    assert reserved == "0"


async def test_the_pages_example_for_threads_serves_many_threads(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench() as bench:
        names = example("threads")

        def use() -> list[ExecutionResult]:
            gate = names["Gate"](bench.config)
            try:
                with ThreadPoolExecutor(4) as pool:
                    return list(pool.map(gate.execute, [bench.request() for _ in range(12)]))
            finally:
                gate.close()

        results = await asyncio.to_thread(use)
        assert [result.status for result in results] == ["model"] * 12


def test_a_config_and_its_actions_can_be_sent_to_another_process(config: Config) -> None:
    spec = action()
    spec.render({"customer": {"message": "Hello"}})
    sent = pickle.loads(pickle.dumps((config, spec)))  # noqa: S301 - what was made a line above
    assert sent == (config, spec)
    assert sent[1].version == spec.version


async def test_the_pages_example_for_fastapi_opens_the_runtime_with_the_application(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastapi = ModuleType("fastapi")
    fastapi.FastAPI = SimpleNamespace  # type: ignore[attr-defined]  # a module of the test's own
    monkeypatch.setitem(sys.modules, "fastapi", fastapi)
    names = example("fastapi")
    names["load_config"] = lambda path: config
    app = SimpleNamespace(state=SimpleNamespace())
    async with names["app"].lifespan(app):
        runtime = app.state.runtime
        await runtime.accounts.open_account(ACCOUNT, plan="growth")
    with pytest.raises(RuntimeClosed):
        await runtime.accounts.balance(ACCOUNT)
