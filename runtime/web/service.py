"""The parts that routes use, opened together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from runtime.alerts.alerts import Alerts
from runtime.api_keys.api_keys import ApiKeys
from runtime.api_keys.rates import KeyRates
from runtime.archive.archiving import Archiving
from runtime.archive.opening import open_archive
from runtime.background import TaskSet
from runtime.bootstrap import build_estimator, open_runtime
from runtime.campaigns.estimate import Estimator
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.credits.ledger import CreditLedger
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.long_counts import LongCounts
from runtime.ledger_opening import at_end, connected, open_ledger
from runtime.library.library import Library
from runtime.library.opening import open_library
from runtime.queue.opening import build_queue
from runtime.queue.queue import RequestQueue
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.reopening import Store
from runtime.telemetry.opening import Telemetry, open_telemetry
from runtime.web.payment_alerts import telling
from runtime.web.readiness import Readiness
from runtime.web.readings import ScrapedMetrics
from runtime.web.uploads import Uploads

if TYPE_CHECKING:
    from runtime.payments.payments import Payments


@dataclass(slots=True)
class Service:
    """Everything that a request may need.

    ``ledger`` is for accounts and reports; executions go through ``runtime``, which has its own.
    ``installation`` tells the installation from others, for cursors.
    """

    config: Config
    installation: str
    client: Client
    ledger: CreditLedger
    runtime: ActionRuntime
    store: Store
    estimator: Estimator
    _estimator_of: Callable[[Config], Estimator]
    keys: ApiKeys
    payments: Payments | None
    alerts: Alerts
    rates: KeyRates | None
    library: Library
    running: TaskSet
    """The executions that run, whether or not somebody still waits for their answers."""
    readiness: Readiness
    telemetry: Telemetry
    readings: ScrapedMetrics
    queue: RequestQueue
    uploads: Uploads

    async def reload(self, config: Config) -> None:
        """Answer by another configuration from now on; errors as ``ActionRuntime.reload``."""
        await self.runtime.reload(config)
        self.estimator = self._estimator_of(config)
        self.alerts.reload(config)
        self.config = config


@asynccontextmanager
async def open_service(config: Config) -> AsyncIterator[Service]:
    """Open the parts of a service, and close them in the opposite order.

    Raises:
        LedgerError, LedgerUnavailable, ConfigError: as ``open_runtime``.
    """
    key_check = identity_of(config).check_value()
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(open_telemetry(config))
        client = await stack.enter_async_context(connected(config, None))
        ledger = await stack.enter_async_context(open_ledger(config, redis=client))
        store = Store(lambda: open_archive(config, key_check))
        at_end(stack, "closing the database", store.aclose)
        archiving = Archiving(config, key_check, client)
        at_end(stack, "archiving", archiving.aclose)
        names = Keys(config.redis.key_prefix)
        keys = ApiKeys(store, client, names, config.redis.timeout_ms)
        at_end(stack, "closing the keys", keys.aclose)
        keys.start()
        actions = await stack.enter_async_context(
            open_library(config, client, store, lambda: service.config)
        )
        runtime = await stack.enter_async_context(
            open_runtime(config, redis=client, actions=actions.actions, observer=telemetry.observer)
        )
        alerts = Alerts(config, client, ledger, store)
        at_end(stack, "telling", alerts.aclose)
        alerts.start()
        running = TaskSet()
        at_end(stack, "the executions that run", running.drain)
        payments = await _open_payments(stack, config, store, ledger, key_check)
        if payments is not None:
            payments.on_event(telling(alerts))
        long_counts = LongCounts()
        stack.callback(long_counts.close)
        estimator_of = partial(build_estimator, ledger=ledger, client=client, counts=long_counts)
        archiving.start(after_s=1)
        queue = build_queue(config, client)
        at_end(stack, "closing the queue", queue.aclose)
        uploads = Uploads()
        stack.callback(uploads.close)
        service = Service(
            config=config,
            installation=f"{key_check} {config.redis.key_prefix}",
            client=client,
            ledger=ledger,
            runtime=runtime,
            store=store,
            estimator=estimator_of(config),
            _estimator_of=estimator_of,
            keys=keys,
            payments=payments,
            alerts=alerts,
            rates=_rates(config),
            library=actions.library,
            running=running,
            readiness=Readiness(client, store),
            telemetry=telemetry,
            readings=ScrapedMetrics(config, client, runtime, telemetry.metrics),
            queue=queue,
            uploads=uploads,
        )
        yield service


async def _open_payments(
    stack: AsyncExitStack, config: Config, store: Store, ledger: CreditLedger, installation: str
) -> Payments | None:
    if config.stripe is None:
        return None
    from runtime.payments.opening import open_payments  # the extra "stripe"

    return await stack.enter_async_context(
        open_payments(config.stripe, store, ledger.accounts, config.build_pack(), installation)
    )


def _rates(config: Config) -> KeyRates | None:
    per_second = config.service.requests_per_second
    return None if per_second is None else KeyRates(per_second)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]
"""A route's parameter that takes the service's parts."""
