"""TensorZero: two processes of the gateway in its wheel, on one Redis."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import Redis

from tests.bench.conditions import say
from tests.peers.accounting import Books, Ended
from tests.peers.environments import CONFIGURATIONS, FOLDER, python_environment, version_in
from tests.peers.processes import Program, program
from tests.peers.scenario import completion
from tests.peers.system import Stage, System
from tests.peers.systems.openai_answers import read_answer

_VERSION = "2026.6.0"
_MODEL = "tensorzero::model_name::writer"


class _Running:
    path = "/chat/completions"

    def __init__(
        self, urls: tuple[str, str], programs: tuple[Program, Program], stage: Stage
    ) -> None:
        self.urls = urls
        self.programs = programs
        self.headers: Mapping[str, str] = {}
        self._stage = stage

    def body(self, call_id: str) -> dict[str, Any]:
        return completion(call_id, _MODEL)

    def read(self, status: int, body: bytes) -> Ended:
        return read_answer(status, body, refused=(b"rate limit", b"Rate limit"))

    async def books(self, ids: list[str] | None) -> Books:
        client = Redis(port=self._stage.redis_port)
        try:
            left = [
                int(await client.hget(key, "balance") or 0)
                async for key in client.scan_iter("tensorzero_ratelimit:*")
            ]
        finally:
            await client.aclose()
        return Books(counted=self._stage.plan.budget - sum(left)) if left else Books()


def _install() -> dict[str, str]:
    programs = python_environment("tensorzero", f"tensorzero=={_VERSION}")
    return {"tensorzero": version_in(programs, "tensorzero")}


async def _start(stack: AsyncExitStack, stage: Stage) -> _Running:
    template = (CONFIGURATIONS / "tensorzero.toml").read_text()
    filled = template.replace("{api_base}", stage.provider).replace(
        "{budget}", str(stage.plan.budget)
    )
    (stage.folder / "tensorzero.toml").write_text(filled)
    served: list[tuple[str, Program]] = []
    for name in ("first", "second"):
        command = (
            FOLDER / "tensorzero" / "bin" / "python",
            CONFIGURATIONS / "tensorzero_gateway.py",
            "tensorzero.toml",
            f"redis://127.0.0.1:{stage.redis_port}",
        )
        started = await stack.enter_async_context(program(*command, folder=stage.folder, name=name))
        served.append((await _address(started), started))
    (first, one), (second, two) = served
    say(f"  TensorZero at {first} and {second}")
    return _Running((first, second), (one, two), stage)


async def _address(started: Program) -> str:
    """Return its address, which it prints after its log."""
    line = ""
    while not line.startswith("http"):
        line = await started.line()
    return line


TENSORZERO = System(
    name="tensorzero",
    title="TensorZero",
    install=_install,
    start=_start,
    has_budget=True,
    same_id="no idempotency key: it is a call of its own",
    books="the rate limit's bucket in Redis",
    configuration=("tensorzero.toml", "tensorzero_gateway.py"),
)
