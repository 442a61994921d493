"""A process that executes until it is ended, and writes down what its callers received."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from creditgate import ActionRuntime, ExecutionResult, LedgerUnavailable, open_runtime
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, PossiblyExecuted, Rejected
from runtime.credits.memory import Memory
from tests.drills.plan import Lines, Plan, lines_of

_SLOWEST_CALL_S = 0.03
_NOT_KEPT_PAUSE_S = 0.05


class StandIn:
    """A provider in the process itself: quick, at times slow, and at times it fails.

    ``on_answer`` is called with the tokens of each call that it answers.
    """

    def __init__(
        self, faults: float, chance: random.Random, on_answer: Callable[[TokenUsage], None]
    ) -> None:
        self._faults = faults
        self._chance = chance
        self._on_answer = on_answer

    async def complete(self, request: CompletionRequest) -> Completion:
        chance = self._chance
        slow = chance.random() < 0.01
        await asyncio.sleep(chance.random() * (1.0 if slow else _SLOWEST_CALL_S))
        usage = TokenUsage(chance.randint(20, 60), chance.randint(5, 40))
        text = json.dumps({"intent": "card", "score": chance.randint(0, 10), "reply": "Soon."})
        if chance.random() < self._faults:
            match chance.randrange(3):
                case 0:
                    raise Rejected(FailureKind.REJECTED, "no", status=400, retryable=False)
                case 1:
                    raise PossiblyExecuted(FailureKind.ERROR, "broken off", retryable=False)
                case _:
                    text = "no JSON"
        self._on_answer(usage)
        return Completion(text, FinishReason.STOP, usage)

    async def aclose(self) -> None:
        pass


def run(plan_text: str, number: int) -> None:
    """Be a worker: the entry of the process."""
    plan = Plan.from_json(plan_text)
    begin(plan.errors(number))
    _note_what_is_told(Lines(plan.told(number)))
    asyncio.run(_Worker(plan, number).run())


def begin(errors: Path) -> None:
    """Begin a process of a drill: it ends with its parent, and writes its errors to a file."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 2)
    os.dup2(handle, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)


def _note_what_is_told(lines: Lines) -> None:
    """Write down what this process is told, before anybody hears the answers it came with."""
    note = Memory.note

    def noting(memory: Memory, account_id: str, told: bytes) -> None:
        before = memory.of(account_id)
        note(memory, account_id, told)
        if told and told != before:
            lines.write(account_id, told.decode())

    setattr(Memory, "note", noting)  # noqa: B010 - mypy refuses a plain assignment


class _Worker:
    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._number = number
        self._chance = random.Random()
        acknowledged = {line[0] for line in lines_of(plan.results(number))}
        self._next = max(acknowledged, default=-1) + 1
        # What was under way as the process before this one died is delivered again.
        self._again = [one for one in range(self._next) if one not in acknowledged]
        self._lines = Lines(plan.results(number))
        self._calls = Lines(plan.calls(number))
        self._end = asyncio.Event()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end.set)
        config = self._plan.config()
        while not self._end.is_set():
            try:
                provider = StandIn(self._plan.faults, self._chance, self._note_call)
                async with open_runtime(config, provider=provider) as runtime:
                    await asyncio.gather(
                        *(self._execute_all(runtime) for _ in range(self._plan.at_once))
                    )
            except LedgerUnavailable:
                await asyncio.sleep(0.1)

    def _note_call(self, usage: TokenUsage) -> None:
        self._calls.write(usage.input_tokens, usage.output_tokens)

    async def _execute_all(self, runtime: ActionRuntime) -> None:
        while not self._end.is_set():
            await self._execute(runtime, self._deliver())

    def _deliver(self) -> int:
        if self._again:
            return self._again.pop()
        self._next += 1
        return self._next - 1

    async def _execute(self, runtime: ActionRuntime, number: int) -> None:
        request = self._plan.request(self._number, number)
        result: Any = await runtime.execute(request)
        if not isinstance(result, ExecutionResult):
            self._again.insert(0, number)
            await asyncio.sleep(min(0.2, result.retry_after_ms / 1000))
            return
        reasons = sorted({str(one.reason) for one in result.origins.values() if one.reason})
        self._lines.write(
            number,
            request.account_id,
            request.execution_id,
            result.status,
            result.charged_mc,
            result.kept,
            reasons,
        )
        if not result.kept:  # nothing runs just now; a queue would wait, too
            await asyncio.sleep(_NOT_KEPT_PAUSE_S)
