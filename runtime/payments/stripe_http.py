"""The way of Stripe's library to the network: our one HTTP client, which follows no redirect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

import stripe

from providers.http import HttpClient, HttpError

TIMEOUT_S = 20.0
"""The longest that one request may take. Stripe itself gives up on a charge after some 60 s; the
same idempotency key then tells what became of it."""

_ADDED = frozenset(("host", "content-length", "connection", "accept-encoding", "transfer-encoding"))


class OneHost(stripe.HTTPClient):
    """Sends each request once, to the host that it names, whatever the environment says."""

    name = "creditgate"

    def __init__(self) -> None:
        super().__init__()
        self._http = HttpClient()

    def request(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse requests that would block the event loop."""
        raise NotImplementedError("requests are asynchronous here")

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send a request; return the answer's body, status and headers.

        Raises:
            stripe.APIConnectionError: there is no answer, or not within ``TIMEOUT_S``.
        """
        pairs = [
            (name.encode(), str(value).encode("latin-1", "replace"))
            for name, value in headers.items()
            if name.lower() not in _ADDED
        ]
        body = post_data.encode() if isinstance(post_data, str) else post_data or b""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._http.send(method.upper(), url, pairs, body)
        except (HttpError, TimeoutError) as exc:
            fault = str(exc) or "no answer in time"
            # Stripe does not type its errors.
            raise stripe.APIConnectionError(fault) from exc  # type: ignore[no-untyped-call]
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return answer.body, answer.status, {name.lower(): value for name, value in found.items()}

    async def sleep_async(self, secs: float) -> None:
        """Wait before another try; nothing is tried again here."""
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        await self._http.aclose()
