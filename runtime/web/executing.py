"""Runs executions for HTTP: whoever disconnects cancels none, and a batch is answered in time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from pricing.errors import CreditgateError
from runtime.actions.request_body import ExecutionBody
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
from runtime.api_keys.keys import ApiKey
from runtime.web.access import account_of
from runtime.web.problems import Problem, invalid_body, of_error
from runtime.web.service import Service

MOST_RUNNING = 4_096
"""Executions that run at once in one process, those of batches included."""

_STARTED_TOGETHER = 8
_BUSY_RETRY_S = 1
_log = logging.getLogger("creditgate.web")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one execution: its HTTP status, and its body in JSON types."""

    status: int
    body: dict[str, Any]
    retry_after_s: int | None = None

    def as_item(self) -> bytes:
        """Return it as JSON, for a batch."""
        return b'{"status":%d,"body":%b}' % (self.status, to_json(self.body))


def request_of(raw: Any, key: ApiKey) -> ExecutionRequest:
    """Return the request that a parsed body asks for.

    Raises:
        Problem: it is not one, or is about an account that is not the key's.
    """
    try:
        body = ExecutionBody.model_validate(raw)
    except ValidationError as exc:
        raise invalid_body(exc) from None
    return body.request_for(account_of(key, body.account_id))


async def execute(service: Service, request: ExecutionRequest) -> Answer:
    """Run an execution; go on with it if the caller is cancelled.

    Raises:
        Problem: too many run.
        CreditgateError: as ``ActionRuntime.execute``.
    """
    _check_room(service, 1)
    task = service.running.create(service.runtime.execute(request))
    return _answer(await asyncio.shield(task))


async def execute_batch(service: Service, key: ApiKey, bodies: Sequence[Any]) -> list[Answer]:
    """Run executions side by side; return their answers in order.

    Takes as long as the longest deadline of them at most: what has not ended by then goes on, and
    is answered as pending.

    Raises:
        Problem: too many run.
    """
    _check_room(service, len(bodies))
    deadline_s = 0.0
    answers: list[Answer | asyncio.Task[Any]] = []
    for number, raw in enumerate(bodies):
        if number % _STARTED_TOGETHER == 0:
            await asyncio.sleep(0)  # others' turn: rendering and counting a thousand prompts
        try:
            request = request_of(raw, key)
            spec = await service.runtime.actions.get(request.account_id, str(request.action))
        except (Problem, CreditgateError) as error:
            answers.append(_of_error(error))
        else:
            deadline_s = max(deadline_s, spec.limits.deadline_ms / 1000)
            answers.append(service.running.create(_answered(service, request)))
    tasks = [each for each in answers if not isinstance(each, Answer)]
    if tasks:
        await asyncio.wait(tasks, timeout=deadline_s)
    return [
        each if isinstance(each, Answer) else _ended(each, raw)
        for each, raw in zip(answers, bodies, strict=True)
    ]


async def _answered(service: Service, request: ExecutionRequest) -> Answer:
    try:
        return _answer(await service.runtime.execute(request))
    except CreditgateError as error:
        return _of_error(error)
    except Exception:  # noqa: BLE001 - a fault in one execution leaves the others their answers
        _log.exception("an execution of a batch failed")
        detail = "It failed by a fault of the service, which is logged."
        return Answer(500, Problem(500, "internal", "A fault of the service", detail).body)


def _ended(task: asyncio.Task[Answer], raw: Any) -> Answer:
    if task.done():
        return task.result()
    return _answer(Pending(raw["execution_id"], _BUSY_RETRY_S * 1000))


def _answer(result: ExecutionResult | Pending) -> Answer:
    if isinstance(result, Pending):
        after_s = max(1, math.ceil(result.retry_after_ms / 1000))
        return Answer(202, result.to_json(), after_s)
    return Answer(200, result.to_json())


def _of_error(error: Exception) -> Answer:
    problem = of_error(error) if isinstance(error, CreditgateError) else error
    if not isinstance(problem, Problem):
        raise error
    return Answer(problem.status, problem.body)


def _check_room(service: Service, wanted: int) -> None:
    if len(service.running) + wanted > MOST_RUNNING:
        raise Problem(
            503,
            "too_many_executions",
            "Too many executions run",
            f"This process runs at most {MOST_RUNNING:,} executions at once. Ask again.",
            headers={"Retry-After": str(_BUSY_RETRY_S)},
        )
