"""creditgate: two ``serve`` processes on one Redis."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.bench.conditions import say
from tests.harness.paths import ROOT
from tests.peers.accounting import Books, Ended, Kind
from tests.peers.environments import CONFIGURATIONS
from tests.peers.processes import DidNotStart, Program, free_port, program
from tests.peers.scenario import ACTION, SPEC, data
from tests.peers.system import Stage, System

_ACCOUNT = "bench"
_CREDIT_REASONS = {"insufficient_credits", "credits_reserved_elsewhere", "execution_too_large"}
_COMMAND = (sys.executable, "-m", "runtime.cli")


class _Running:
    path = "/v1/executions"

    def __init__(self, urls: tuple[str, str], key: str, programs: tuple[Program, Program]) -> None:
        self.urls = urls
        self.programs = programs
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"}

    def body(self, call_id: str) -> dict[str, Any]:
        return {
            "execution_id": f"{call_id}:reply:1",
            "account_id": _ACCOUNT,
            "workspace_id": "support",
            "campaign_id": "cards",
            "person_id": call_id,
            "action": ACTION,
            "data": data(call_id),
        }

    def read(self, status: int, body: bytes) -> Ended:
        answer = json.loads(body)
        if status == 202:
            return Ended(Kind.PENDING, retry_after_s=answer["retry_after_ms"] / 1000)
        if status != 200:
            return Ended(Kind.BROKEN, detail=f"{status} {body[:200]!r}")
        if answer["status"] == "model":
            usage = answer["usage"]
            return Ended(Kind.ANSWERED, usage["input_tokens"] + usage["output_tokens"])
        reasons = {origin["reason"] for origin in answer["origins"].values()}
        if reasons & _CREDIT_REASONS:
            return Ended(Kind.REFUSED, detail=", ".join(reasons))
        kind = Kind.FAILED if any(r.startswith("provider_") for r in reasons) else Kind.BROKEN
        return Ended(kind, detail=f"{', '.join(map(str, reasons))}: {answer['detail']}")

    async def books(self, ids: list[str] | None) -> Books:
        headers = dict(self.headers)
        connector = aiohttp.TCPConnector(limit=8)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            url = self.urls[1]
            async with session.get(f"{url}/v1/accounts/{_ACCOUNT}/balance") as response:
                balance = await response.json()
            charges = None
            if ids is not None:
                paid = await asyncio.gather(*(self._charges(session, each) for each in ids))
                charges = dict(zip(ids, paid, strict=True))
        return Books(
            counted=(balance["charged_mc"] + balance["reserved_mc"]) // 1000,
            held=balance["reserved_mc"] // 1000,
            charges=charges,
        )

    async def _charges(self, session: aiohttp.ClientSession, call_id: str) -> list[int]:
        name = quote(f"{call_id}:reply:1", safe="")
        question = f"{self.urls[1]}/v1/executions/{name}?account_id={_ACCOUNT}"
        async with session.get(question) as response:
            if response.status == 404:  # refused: nothing was reserved, and nothing is written
                return []
            entries = (await response.json())["entries"]
        return [entry["charged_mc"] // 1000 for entry in entries if entry["charged_mc"]]


def _install() -> dict[str, str]:
    from importlib.metadata import version

    return {"creditgate": "this checkout", "litellm": version("litellm")}


async def _start(stack: AsyncExitStack, stage: Stage) -> _Running:
    environment = {"PEERS_INSTALLATION_KEY": secrets.token_hex(32), "PYTHONPATH": str(ROOT)}
    template = (CONFIGURATIONS / "creditgate.yaml").read_text()
    action = SPEC.model_dump(mode="json", exclude={"id"}, exclude_unset=True)
    (stage.folder / "data").mkdir()
    configs = []
    for name in ("first", "second"):
        config = stage.folder / f"{name}.yaml"
        filled = template.format(
            folder=stage.folder,
            # Processes of one machine share a folder of data.
            name="data",
            redis_port=stage.redis_port,
            api_base=stage.provider,
            action=json.dumps(action),
        )
        config.write_text(filled)
        configs.append(config)

    async def ask(*words: str) -> Any:
        command = (*_COMMAND, *words, "--config", str(configs[0]), "--json")
        async with program(
            *command, folder=stage.folder, name=words[0], environment=environment
        ) as asked:
            try:
                return json.loads(await asked.line())
            except ValueError:
                raise DidNotStart(f"creditgate {words[0]}: {asked.last_words()}") from None

    await ask("account", "open", _ACCOUNT, "--plan", "growth")
    budget = ("--credits", str(stage.plan.budget), "--kind", "promotional", "--reference", "budget")
    await ask("grant", "--account", _ACCOUNT, *budget)
    made = await ask("keys", "create", "--name", "bench", "--scope", "admin")
    if "secret" not in made:
        raise DidNotStart(f"creditgate keys: {made}")
    key = made["secret"]
    served: list[tuple[str, Program]] = []
    for config in configs:
        command = (*_COMMAND, "serve", "--config", config, "--port", str(free_port()), "--json")
        started = await stack.enter_async_context(
            program(*command, folder=stage.folder, name=config.stem, environment=environment)
        )
        served.append((json.loads(await started.line())["url"], started))
    (first, one), (second, two) = served
    say(f"  creditgate at {first} and {second}")
    await asyncio.gather(one.answers(f"{first}/readyz"), two.answers(f"{second}/readyz"))
    return _Running((first, second), key, (one, two))


CREDITGATE = System(
    name="creditgate",
    title="creditgate",
    install=_install,
    start=_start,
    has_budget=True,
    same_id="answers the first outcome, without a call or a charge; 202 while it still runs",
    books="balance and receipts over its API",
    configuration=("creditgate.yaml",),
)
