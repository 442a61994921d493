"""The place of a load: an installation of its own, or a service that calls only mock providers."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.exceptions import RedisError

from runtime.config import Config, load_config
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.load.processes import Target, Usage, mock_provider
from runtime.load.settings import LoadSettings
from runtime.load.workload import config_of
from runtime.redis.errors import described
from runtime.redis.primaries import Client, primaries
from runtime.store.database import Database

_log = logging.getLogger("creditgate.load")

_STATS_S = 10.0
_SCANNED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class World:
    """All that a load needs to run, and to be judged by.

    Args:
        config: of the ledger.
        database: the archive, where one keeps a part of the journals.
        mock_urls: the mock providers that can be called.
        opened: gets the accounts that the load has opened.
        pids: processes to measure, by their name in the report.
        usages: ask what others use, by their name in the report.
        settles: waits until nothing of the load runs any more.
    """

    config: Config
    client: Client
    ledger: CreditLedger
    target: Target
    mock_urls: Sequence[str]
    database: Database | None = None
    opened: list[str] = field(default_factory=list)
    pids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    usages: Mapping[str, Callable[[], Awaitable[Usage | None]]] = field(default_factory=dict)
    settles: Callable[[], Awaitable[None]] | None = None

    @property
    def plan(self) -> str:
        """A plan with AI credits."""
        return next(name for name, section in self.config.plans.items() if section.ai_credits)

    async def stats(self) -> dict[str, Any]:
        """Return what the mock providers counted, all together.

        Raises:
            OSError, ValueError: one can't be asked.
        """
        return _sum([await read_stats(url) for url in self.mock_urls])


async def read_stats(url: str) -> dict[str, Any]:
    """Return what a mock provider counted.

    Raises:
        OSError: it can't be reached.
        ValueError: what answers there is not a mock provider.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_STATS_S)) as session,
            session.get(f"{url}/stats", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            found = await answer.json()
    except aiohttp.ClientConnectionError as error:
        raise ConnectionError(str(error)) from error
    except aiohttp.ClientError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict) or not found.keys() >= {"requests", "outcomes", "model_runs"}:
        raise ValueError("its /stats are not those of a mock provider")
    return found


def _sum(stats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for one in stats:
        for name, count in one["outcomes"].items():
            outcomes[name] = outcomes.get(name, 0) + count
    return {
        "requests": sum(one["requests"] for one in stats),
        "model_runs": sum(one["model_runs"] for one in stats),
        "outcomes": outcomes,
    }


@asynccontextmanager
async def own_world(
    settings: LoadSettings, folder: Path, redis_config: Path | None
) -> AsyncIterator[World]:
    """Make an installation for this load alone, and remove it afterwards.

    Its config has one endpoint, the mock provider that is started here, its key prefix is its own,
    and so are the installation key, the data folder and with them every account.

    Args:
        redis_config: the config whose ``redis`` section says which server to use. Without one, a
            server is started.

    Raises:
        LoadRefused: a process does not start.
        LedgerUnavailable: Redis can't be reached.
    """
    key_prefix = f"load-{settings.run_id}"
    async with mock_provider(settings, folder) as (mock, url):
        path = folder / "config.yaml"
        content = json.dumps(config_of(settings, url, key_prefix), indent=1)
        path.write_text(content, "utf-8")  # JSON is YAML
        config = load_config(path)
        if redis_config is not None:
            redis = load_config(redis_config).redis.model_copy(update={"key_prefix": key_prefix})
            config = config.model_copy(update={"redis": redis})
        async with (
            connected(config, None) as client,
            open_ledger(config, redis=client) as ledger,
        ):
            try:
                yield World(
                    config=config,
                    client=client,
                    ledger=ledger,
                    target=Target(path, key_prefix, redis_config),
                    mock_urls=[url],
                    pids={"mock provider": [mock.pid]},
                )
            finally:
                if redis_config is not None:
                    await _clean(client, key_prefix)


async def _clean(client: Client, key_prefix: str) -> None:
    try:
        await _remove_keys(client, key_prefix)
    except (RedisError, OSError) as error:
        _log.warning("keys that begin with %s: stay in Redis: %s", key_prefix, described(error))


async def _remove_keys(client: Client, key_prefix: str) -> None:
    """Remove all keys of a load; no other prefix matches its name and the colon."""
    for primary in await primaries(client):
        cursor = "0"
        while True:
            cursor, names = await primary.scan(cursor, f"{key_prefix}:*", _SCANNED_AT_ONCE)
            for name in names:
                await client.unlink(name)
            if cursor == "0":
                break
