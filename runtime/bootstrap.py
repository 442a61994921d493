"""The composition root: a runtime from a configuration and the host's own parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redis.asyncio import Redis, RedisCluster

from providers.base import Provider
from runtime.actions.source import ActionSource
from runtime.assembly import Assembly
from runtime.campaigns.estimate import Estimator
from runtime.catalog.models import build_models
from runtime.catalog.parameters import refused_parameters
from runtime.config import Config, ConfigError
from runtime.config.version import config_version
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Alert
from runtime.credits.schema import NEWEST
from runtime.credits.switches import SwitchReader
from runtime.credits.told import ToldFile
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.executor import Executor
from runtime.executions.long_counts import LongCounts
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Quoter
from runtime.executions.spool import Spool
from runtime.executions.switch_watch import READ_EVERY_S, SwitchWatch
from runtime.learning.sharing import Learning
from runtime.ledger_opening import at_end, connected, open_ledger
from runtime.loop_guard import LoopGuard
from runtime.observing import Observer
from runtime.processes.register import Register
from runtime.redis.keys import Keys
from runtime.turns.shared import RedisTurns

if TYPE_CHECKING:
    from providers.http import HttpClient

_HOUR_MS = 3_600_000


@asynccontextmanager
async def open_runtime(
    config: Config,
    *,
    redis: Redis | RedisCluster | None = None,
    provider: Provider | None = None,
    actions: ActionSource | None = None,
    on_alert: Callable[[Alert], None] = lambda alert: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    observer: Observer | None = None,
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
        provider: calls models. Without one, they are called as LiteLLM would, which takes some
            seconds to load where it is needed.
        actions: resolves the action ids of requests. Without one, ``config.actions`` does.
        on_alert: called with each ``Alert`` that a call of this process raised, after it was
            written to Redis, on the event loop: it must not block. What it raises is logged, and
            changes nothing. Alerts that another process raised are not heard here.
        clock: returns the time in UTC by which rate cards come into force and models retire; pass
            another one to try a coming change before its day. Credits always go by Redis' clock.
        observer: is told of executions, calls of providers and script calls, for metrics and
            traces. It must be quick and must not raise. Without one, nothing is measured.

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
        client = await stack.enter_async_context(connected(config, redis))
        ledger = await stack.enter_async_context(
            open_ledger(config, redis=client, on_alert=on_alert, observer=observer)
        )
        told = ToldFile(config.data_dir / "told", config.redis.key_prefix)
        at_end(stack, "keeping what was told", told.aclose)
        ledger.tell_to(told.note)
        told.start(ledger.settings.outcome_ttl_ms)
        stack.push_async_callback(ledger.sweeper.aclose)
        ledger.sweeper.start()
        learning = _learning(config, client)
        at_end(stack, "sharing what was learned", learning.aclose)
        learning.start()
        uses_litellm = provider is None
        if provider is None:
            from providers.direct.provider import DirectProvider  # brings aiohttp

            http = _http_client(config)
            at_end(stack, "closing the connections to providers", http.aclose)
            provider = DirectProvider(http)
            await provider.warm_up([model.probe() for model in models])
            if mistakes := refused_parameters(config):
                raise ConfigError(mistakes)
        max_age_ms = config.executions.spool_max_age_hours * _HOUR_MS
        outbox = Outbox(ledger, Spool(config.data_dir / "spool", max_age_ms))
        switches = _switch_watch(config, client, ledger)
        at_end(stack, "reading switches", switches.aclose)
        switches.start()
        assembly = Assembly(
            config=config,
            ledger=ledger,
            outbox=outbox,
            learning=learning,
            provider=provider,
            switches=switches,
            turns=RedisTurns(client, config.redis.key_prefix, config.redis.timeout_ms),
            actions=actions,
            clock=clock,
            uses_litellm=uses_litellm,
            observer=observer,
        )
        at_end(stack, "giving turns back", assembly.give_turns_back)
        stack.push_async_callback(outbox.aclose)
        outbox.start()
        stack.callback(assembly.long_counts.close)
        register = Register(
            client,
            Keys(config.redis.key_prefix),
            config.redis.timeout_ms,
            config_version(config),
            NEWEST,
        )
        at_end(stack, "leaving the list of processes", register.aclose)
        register.start()

        async def rebuild(changed: Config) -> Executor:
            version = await asyncio.to_thread(config_version, changed)
            executor = await assembly.rebuild(changed)
            register.change(version)
            return executor

        guard = LoopGuard("runtime")
        guard.open()
        stack.callback(guard.close)
        yield ActionRuntime(
            accounts=ledger.accounts,
            counters=assembly.counters,
            executor=assembly.executor(config, models),
            rebuild=rebuild,
            guard=guard,
            observer=observer,
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
    async with connected(config, redis) as client, open_ledger(config, redis=client) as ledger:
        counts = LongCounts()
        try:
            yield build_estimator(config, ledger=ledger, client=client, counts=counts)
        finally:
            counts.close()


def build_estimator(
    config: Config, *, ledger: CreditLedger, client: Redis | RedisCluster, counts: LongCounts
) -> Estimator:
    """Return an estimator on parts that are open; ``counts`` stays the caller's to close."""
    learning = _learning(config, client)
    quoter = Quoter(
        ledger.attempt,
        build_models(config),
        config.build_rate_cards(),
        learning,
        config.compliance_prompt,
        long_counts=counts,
    )
    return Estimator(ledger, quoter, learning)


def _http_client(config: Config) -> HttpClient:
    """Return a client with a connection for each call that the queues of endpoints let through."""
    from providers.http import HttpClient
    from providers.http_pool import HttpLimits

    limits = HttpLimits()
    calls = sum(endpoint.max_concurrency for endpoint in config.endpoints.values())
    return HttpClient(replace(limits, connections=max(limits.connections, calls)))


def _learning(config: Config, client: Redis | RedisCluster) -> Learning:
    return Learning(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)


def _switch_watch(
    config: Config, client: Redis | RedisCluster, ledger: CreditLedger
) -> SwitchWatch:
    timeout_ms = config.redis.timeout_ms
    reader = SwitchReader(client, Keys(config.redis.key_prefix), ledger.accounts, timeout_ms)
    # Time for a reading that began too early, and for the one after it.
    return SwitchWatch(reader, patience_s=2 * timeout_ms / 1000 + READ_EVERY_S)
