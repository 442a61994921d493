"""Assembles executors from the parts that outlive a reload, and from a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from providers.base import Provider
from providers.pacing.queue import EndpointQueues
from providers.pacing.rule import TurnSource
from runtime.actions.source import ActionLayer, ActionSource, ConfigActions
from runtime.catalog.models import Models, build_models
from runtime.catalog.parameters import refused_parameters
from runtime.config import Config, ConfigError, Mistake
from runtime.config.secret_values import secret_values
from runtime.credits.ledger import CreditLedger
from runtime.executions.counters import Counters
from runtime.executions.executor import Executor, ExecutorSettings
from runtime.executions.long_counts import LongCounts
from runtime.executions.model_calls import ModelCalls
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Quoter
from runtime.executions.switch_watch import SwitchWatch
from runtime.learning.sharing import Learning
from runtime.observing import Observer

_NEED_RESTART = (
    *("redis", "installation_key", "data_dir", "service", "worker", "queue", "tracing"),
    *("plans", "pack", "offers", "alerts", "email", "default_caps"),
)
_EXECUTIONS_NEED_RESTART = ("outcome_ttl_hours", "spool_max_age_hours")


@dataclass
class Assembly:
    """The parts that all executors of a runtime share.

    Args:
        config: the configuration in force.
        actions: the host's own source, or a layer above the actions of the configuration; ``None``
            for these alone.
        uses_litellm: the provider refuses some parameters, which is checked before use.
        observer: hears of the calls of providers.
    """

    config: Config
    ledger: CreditLedger
    outbox: Outbox
    learning: Learning
    provider: Provider
    switches: SwitchWatch
    turns: TurnSource
    actions: ActionSource | ActionLayer | None
    clock: Callable[[], datetime]
    uses_litellm: bool
    observer: Observer | None = None
    counters: Counters = field(default_factory=Counters)
    long_counts: LongCounts = field(default_factory=LongCounts)
    _queues: list[EndpointQueues] = field(default_factory=list)

    def executor(self, config: Config, models: Models) -> Executor:
        """Return an executor for a configuration, which is in force from now on."""
        limits = {name: section.build_limit() for name, section in config.endpoints.items()}
        if self._queues:
            queues = self._queues[-1].changed_to(limits)
        else:
            queues = EndpointQueues(limits, self.turns)
        quoter = Quoter(
            self.ledger.attempt,
            models,
            config.build_rate_cards(),
            self.learning,
            config.compliance_prompt,
            clock=self.clock,
            long_counts=self.long_counts,
        )
        calls = ModelCalls(
            self.provider,
            queues,
            {name: section.breaker.build() for name, section in config.endpoints.items()},
            self.switches,
            secret_values(config),
            self.observer,
        )
        settings = ExecutorSettings(
            reservation_ttl_ms=config.executions.reservation_ttl_ms,
            wait_for_credits_ms=config.executions.wait_for_credits_ms,
            charge_previews=config.executions.charge_previews,
            max_charge_mc=config.executions.max_charge_mc,
        )
        executor = Executor(
            ledger=self.ledger,
            outbox=self.outbox,
            calls=calls,
            actions=self._source(config),
            quoter=quoter,
            settings=settings,
            counters=self.counters,
        )
        self._queues.append(queues)
        self.config = config
        return executor

    def _source(self, config: Config) -> ActionSource:
        configured = ConfigActions(config.actions)
        if isinstance(self.actions, ActionLayer):
            return self.actions.above(configured)
        return self.actions or configured

    async def rebuild(self, config: Config) -> Executor:
        """Return an executor for another configuration.

        Raises:
            ConfigError: a field differs that needs a restart, or a parameter is refused.
            VocabularyMissing: a tokenizer's vocabulary is not installed.
        """
        if mistakes := _needing_restart(self.config, config):
            raise ConfigError(mistakes)
        models = build_models(config)
        await asyncio.to_thread(models.warm_up)
        if self.uses_litellm and (refused := refused_parameters(config)):
            raise ConfigError(refused)
        return self.executor(config, models)

    async def give_turns_back(self) -> None:
        """Give back the turns of all executors."""
        for queues in self._queues:
            await queues.aclose()


def _needing_restart(before: Config, after: Config) -> Sequence[Mistake]:
    """Return the fields that differ and can't be changed while the process runs."""
    differ = [name for name in _NEED_RESTART if getattr(before, name) != getattr(after, name)]
    differ += [
        f"executions.{name}"
        for name in _EXECUTIONS_NEED_RESTART
        if getattr(before.executions, name) != getattr(after.executions, name)
    ]
    text = "differs from the configuration in force, and takes a restart to change"
    return [Mistake("", None, None, name, text) for name in differ]
