"""The runtime that hosts use. Its configuration can be replaced while executions run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from providers.base import Provider
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
from runtime.actions.source import ActionSource
from runtime.actions.spec import ActionSpec
from runtime.config import Config
from runtime.credits.accounts import Accounts
from runtime.executions.counters import Counters
from runtime.executions.execution import Execution
from runtime.executions.executor import Executor
from runtime.loop_guard import LoopGuard
from runtime.observing import ExecutionBegan, ExecutionEnded, Observer


class ActionRuntime:
    """Runs LLM actions against prepaid credits.

    ``accounts`` has the verbs for accounts; ``counters`` tells how well the quotes held.

    Args:
        executor: runs executions by the configuration in force.
        rebuild: returns an executor for another configuration, or raises and changes nothing.
        guard: refuses the use from another event loop, and after closing.
        observer: hears when executions begin and end.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        counters: Counters,
        executor: Executor,
        rebuild: Callable[[Config], Awaitable[Executor]],
        guard: LoopGuard,
        observer: Observer | None = None,
    ) -> None:
        self.accounts = accounts
        self.counters = counters
        self._executor = executor
        self._rebuild = rebuild
        self._check_use = guard.check
        self._observer = observer
        self._reloading = asyncio.Lock()

    @property
    def actions(self) -> ActionSource:
        """The source of actions that a request names by id."""
        return self._executor.actions

    async def execute(self, request: ExecutionRequest) -> ExecutionResult | Pending:
        """Run the action and return typed values, the model's or the fallback ones.

        Every run-time condition gives a result: no credits, an unknown account, Redis or the
        provider down, an unusable answer, the deadline. Asking again with the same
        ``execution_id`` gives the first kept outcome, without a call or a charge. A caller that is
        cancelled leaves nothing reserved.

        Example::

            result = await runtime.execute(request)
            if isinstance(result, ExecutionResult):
                print(result.status, result.values, result.charged_mc)

        Returns:
            The result, or ``Pending`` while the same id runs elsewhere: write nothing and ask
            again after ``retry_after_ms``.

        Raises:
            UnknownAction: the account has no such action.
            ActionSourceUnavailable: nobody can tell now which version is current. The actions of
                the configuration are always known.
            ExecutionConflict: the ``execution_id`` was used for something else.
            WrongEventLoop: another event loop opened the runtime, or a process before a fork.
            RuntimeClosed: the block of ``open_runtime`` has ended.
        """
        self._check_use()
        result, _ = await self._execute(request)
        return result

    async def execute_traced(
        self, request: ExecutionRequest
    ) -> tuple[ExecutionResult | Pending, Execution | None]:
        """Run the action as ``execute`` does; return the trace of the execution as well.

        The trace has the model, the messages as they were sent, the rate card and, in ``progress``,
        the quote, the calls and the raw answer. It holds a person's data: show it to the caller of
        a preview alone, and store it nowhere.

        Returns:
            What ``execute`` returns, and the trace; ``None`` where the execution ended before it
            had a prompt and a price, and of little use beside ``Pending``.

        Raises:
            UnknownAction, ActionSourceUnavailable, ExecutionConflict: as ``execute``.
            WrongEventLoop, RuntimeClosed: likewise.
        """
        self._check_use()
        return await self._execute(request)

    async def execute_unpaid(
        self, request: ExecutionRequest, provider: Provider
    ) -> tuple[ExecutionResult, Execution | None]:
        """Run the action once on another provider: no credits, no outcome, nothing learned.

        The ledger is not asked and no model of the configuration is called, so that the values are
        worth what the provider is; it is meant for a mock model.

        Returns:
            The result, which is not kept, and the trace as ``execute_traced`` has it.

        Raises:
            UnknownAction, WrongEventLoop, RuntimeClosed: as ``execute``.
        """
        self._check_use()
        return await self._executor.execute_unpaid(request, provider)

    async def reload(self, config: Config) -> None:
        """Run by another configuration from now on.

        Executions that have begun end by what they began with: action, model, key, rates. Prompts,
        models, endpoints, rate cards and the limits of executions may change. What a process can't
        change while it runs is refused, and then nothing changes. Breakers start afresh.

        Example::

            await runtime.reload(load_config("config.yaml"))

        Raises:
            ConfigError: a field differs that needs a restart, or the model of an action does not
                take its temperature; ``mistakes`` names each.
            VocabularyMissing: the installed LiteLLM lacks a tokenizer's vocabulary.
            WrongEventLoop, RuntimeClosed: as ``execute``.
        """
        self._check_use()
        async with self._reloading:
            self._executor = await self._rebuild(config)

    def is_healthy(self, model_id: str) -> bool | None:
        """Return whether a model's provider answers; ``None`` if this process made no call yet."""
        return self._executor.is_healthy(model_id)

    def resumes_in_ms(self, spec: ActionSpec) -> int:
        """Return how long calls for an action are certain to fail; 0 if that is not known.

        Its model's provider asked this process for a pause, or kept failing and is tried again
        then.
        """
        return self._executor.resumes_in_ms(spec)

    def endpoint_of(self, spec: ActionSpec) -> str | None:
        """Return the endpoint that an action's model is called at now; ``None`` for no model."""
        return self._executor.endpoint_of(spec)

    def open_breakers(self) -> list[str]:
        """Return the endpoint of each breaker of a key or a model that stands open."""
        return self._executor.open_breakers()

    async def _execute(
        self, request: ExecutionRequest
    ) -> tuple[ExecutionResult | Pending, Execution | None]:
        if self._observer is None:
            return await self._executor.execute_traced(request)
        source, since_s = str(request.source), time.perf_counter()
        self._observer(ExecutionBegan(source))
        result: ExecutionResult | Pending | None = None
        execution: Execution | None = None
        try:
            result, execution = await self._executor.execute_traced(request)
            return result, execution
        finally:
            seconds = time.perf_counter() - since_s
            self._observer(_ended(source, result, execution, seconds))

    async def drain(self) -> None:
        """Finish the background work of executions that have ended.

        Their reservations are then settled or released, or their endings wait in the spool while
        Redis is away, and other processes know what was learned from their answers. Leaving the
        block of ``open_runtime`` does the same. Executions that still run are not waited for.
        """
        self._check_use()
        await self._executor.drain()


def _ended(
    source: str,
    result: ExecutionResult | Pending | None,
    execution: Execution | None,
    seconds: float,
) -> ExecutionEnded:
    status, reason, charged_mc, replayed = "error", None, 0, False
    if isinstance(result, Pending):
        status = "pending"
    elif result is not None:
        status, replayed = str(result.status), result.replayed
        reasons = (origin.reason for origin in result.origins.values())
        reason = next((found for found in reasons if found is not None), None)
        charged_mc = 0 if replayed else result.charged_mc
    return ExecutionEnded(
        source=source,
        status=status,
        reason=reason,
        charged_mc=charged_mc,
        replayed=replayed,
        seconds=seconds,
        execution_key=None if execution is None else execution.attempt.execution_key,
        model=None if execution is None else execution.model.id,
        action_version=None if execution is None else execution.spec.version,
    )
