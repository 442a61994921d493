"""Answers ``POST /v1/executions`` without FastAPI's routing and dependencies.

They take more than half of what HTTP costs an execution. The route itself, its document and its
answers are those of ``routes.executions``.
"""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pricing.errors import CreditgateError
from runtime.web.access import may_execute
from runtime.web.problems import Problem, of_error
from runtime.web.routes.executions import QUICK_PATH, run_execution
from runtime.web.service import Service


class _Route:
    """The part of a route that observers read."""

    path_format = QUICK_PATH


_ROUTE = _Route()


class QuickExecutions:
    """Answers that one request, and passes on all others."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as ASGI has it."""
        if (
            scope["type"] != "http"
            or scope["path"] != QUICK_PATH
            or scope["method"] != "POST"
            or scope.get("root_path")
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        request = Request(scope, receive)
        try:
            key = await may_execute(request, self._service, None)
            response = await run_execution(request, key, self._service)
        except Problem as problem:
            response = problem.response()
        except CreditgateError as error:
            expected = of_error(error)
            if expected is None:
                raise
            response = expected.response()
        await response(scope, receive, send)
