"""The load of a service that runs already, once it is certain that it can call no real provider."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from runtime.api_keys.api_keys import ApiKeys
from runtime.api_keys.keys import Scope
from runtime.archive.opening import open_archive, open_archive_if_any
from runtime.config import Config, load_config
from runtime.config.version import config_version
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import LedgerError
from runtime.hints import did_you_mean
from runtime.ledger_opening import connected, open_ledger
from runtime.load.processes import Target, Usage, mock_provider
from runtime.load.settings import LoadRefused, LoadSettings
from runtime.load.worlds import World, read_stats
from runtime.processes.running import exchange, other_versions
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.reopening import Store

_ASK_S = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOOKS, _LOOK_EVERY_S = 60, 1.0
_ACTOR = "creditgate load"
_ENDED = "load ended"
_CPU = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


@asynccontextmanager
async def service_world(
    settings: LoadSettings, folder: Path, config_path: Path, url: str
) -> AsyncIterator[World]:
    """Prepare the load of a service; afterwards close the load's accounts and revoke its key.

    Refuses unless every model of the config is called at a mock provider, and every process that
    runs on the config's Redis runs this config.

    Raises:
        LoadRefused: it can't be reached, runs another config, or might call a real provider.
        LedgerError, StoreError: Redis, or the archive, can't be used.
    """
    url = url.rstrip("/")
    config = load_config(config_path)
    attributes = _attributes(config, settings)
    bases = _mock_bases(config)
    await _check_ready(url)
    async with AsyncExitStack() as stack:
        pids = {}
        for base in bases:
            if not await _is_mock(base):
                mock, _ = await stack.enter_async_context(
                    mock_provider(settings, folder, _own_port(base))
                )
                pids = {"mock provider": [mock.pid]}
        client = await stack.enter_async_context(connected(config, None))
        await _check_processes(config, client)
        # The load's accounts have what the load gives them, and nothing else.
        ledger = await stack.enter_async_context(
            open_ledger(config.model_copy(update={"offers": {}}), redis=client)
        )
        database = await stack.enter_async_context(open_archive_if_any(config, ledger.key_check))
        key = await stack.enter_async_context(_key(config, client, ledger, settings.run_id))
        opened: list[str] = []
        stack.push_async_callback(_close_accounts, ledger, opened)
        yield World(
            config=config,
            client=client,
            ledger=ledger,
            target=Target(
                config_path, config.redis.key_prefix, url=url, key=key, attributes=attributes
            ),
            mock_urls=bases,
            database=database,
            opened=opened,
            pids=pids,
            usages={"service": lambda: _usage(url)},
            settles=lambda: _settle(ledger, settings.account_ids()),
        )


def _attributes(config: Config, settings: LoadSettings) -> tuple[str, ...]:
    if config.redis.is_embedded:
        raise LoadRefused("--config: its redis.url is embedded, which no service runs on")
    action = config.actions.get(settings.action or "")
    if action is None:
        hint = did_you_mean(settings.action or "", config.actions)
        raise LoadRefused(f"--action: the config has no action {settings.action!r}{hint}")
    if not any(section.ai_credits for section in config.plans.values()):
        raise LoadRefused("--config: it has no plan with AI credits")
    return action.required_attributes()


def _mock_bases(config: Config) -> Sequence[str]:
    """Return the addresses that the config's models are called at.

    Raises:
        LoadRefused: one is called at its provider's usual address.
    """
    bases: dict[str, None] = {}
    for name, model in config.models.items():
        api_base = config.endpoints[model.endpoint].api_base
        if api_base is None:
            raise LoadRefused(
                f"--config: model {name!r} is called at its provider's own address. A load needs a "
                "config whose models are all at mock providers"
            )
        parts = urlsplit(api_base)
        bases[f"{parts.scheme}://{parts.netloc}"] = None
    return list(bases)


async def _is_mock(base: str) -> bool:
    """Return whether a mock provider runs there; False where nothing does, and one may be started.

    Raises:
        LoadRefused: something else is there, or nothing, on another machine.
    """
    try:
        await read_stats(base)
    except OSError:
        if urlsplit(base).hostname in _LOOPBACK:
            return False
        raise LoadRefused(f"--config: no mock provider answers at {base}") from None
    except ValueError as error:
        raise LoadRefused(
            f"--config: what answers at {base} is not a mock provider: {error}"
        ) from None
    return True


def _own_port(base: str) -> int:
    port = urlsplit(base).port
    if port is None or urlsplit(base).scheme != "http":
        raise LoadRefused(f"--config: no mock provider answers at {base}")
    return port


async def _check_ready(url: str) -> None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_S)) as session,
            session.get(f"{url}/readyz", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise LoadRefused(
                    f"--url: {url}/readyz answers with status {answer.status}, not 200"
                )
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise LoadRefused(f"--url: can't reach a service at {url}: {why}") from None


async def _check_processes(config: Config, client: Client) -> None:
    """Check that the processes on this Redis run this very configuration.

    Raises:
        LoadRefused: one runs another, or there is none.
        RedisUnavailable: Redis can't be reached.
    """
    keys, timeout_s = Keys(config.redis.key_prefix), config.redis.timeout_ms / 1000
    running = await exchange(client, keys, timeout_s)
    if not running:
        raise LoadRefused("--config: no process runs on its Redis, so the service is another's")
    version = await asyncio.to_thread(config_version, config)
    for other in other_versions(running, version):
        raise LoadRefused(
            f"--config: {other.text}, and the file is {version}: nobody knows which providers "
            "those would call. Reload or stop them"
        )


@asynccontextmanager
async def _key(
    config: Config, client: Client, ledger: CreditLedger, run_id: str
) -> AsyncIterator[str]:
    """Make a key that may run executions, and revoke it at the end."""
    store = Store(lambda: open_archive(config, ledger.key_check))
    keys = ApiKeys(store, client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
    try:
        record, text = await keys.make(
            account_id=None, name=f"load {run_id}", scopes=[Scope.EXECUTE], created_by=_ACTOR
        )
        try:
            yield text
        finally:
            await keys.revoke(None, record.key.key_id)
    finally:
        await store.aclose()


async def _close_accounts(ledger: CreditLedger, account_ids: Sequence[str]) -> None:
    for account_id in account_ids:
        with contextlib.suppress(LedgerError):
            await ledger.accounts.close_account(
                account_id, reference=_ENDED, reason=_ENDED, actor=_ACTOR
            )


async def _settle(ledger: CreditLedger, account_ids: Sequence[str]) -> None:
    """Wait until nothing of the accounts is reserved: a service runs what its callers gave up."""
    for _ in range(_LOOKS):
        balances = [await ledger.accounts.balance(account_id) for account_id in account_ids]
        if not any(balance.open_reservations for balance in balances):
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _usage(url: str) -> Usage | None:
    """Return what the service's process uses, by its metrics; ``None`` where they don't tell."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_S)) as session,
            session.get(f"{url}/metrics", allow_redirects=False) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    cpu, memory = _CPU.search(text), _MEMORY.search(text)
    if cpu is None or memory is None:
        return None
    return Usage(float(cpu[1]), int(float(memory[1])))
