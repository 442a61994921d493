"""Opens the ledger alone, without what runs actions: a process that calls no model starts fast."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from redis.asyncio import Redis, RedisCluster

from runtime.archive.location import archive_file
from runtime.background import finish
from runtime.config import Config
from runtime.credits.caps import DefaultCap
from runtime.credits.durability import Durability
from runtime.credits.installation_key import identity_of
from runtime.credits.ledger import Commerce, CreditLedger, LedgerSettings
from runtime.credits.results import Alert, LedgerLost
from runtime.files.private import check_data_folders
from runtime.observing import Observer
from runtime.redis.client import open_client
from runtime.redis.cluster import transport_to
from runtime.redis.primaries import Client
from runtime.redis.timed import TimedTransport

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


@asynccontextmanager
async def open_ledger(
    config: Config,
    *,
    redis: Redis | RedisCluster | None = None,
    on_alert: Callable[[Alert], None] = lambda alert: None,
    may_be_lost: bool = False,
    observer: Observer | None = None,
) -> AsyncIterator[CreditLedger]:
    """Open the ledger alone, for a process that manages accounts and calls no model.

    Example::

        async with open_ledger(config) as ledger:
            await ledger.accounts.purchase("acme", credits=100_000, payment_reference="invoice-1")

    Args:
        redis: as ``open_runtime`` has it.
        on_alert: as ``open_runtime`` has it.
        may_be_lost: open a Redis that lost the ledger too, and store nothing in it: for what
            audits it or makes it again.
        observer: hears how long script calls take.

    Raises:
        LedgerLost: Redis is empty, and the archive is not.
        StoreUnavailable: Redis is empty, and the archive can't be reached.
        LedgerError, InstallationKeyTooShort, NotPrivate, EmbeddedRedisUnavailable: as
            ``open_runtime``.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connected(config, redis))
        settings = _settings(config)
        ledger = CreditLedger(
            client,
            identity_of(config),
            settings,
            Commerce(
                plans={name: plan.ai_credits for name, plan in config.plans.items()},
                offers=config.build_offers(),
                pack=config.build_pack(),
            ),
            transport=None if observer is None else _timed(client, settings, observer),
            on_alert=on_alert,
        )
        at_end(stack, "reading the last answers of Redis", ledger.drain)
        await ledger.check_installation(
            _store_nothing if may_be_lost else lambda: _refuse_if_lost(config)
        )
        ledger.guard.open()
        stack.callback(ledger.guard.close)
        stack.push_async_callback(ledger.watch.aclose)
        ledger.watch.start()
        yield ledger


def default_caps(config: Config) -> tuple[DefaultCap, ...]:
    """Return the caps that new workspaces and campaigns begin with."""
    sections = config.default_caps
    found = []
    if (section := sections.workspace) is not None:
        found.append(DefaultCap("workspace_id", section.window, section.limit_mc))
    if (section := sections.campaign) is not None:
        found.append(DefaultCap("campaign_id", section.window, section.limit_mc))
    return tuple(found)


@asynccontextmanager
async def connected(config: Config, redis: Client | None) -> AsyncIterator[Client]:
    """Yield the host's own client, or one of the configured server.

    Raises:
        NotPrivate: others can write to the data folder; its server would not even be started.
    """
    check_data_folders(config.data_dir)
    if redis is not None:
        yield redis
        return
    async with open_client(config.redis, config.data_dir) as client:
        yield client


def _settings(config: Config) -> LedgerSettings:
    return LedgerSettings(
        key_prefix=config.redis.key_prefix,
        outcome_ttl_ms=config.executions.outcome_ttl_hours * _HOUR_MS,
        low_marks=config.alerts.low_marks(),
        cap_marks=config.alerts.marks_of_caps(),
        alert_cooldown_ms=config.alerts.cooldown_minutes * _MINUTE_MS,
        timeout_ms=config.redis.timeout_ms,
        durability=Durability(config.redis.durability),
        wait_replicas=config.redis.wait_replicas,
        assume=frozenset(config.redis.assume),
        max_lag=config.archive.max_lag,
        default_caps=default_caps(config),
    )


def _timed(client: Client, settings: LedgerSettings, observer: Observer) -> TimedTransport:
    return TimedTransport(transport_to(client, settings.timeout_ms, settings.replicas), observer)


async def _store_nothing() -> bool:
    return False


async def _refuse_if_lost(config: Config) -> bool:
    """Return True on a first start; see ``LedgerLost``."""
    file = archive_file(config)
    if file is not None and not await to_thread(file.is_file):
        return True
    from runtime.archive.opening import has_accounts  # brings SQLAlchemy: on a first start alone

    if await has_accounts(config):
        raise LedgerLost(config.redis.key_prefix)
    return True


def at_end(
    stack: AsyncExitStack, name: str, close: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Close something at the end, without a wait that has no bound."""

    async def bounded() -> None:
        await finish(name, close())

    stack.push_async_callback(bounded)
