"""The composition root: a runtime from a configuration and the host's own parts."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster

from providers.base import Provider
from providers.litellm.adapter import LiteLLMProvider
from providers.pacing.queue import EndpointQueues
from runtime.actions.source import ActionSource, ConfigActions
from runtime.background import finish
from runtime.campaigns.estimate import Estimator
from runtime.catalog.models import build_models
from runtime.catalog.parameters import refused_parameters
from runtime.config import Config, ConfigError
from runtime.config.secret_values import secret_values
from runtime.credits.durability import Durability
from runtime.credits.identity import Identity
from runtime.credits.ledger import Commerce, CreditLedger, LedgerSettings
from runtime.credits.results import Alert
from runtime.executions.executor import ActionRuntime, ExecutorSettings
from runtime.executions.model_calls import ModelCalls
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Quoter
from runtime.executions.spool import Spool
from runtime.files.private import check_data_folders, make_private_folder, read_private_file
from runtime.learning.sharing import Learning
from runtime.redis.client import open_client
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.turns.shared import RedisTurns

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_LONGEST_KEY_BYTES = 4_096


@asynccontextmanager
async def open_runtime(
    config: Config,
    *,
    redis: Redis | RedisCluster | None = None,
    provider: Provider | None = None,
    actions: ActionSource | None = None,
    on_alert: Callable[[Alert], None] = lambda alert: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[ActionRuntime]:
    """Open a runtime that runs actions against prepaid credits.

    A process opens one, when it starts, and shares it between all its tasks. It belongs to the
    event loop that opened it. Leaving the block waits for what is being settled, and closes what
    was opened here; ``redis``, ``provider`` and ``actions`` that you pass stay yours to close.

    Example::

        async with open_runtime(load_config("config.yaml")) as runtime:
            result = await runtime.execute(request)

    Args:
        redis: a client of one server or of a cluster. Without one, the server of ``config.redis``.
        provider: calls models. Without one, LiteLLM does, which takes some seconds to load.
        actions: resolves the action ids of requests. Without one, ``config.actions`` does.
        on_alert: called with each ``Alert`` that a call of this process raised, after it was
            written to Redis, on the event loop: it must not block. What it raises is logged, and
            changes nothing. Alerts that another process raised are not heard here.
        clock: returns the time in UTC by which rate cards come into force and models retire; pass
            another one to try a coming change before its day. Credits always go by Redis' clock.

    Raises:
        ConfigError: the model of an action does not take its temperature.
        LedgerUnavailable: Redis can't be reached.
        LedgerError: the data in Redis belongs to another installation key.
        InstallationKeyTooShort: the key in the data folder was cut off.
        NotPrivate: others can write to the data folder, or read the key in it.
        EmbeddedRedisUnavailable: ``redis.url`` is ``embedded``, and there is no server program.
        VocabularyMissing: the installed LiteLLM lacks a tokenizer's vocabulary.
    """
    models = build_models(config)
    models.warm_up()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_connected(config, redis))
        ledger = await stack.enter_async_context(
            open_ledger(config, redis=client, on_alert=on_alert)
        )
        learning = _learning(config, client)
        _at_end(stack, "sharing what was learned", learning.aclose)
        learning.start()
        if provider is None:
            provider = LiteLLMProvider()
            _at_end(stack, "closing the provider's connections", provider.aclose)
            await provider.warm_up()
            if mistakes := refused_parameters(config):
                raise ConfigError(mistakes)
        max_age_ms = config.executions.spool_max_age_hours * _HOUR_MS
        queues = EndpointQueues(
            {name: section.build_limit() for name, section in config.endpoints.items()},
            RedisTurns(client, config.redis.key_prefix, config.redis.timeout_ms),
        )
        _at_end(stack, "giving turns back", queues.aclose)
        outbox = Outbox(ledger, Spool(config.data_dir / "spool", max_age_ms))
        stack.push_async_callback(outbox.aclose)
        outbox.start()
        quoter = Quoter(
            ledger.attempt,
            models,
            config.build_rate_cards(),
            learning,
            config.compliance_prompt,
            clock=clock,
        )
        stack.callback(quoter.close)
        yield ActionRuntime(
            ledger=ledger,
            outbox=outbox,
            calls=ModelCalls(
                provider,
                queues,
                {name: section.breaker.build() for name, section in config.endpoints.items()},
                secret_values(config),
            ),
            actions=actions or ConfigActions(config.actions),
            quoter=quoter,
            settings=ExecutorSettings(
                reservation_ttl_ms=config.executions.reservation_ttl_ms,
                wait_for_credits_ms=config.executions.wait_for_credits_ms,
                charge_previews=config.executions.charge_previews,
            ),
        )


@asynccontextmanager
async def open_estimator(
    config: Config, *, redis: Redis | RedisCluster | None = None
) -> AsyncIterator[Estimator]:
    """Open an estimator, which forecasts what campaigns cost. It calls no model.

    Example::

        async with open_estimator(config) as estimator:
            estimate = await estimator.estimate(
                config.actions["route_message"], Sample.of(people), account_id="acme"
            )
            print(estimate.cost.expected_mc)

    Args:
        redis: as ``open_runtime`` has it.

    Raises:
        LedgerError, InstallationKeyTooShort, NotPrivate, EmbeddedRedisUnavailable: as
            ``open_runtime``.
    """
    models = build_models(config)
    async with _connected(config, redis) as client, open_ledger(config, redis=client) as ledger:
        learning = _learning(config, client)
        quoter = Quoter(
            ledger.attempt, models, config.build_rate_cards(), learning, config.compliance_prompt
        )
        try:
            yield Estimator(ledger, quoter, learning)
        finally:
            quoter.close()


@asynccontextmanager
async def open_ledger(
    config: Config,
    *,
    redis: Redis | RedisCluster | None = None,
    on_alert: Callable[[Alert], None] = lambda alert: None,
) -> AsyncIterator[CreditLedger]:
    """Open the ledger alone, for a process that manages accounts and calls no model.

    Example::

        async with open_ledger(config) as ledger:
            await ledger.accounts.purchase("acme", credits=100_000, payment_reference="invoice-1")

    Args:
        redis: as ``open_runtime`` has it.
        on_alert: as ``open_runtime`` has it.

    Raises:
        LedgerError, InstallationKeyTooShort, NotPrivate, EmbeddedRedisUnavailable: as
            ``open_runtime``.
    """
    async with AsyncExitStack() as stack:
        ledger = CreditLedger(
            await stack.enter_async_context(_connected(config, redis)),
            Identity(_installation_key(config)),
            LedgerSettings(
                key_prefix=config.redis.key_prefix,
                outcome_ttl_ms=config.executions.outcome_ttl_hours * _HOUR_MS,
                low_marks=(f"p{config.alerts.low_percent}",),
                alert_cooldown_ms=config.alerts.cooldown_minutes * _MINUTE_MS,
                timeout_ms=config.redis.timeout_ms,
                durability=Durability(config.redis.durability),
                wait_replicas=config.redis.wait_replicas,
            ),
            Commerce(
                plans={name: plan.ai_credits for name, plan in config.plans.items()},
                offers=config.build_offers(),
                pack=config.build_pack(),
            ),
            on_alert=on_alert,
        )
        _at_end(stack, "reading the last answers of Redis", ledger.drain)
        await ledger.check_installation()
        stack.push_async_callback(ledger.watch.aclose)
        ledger.watch.start()
        yield ledger


@asynccontextmanager
async def _connected(config: Config, redis: Client | None) -> AsyncIterator[Client]:
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


def _at_end(
    stack: AsyncExitStack, name: str, close: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Close something at the end, without a wait that has no bound."""

    async def bounded() -> None:
        await finish(name, close())

    stack.push_async_callback(bounded)


def _learning(config: Config, client: Redis | RedisCluster) -> Learning:
    return Learning(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)


def _installation_key(config: Config) -> bytes:
    """The configured key, or one of this data folder's own, made at its first use."""
    if config.installation_key is not None:
        return config.installation_key.get_secret_value().encode()
    path = config.data_dir / "installation.key"
    try:
        return read_private_file(path, most_bytes=_LONGEST_KEY_BYTES)
    except FileNotFoundError:
        return _make_key(path)


def _make_key(path: Path) -> bytes:
    make_private_folder(path.parent)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(32).encode())
    try:
        # Of several processes that start at once, one key wins and all of them use it.
        os.link(unfinished, path)
    except FileExistsError:
        pass
    finally:
        unfinished.unlink()
    return read_private_file(path, most_bytes=_LONGEST_KEY_BYTES)
