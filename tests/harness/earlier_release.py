"""What release 0.1 left in Redis and in a data folder, as an upgraded process finds it.

``tests/fixtures/release_0_1/README.md`` says what it holds and how it was made.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from creditgate import ActionSpec, Config, CreditLedger, ExecutionRequest, ExecutionResult
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason, Provider
from runtime.actions.requests import Source
from runtime.bootstrap import open_runtime
from runtime.config import parse_config
from runtime.credits import ledger as ledger_module
from runtime.credits.endings import Settlement, from_json
from runtime.credits.identity import Dimensions, Identity
from runtime.credits.journal import JournalEntry, parse, verify
from runtime.credits.ledger import Commerce, LedgerSettings
from runtime.credits.results import Alert
from runtime.credits.scripts import Scripts, assemble
from runtime.executions.action_runtime import ActionRuntime
from runtime.ledger_opening import open_ledger
from runtime.redis.keys import Keys
from tests.harness.paths import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "release_0_1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text("utf-8"))
DUMPED_AT_MS: int = EXPECTED["dumped_at_ms"]
_MODELS = (
    "writer",
    "failing",
    "rejecting",
    "refusing",
    "silent",
    "confused",
    "slow",
    "slow_failing",
)

_CONFIG = """
version: 1
data_dir: {data_dir}
redis: {{url: "{url}", key_prefix: {prefix}}}
executions: {{outcome_ttl_hours: 168, spool_max_age_hours: 24, wait_for_credits_ms: 100}}
alerts: {{low_percent: 20, cooldown_minutes: 60}}
endpoints: {{mock: {{api_base: "http://127.0.0.1:9/v1"}}}}
plans:
  trial: {{ai_credits: false}}
  growth: {{ai_credits: true}}
  enterprise: {{ai_credits: true}}
offers:
  introductory:
    kind: introductory
    credits: 10
    paying_from: 2096-09-15
    paying_until: 2096-09-30
    expires_after_days: 90
models: {{{models}}}
rate_cards:
  - {{version: "2026-01", effective_from: 2026-01-01, rates: {{{rates}}}}}
actions: {{}}
"""
_MODEL = "{name}: {{litellm_model: openai/gpt-4o-mini, endpoint: mock, class: quick}}"
_RATE = "{name}: {{input: 1000, output: 10000}}"


class NoCall:
    """A provider that nobody may call."""

    async def complete(self, request: CompletionRequest) -> Completion:
        raise AssertionError(f"{request.litellm_model} was called")

    async def aclose(self) -> None:
        pass


class GoodAnswer(NoCall):
    """A provider that answers well."""

    async def complete(self, request: CompletionRequest) -> Completion:
        answer = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
        return Completion(answer, FinishReason.STOP, TokenUsage(100, 20))


@dataclass(frozen=True)
class LeftBehind:
    """The fixture in Redis and in a data folder, as an upgraded process finds it."""

    redis: Any  # redis-py's types are unions of all that a setting could make of an answer
    config: Config

    @property
    def keys(self) -> Keys:
        return Keys(self.config.redis.key_prefix)

    def key(self, account_id: str, part: str) -> str:
        (name,) = (
            k for k in self.keys.of_account(account_id) if k.endswith(f"{account_id}:{part}")
        )
        return name

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[CreditLedger]:
        with _as_of_the_dump():
            async with open_ledger(self.config, redis=self.redis) as ledger:
                yield ledger

    @asynccontextmanager
    async def runtime(self, provider: Provider) -> AsyncIterator[ActionRuntime]:
        with _as_of_the_dump():
            async with open_runtime(self.config, redis=self.redis, provider=provider) as runtime:
                yield runtime

    def ledger_at(self, now_ms: int, alerts: list[Alert]) -> CreditLedger:
        """A ledger whose scripts believe that it is this late."""
        return CreditLedger(
            self.redis,
            Identity((FIXTURE / "installation.key").read_bytes()),
            LedgerSettings(key_prefix=self.config.redis.key_prefix),
            Commerce({"growth": True}),
            scripts=scripts_at(now_ms),
            on_alert=alerts.append,
            clock_ms=lambda: now_ms,
        )

    def fill_spool(self) -> Path:
        """Put the spooled endings into the data folder, as if they had been written just now."""
        spool = self.config.data_dir / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(sorted((FIXTURE / "spool").glob("*.json"))):
            _, _, rest = path.name.partition("-")
            shutil.copyfile(path, spool / f"{time.time_ns() + number:020d}-{rest}")
        return spool

    async def until_replayed(self) -> None:
        """Wait until nothing waits in the spool."""
        async with asyncio.timeout(10):
            while list((self.config.data_dir / "spool").glob("*.json")):  # noqa: ASYNC110 - files
                await asyncio.sleep(0.01)

    async def journal(self, account_id: str) -> list[JournalEntry]:
        """The account's entries, which continue each other from the first one on."""
        names: dict[int, Dimensions] = {}
        raw = await self.redis.xrange(self.key(account_id, "journal"))
        entries = [parse(entry_id, fields, names) for entry_id, fields in raw]
        verify(entries)
        return entries

    async def contents(self) -> dict[bytes, bytes]:
        """Every key byte for byte, but for what is learned."""
        names = [name async for name in self.redis.scan_iter(f"{self.keys.prefix}:*", count=1_000)]
        return {name: await self.redis.dump(name) for name in names if b":learned:" not in name}


