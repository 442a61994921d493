"""LiteLLM Proxy: two processes on one Redis, with a key's budget or with a provider's."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import Redis

from tests.bench.conditions import say
from tests.peers.accounting import Books, Ended
from tests.peers.environments import CONFIGURATIONS, FOLDER, python_environment, version_in
from tests.peers.processes import Program, free_port, program
from tests.peers.scenario import completion
from tests.peers.system import Stage, System
from tests.peers.systems.openai_answers import read_answer

_VERSION = "1.106.2"
_KEY = "sk-bench"
_PROGRAM = "litellm"
_SCHEMA = "litellm_proxy_extras/schema.prisma"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PRISMA_S = 300
_KEY_BUDGET = "spend:key:*"
_PROVIDER_BUDGET = "provider_spend:*"


class _Running:
    path = "/v1/chat/completions"

    def __init__(
        self,
        urls: tuple[str, str],
        key: str,
        programs: tuple[Program, Program],
        counter: tuple[int, str],
    ) -> None:
        self.urls = urls
        self.programs = programs
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"}
        self._redis_port, self._counter = counter

    def body(self, call_id: str) -> dict[str, Any]:
        return completion(call_id, "writer")

    def read(self, status: int, body: bytes) -> Ended:
        refused = (b"budget_exceeded", b"Exceeded budget", b"No deployments available")
        return read_answer(status, body, refused=refused)

    async def books(self, ids: list[str] | None) -> Books:
        client = Redis(port=self._redis_port)
        try:
            keys = [key async for key in client.scan_iter(self._counter)]
            amounts = [float(await client.get(key) or 0) for key in keys]
        finally:
            await client.aclose()
        # A counter that is gone counts nothing.
        return Books(counted=round(sum(amounts) * 1_000_000))


def _install() -> dict[str, str]:
    programs = python_environment("litellm", f"litellm[proxy]=={_VERSION}", "prisma==0.15.0")
    return {
        "litellm": version_in(programs, "litellm"),
        "prisma": version_in(programs, "prisma"),
        "Prisma's engine:": prisma_engine(),
    }


def prisma_engine() -> str:
    """Try to make Prisma's client, which LiteLLM's database takes; return how that ended."""
    programs = FOLDER / "litellm" / "bin"
    stamp = FOLDER / "litellm" / "prisma.txt"
    if not stamp.exists():
        [schema] = (FOLDER / "litellm" / "lib").glob(f"python*/site-packages/{_SCHEMA}")
        home = FOLDER / "litellm" / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [str(programs / "prisma"), "generate", "--schema", str(schema)],
            capture_output=True,
            text=True,
            timeout=_PRISMA_S,
            check=False,
            cwd=home,
            env={"HOME": str(home), "PATH": f"{programs}:{_PATH}"},
        )
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        stamp.write_text("engine found" if done.returncode == 0 else lines[-1].strip())
    return stamp.read_text()


async def _start(stack: AsyncExitStack, stage: Stage, config: str, counter: str) -> _Running:
    programs = FOLDER / "litellm" / "bin"
    budget_usd = stage.plan.budget / 1_000_000
    filled = (CONFIGURATIONS / config).read_text()
    for name, value in {
        "{api_base}": stage.provider,
        "{redis_port}": str(stage.redis_port),
        "{budget_usd}": f"{budget_usd:.6f}",
        "{{": "{",
        "}}": "}",
    }.items():
        filled = filled.replace(name, value)
    (stage.folder / "litellm.yaml").write_text(filled)
    shutil.copy(CONFIGURATIONS / "litellm_auth.py", stage.folder)
    master_key = f"sk-{secrets.token_hex(16)}"
    environment = {
        "LITELLM_MASTER_KEY": master_key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # there is no internet to fetch it from
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "PEERS_BUDGET_USD": f"{budget_usd:.6f}",
        "PATH": f"{programs}:{_PATH}",
    }
    served: list[tuple[str, Program]] = []
    for name in ("first", "second"):
        port = free_port()
        options = ("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
        command = (programs / _PROGRAM, "--config", "litellm.yaml", *options)
        started = await stack.enter_async_context(
            program(
                *command,
                *("--telemetry", "False"),
                folder=stage.folder,
                name=name,
                environment=environment,
            )
        )
        served.append((f"http://127.0.0.1:{port}", started))
    (first, one), (second, two) = served
    say(f"  LiteLLM Proxy at {first} and {second}")
    live = "/health/liveliness"
    await asyncio.gather(one.answers(first + live), two.answers(second + live))
    key = _KEY if counter == _KEY_BUDGET else master_key
    return _Running((first, second), key, (one, two), (stage.redis_port, counter))


async def _start_with_key_budget(stack: AsyncExitStack, stage: Stage) -> _Running:
    return await _start(stack, stage, "litellm.yaml", _KEY_BUDGET)


async def _start_with_provider_budget(stack: AsyncExitStack, stage: Stage) -> _Running:
    return await _start(stack, stage, "litellm-provider-budget.yaml", _PROVIDER_BUDGET)


_NO_ID = "no idempotency key: it is a call of its own"

KEY_BUDGET = System(
    name="litellm-key",
    title="LiteLLM Proxy, a key's budget",
    install=_install,
    start=_start_with_key_budget,
    has_budget=True,
    same_id=_NO_ID,
    books="the counter `spend:key:...` in Redis",
    configuration=("litellm.yaml", "litellm_auth.py"),
)
PROVIDER_BUDGET = System(
    name="litellm-provider",
    title="LiteLLM Proxy, a provider's budget",
    install=_install,
    start=_start_with_provider_budget,
    has_budget=True,
    same_id=_NO_ID,
    books="the counter `provider_spend:...` in Redis",
    configuration=("litellm-provider-budget.yaml",),
)
