"""Rate limits of keys over HTTP: 429, and the headers that say what is left.

The headers are those of draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

from math import ceil

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.api_keys.rates import KeyRates, Taken
from runtime.web.problems import Problem

_STATE = "key_rate"


def take_turn(request: Request, rates: KeyRates | None, key_id: str) -> None:
    """Count a request of a key, and let its answer say what is left.

    Raises:
        Problem: the key has made too many.
    """
    if rates is None:
        return
    taken = rates.take(key_id)
    request.scope.setdefault("state", {})[_STATE] = (rates.per_second, taken)
    if taken.wait_s:
        raise Problem(
            429,
            "too_many_requests",
            "The key makes too many requests",
            f"This key may make {rates.per_second:,} requests a second of each process. Go on in "
            f"{ceil(taken.wait_s)} s.",
            headers={"Retry-After": str(ceil(taken.wait_s))},
        )


class RateHeaders:
    """Adds ``RateLimit-Policy`` and ``RateLimit`` to answers of requests that were counted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state = scope.get("state", {}).get(_STATE)
                if state is not None:
                    message["headers"] = [*message.get("headers", ()), *_headers(*state)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _headers(per_second: int, taken: Taken) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-policy", b'"key";q=%d;w=1' % per_second),
        (b"ratelimit", b'"key";r=%d;t=%d' % (taken.left, ceil(taken.full_s))),
    ]
