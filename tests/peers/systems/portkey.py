"""Portkey's gateway: two processes, without a budget, which the open source has not."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from tests.bench.conditions import say
from tests.peers.accounting import Books, Ended
from tests.peers.environments import CONFIGURATIONS, FOLDER, node_environment
from tests.peers.processes import Program, free_port, program
from tests.peers.scenario import completion
from tests.peers.system import Stage, System
from tests.peers.systems.openai_answers import read_answer

_VERSION = "1.15.2"
_PACKAGE = "node_modules/@portkey-ai/gateway"


class _Running:
    path = "/v1/chat/completions"

    def __init__(
        self, urls: tuple[str, str], programs: tuple[Program, Program], config: str
    ) -> None:
        self.urls = urls
        self.programs = programs
        self.headers: Mapping[str, str] = {"x-portkey-config": config}

    def body(self, call_id: str) -> dict[str, Any]:
        return completion(call_id)

    def read(self, status: int, body: bytes) -> Ended:
        return read_answer(status, body, refused=())

    async def books(self, ids: list[str] | None) -> Books:
        return Books()


def _install() -> dict[str, str]:
    folder = node_environment("portkey", f"@portkey-ai/gateway@{_VERSION}")
    manifest = json.loads((folder / _PACKAGE / "package.json").read_text())
    return {"@portkey-ai/gateway": manifest["version"]}


async def _start(stack: AsyncExitStack, stage: Stage) -> _Running:
    config = json.loads((CONFIGURATIONS / "portkey.json").read_text())
    config["custom_host"] = stage.provider
    server = FOLDER / "portkey" / _PACKAGE / "build" / "start-server.js"
    served: list[tuple[str, Program]] = []
    for name in ("first", "second"):
        port = free_port()
        command = (shutil.which("node") or "node", server, f"--port={port}", "--headless")
        started = await stack.enter_async_context(
            program(
                *command, folder=stage.folder, name=name, environment={"NODE_ENV": "production"}
            )
        )
        served.append((f"http://127.0.0.1:{port}", started))
    (first, one), (second, two) = served
    say(f"  Portkey at {first} and {second}")
    await asyncio.gather(one.answers(first), two.answers(second))
    return _Running((first, second), (one, two), json.dumps(config))


PORTKEY = System(
    name="portkey",
    title="Portkey gateway",
    install=_install,
    start=_start,
    has_budget=False,
    same_id="no idempotency key: it is a call of its own",
    books="none: the open-source gateway keeps no budget",
    configuration=("portkey.json",),
)