def scripts_at(now_ms: int) -> Scripts:
    """The ledger's scripts by a clock that stands still, which the processes' clocks agree with."""
    return assemble(f"ARGV[8] = '{now_ms}'\nlocal function server_ms() return {now_ms} end")


def _as_of_the_dump() -> Any:
    # The dump is of a day to come: by today's clock its accounts' clocks would have run ahead.
    return mock.patch.object(ledger_module, "batch_scripts", return_value=scripts_at(DUMPED_AT_MS))


async def restore_release(redis: Any, url: str, prefix: str, data_dir: Path) -> LeftBehind:
    """Write the dump under another prefix, and the installation key into a data folder."""
    data_dir.mkdir()
    key = shutil.copyfile(FIXTURE / "installation.key", data_dir / "installation.key")
    key.chmod(0o600)  # as the release made it; git keeps no modes
    for line in (FIXTURE / "ledger.jsonl").read_text("utf-8").splitlines():
        await _restore(redis, prefix, json.loads(line))
    config = _CONFIG.format(
        data_dir=data_dir,
        url=url,
        prefix=prefix,
        models=", ".join(_MODEL.format(name=name) for name in _MODELS),
        rates=", ".join(_RATE.format(name=name) for name in _MODELS),
    )
    return LeftBehind(redis, parse_config(config))


async def _restore(redis: Any, prefix: str, row: dict[str, Any]) -> None:
    key = prefix + row["key"].removeprefix(EXPECTED["key_prefix"])
    value = row["value"]
    if row["type"] == "string":
        await redis.set(key, _as_stored(value))
    elif row["type"] == "hash":
        await redis.hset(key, mapping={name: _as_stored(text) for name, text in value.items()})
    elif row["type"] == "set":
        await redis.sadd(key, *value)
    elif row["type"] == "zset":
        await redis.zadd(key, value)
    else:
        assert row["type"] == "stream"
        for entry_id, fields in value:
            await redis.xadd(key, fields, id=entry_id)
    if row["ttl_ms"] is not None:
        await redis.pexpire(key, row["ttl_ms"])


def _as_stored(value: str | dict[str, str]) -> str | bytes:
    return value if isinstance(value, str) else b64decode(value["base64"])


def action(model: str = "writer") -> ActionSpec:
    return ActionSpec.model_validate(EXPECTED["action"] | {"model": model})


def request(plain: dict[str, Any], **changes: Any) -> ExecutionRequest:
    """A request of the fixture, as its caller sends it again."""
    fields = plain | {"source": Source(plain["source"])} | changes
    return ExecutionRequest(action=action(fields.pop("model")), **fields)


def told(result: ExecutionResult) -> dict[str, Any]:
    """What stays the same of a result, however often it is asked for."""
    plain = result.to_json()
    return {name: plain[name] for name in EXPECTED["spooled"]["result"]}


def ending(name: str) -> Settlement:
    """A settlement that the earlier release had not sent yet."""
    found = from_json(EXPECTED["endings"][name])
    assert isinstance(found, Settlement)
    return found
