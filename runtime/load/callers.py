"""Runs one execution of a load: in this process, or by a service over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from runtime.actions.requests import ExecutionRequest, Pending
from runtime.bootstrap import open_runtime
from runtime.config import load_config
from runtime.load.tally import Outcome, Status

_DEADLINE_S = 90.0
_CONNECTIONS = 4_096


class Caller(Protocol):
    """Runs executions."""

    async def __call__(self, request: ExecutionRequest) -> Outcome:
        """Run one and return its end; what fails is an outcome too."""
        ...


@asynccontextmanager
async def open_runtime_caller(
    config_path: Path, redis_config: Path | None, key_prefix: str
) -> AsyncIterator[Caller]:
    """Open a runtime on the load's config.

    Args:
        redis_config: the config whose ``redis`` section says where the ledger is; without one, the
            load's own embedded server.
    """
    config = load_config(config_path)
    if redis_config is not None:
        redis = load_config(redis_config).redis.model_copy(update={"key_prefix": key_prefix})
        config = config.model_copy(update={"redis": redis})
    async with open_runtime(config) as runtime:

        async def call(request: ExecutionRequest) -> Outcome:
            result = await runtime.execute(request)
            if isinstance(result, Pending):
                return Outcome("pending")
            reasons = {str(one.reason) for one in result.origins.values() if one.reason}
            return Outcome(result.status, result.charged_mc, frozenset(reasons))

        yield call


@asynccontextmanager
async def open_service_caller(url: str, key: str) -> AsyncIterator[Caller]:
    """Open a client of a service."""
    limit = aiohttp.TCPConnector(limit=_CONNECTIONS)
    async with aiohttp.ClientSession(
        connector=limit,
        timeout=aiohttp.ClientTimeout(total=_DEADLINE_S),
        headers={"Authorization": f"Bearer {key}"},
    ) as session:

        async def call(request: ExecutionRequest) -> Outcome:
            body = {
                "execution_id": request.execution_id,
                "account_id": request.account_id,
                "workspace_id": request.workspace_id,
                "campaign_id": request.campaign_id,
                "person_id": request.person_id,
                "action": request.action,
                "data": request.data,
            }
            try:
                async with session.post(
                    f"{url}/v1/executions", json=body, allow_redirects=False
                ) as answer:
                    if answer.status == 200:
                        return _outcome(await answer.json())
                    if answer.status == 202:
                        return Outcome("pending")
                    return Outcome("failed", None, frozenset({f"http_{answer.status}"}))
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
                return Outcome("failed", None, frozenset({type(error).__name__}))

        yield call


def _outcome(found: dict[str, Any]) -> Outcome:
    status: Status = found["status"]
    reasons = {one["reason"] for one in found["origins"].values() if one["reason"]}
    return Outcome(status, int(found["charged_mc"]), frozenset(reasons))
