"""The way out of LiteLLM: the requests that it makes for a call of ours, sent by our own client.

Imported with LiteLLM, which brings httpx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx

from providers.http import Headers, HttpAnswer, HttpClient, HttpError
from providers.litellm.answers import MAX_ERROR_BYTES, prepared, status_of

_SENT = frozenset(
    (
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"api-key",
        b"authorization",
        b"content-type",
        b"x-api-key",
        b"x-goog-api-key",
    )
)
"""The headers that providers need. LiteLLM and OpenAI's SDK would send more, some of them from the
environment."""

_SENT_TO_AZURE = _SENT - {b"authorization"}
"""Beside the key, OpenAI's client for Azure sends an admin's that it finds in the environment."""


class RequestRefused(Exception):
    """A request that LiteLLM must not make: a second one, or one to another host."""


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as our client is given it. ``repr`` shows neither the key nor the prompt."""

    method: str
    url: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True)
class Exchange:
    """The request and the answer of one call.

    ``begun`` says that the request was handed to the client; then there is an ``answer``, an
    ``error``, or neither where the call was cancelled.

    Args:
        given: the answer, if there is one before the call: nothing is sent then.
    """

    address: httpx.URL
    proxy: str | None = None
    ca_file: str | None = None
    given: HttpAnswer | None = None
    begun: bool = False
    request: SentRequest | None = None
    answer: HttpAnswer | None = None
    error: HttpError | None = None


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Make this the exchange of the current task, and of what it starts."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def is_ours() -> bool:
    """Return whether this task, or thread, works on a call of ours."""
    return _current.get() is not None


class OurTransport(httpx.AsyncBaseTransport):
    """Sends the requests of the current exchange: one, to its host, with the headers it needs."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the whole answer.

        Raises:
            RequestRefused: nothing was sent by this request.
            HttpError: as ``HttpClient.send`` has it.
            UnreadableAnswer: the answer has no form that LiteLLM may be given.
        """
        exchange = _current.get()
        if exchange is None or exchange.begun or not _same_host(request.url, exchange.address):
            raise RequestRefused
        sent = _SENT_TO_AZURE if "api-key" in request.headers else _SENT
        headers = [header for header in request.headers.raw if header[0].lower() in sent]
        if "content-type" not in request.headers:
            headers.append((b"Content-Type", b"application/json"))
        headers.append((b"User-Agent", b"creditgate"))
        body = await request.aread()
        exchange.begun = True
        exchange.request = SentRequest(request.method, str(request.url), tuple(headers), body)
        answer = exchange.given or await self._send(exchange, exchange.request)
        if answer.status == httpx.codes.OK:
            answer = HttpAnswer(status_of(answer.body), answer.headers, answer.body)
        succeeded = 200 <= answer.status < 300
        if not succeeded and len(answer.body) > MAX_ERROR_BYTES:
            answer = HttpAnswer(answer.status, answer.headers, b"")
        exchange.answer = answer
        content = prepared(answer.body) if succeeded else answer.body
        return httpx.Response(
            answer.status, headers=list(answer.headers), content=content, request=request
        )

    async def _send(self, exchange: Exchange, request: SentRequest) -> HttpAnswer:
        try:
            return await self._client.send(
                request.method,
                request.url,
                request.headers,
                request.body,
                proxy=exchange.proxy,
                ca_file=exchange.ca_file,
            )
        except HttpError as error:
            exchange.error = error
            raise


def _same_host(url: httpx.URL, other: httpx.URL) -> bool:
    return (url.scheme, url.host, url.port) == (other.scheme, other.host, other.port)


def refuse_other_ways(*senders: tuple[Any, str]) -> None:
    """Make methods that send requests refuse those of our calls; the host's go on as they did.

    Args:
        senders: classes with the name of the method, a coroutine function or not.
    """
    for owner, name in senders:
        setattr(owner, name, _unless_ours(getattr(owner, name)))


def _unless_ours(send: Callable[..., Any]) -> Callable[..., Any]:
    def send_unless_ours(*args: Any, **kwargs: Any) -> Any:
        if is_ours():
            raise RequestRefused
        return send(*args, **kwargs)

    return send_unless_ours


def without_environment(get_secret: Callable[..., Any]) -> Callable[..., Any]:
    """Return LiteLLM's reader of the environment, which finds nothing for our calls."""

    def get_secret_unless_ours(secret_name: str, default_value: Any = None, **more: Any) -> Any:
        if is_ours():
            return default_value
        return get_secret(secret_name, default_value, **more)

    return get_secret_unless_ours
