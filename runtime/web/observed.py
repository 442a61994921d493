"""The outermost layer of the app: names each request, and tells observers of it."""

from __future__ import annotations

import os
import re
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.telemetry.requests import (
    CurrentRequest,
    RequestBegan,
    RequestEnded,
    ServiceObserver,
    current_request,
)

_REQUEST_ID = b"x-request-id"
_TRACEPARENT = b"traceparent"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499
_PLAIN = {path: path for path in ("/openapi.json",)}
"""Paths that are no routes of FastAPI's."""
NO_ROUTE = "none"
"""Stands for the route of a request whose path the API does not have."""


class ObservedApp:
    """Gives each request an id, which its answer has too, and tells when it began and ended."""

    def __init__(self, app: ASGIApp, observer: ServiceObserver) -> None:
        self._app = app
        self._observe = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        since_s = perf_counter()
        sent_id, traceparent = _headers(scope)
        request_id = sent_id or os.urandom(8).hex()
        request = CurrentRequest(request_id)
        state = scope.setdefault("state", {})
        status = _CLIENT_GONE

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (_REQUEST_ID, request_id.encode()),
                ]
            await send(message)

        token = current_request.set(request)
        self._observe(RequestBegan(scope["method"], traceparent))
        try:
            await self._app(scope, receive, answer)
        except Exception:
            status = 500
            raise
        finally:
            seconds = perf_counter() - since_s
            route = _route(scope)
            key_id = state.get("key_id")
            self._observe(RequestEnded(scope["method"], route, status, seconds, key_id, request))
            current_request.reset(token)


def _route(scope: Scope) -> str:
    """Return the template of the path, as the OpenAPI document has it."""
    template = getattr(scope.get("route"), "path_format", None)
    return template or _PLAIN.get(scope["path"], NO_ROUTE)


def _headers(scope: Scope) -> tuple[str | None, str | None]:
    """Return the request id that the client sent, if it is well-formed, and its trace."""
    request_id = traceparent = None
    for name, value in scope["headers"]:
        if name == _REQUEST_ID and _WELL_FORMED.fullmatch(value):
            request_id = value.decode()
        elif name == _TRACEPARENT:
            traceparent = value.decode("latin-1")
    return request_id, traceparent
