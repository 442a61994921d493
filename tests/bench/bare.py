"""Bare calls, which the gate is compared with: ``litellm.acompletion``, and aiohttp alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from creditgate import ActionSpec
from providers.base import Message
from providers.http import HttpAnswer, HttpClient
from providers.litellm import loading
from tests.bench.stage import Stage

_SET_BY_AIOHTTP = frozenset(
    (b"accept-encoding", b"connection", b"content-length", b"host", b"transfer-encoding")
)


class LiteLLMCaller:
    """Calls ``litellm.acompletion`` as a careful user of it does, for one action's prompts."""

    def __init__(self, stage: Stage, spec: ActionSpec) -> None:
        # Our own import of it, which keeps it off the internet.
        self._acompletion = loading.load().module.acompletion
        endpoint = stage.endpoint(spec.model)
        self._arguments: dict[str, Any] = {
            "model": stage.config.models[spec.model].litellm_model,
            "max_tokens": spec.limits.max_output_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": spec.json_schema},
            },
            "api_base": endpoint.api_base,
            "api_key": endpoint.api_key or "none",
            "timeout": spec.limits.deadline_ms / 1000,
            "num_retries": 0,
            "max_retries": 0,
        }

    async def call(self, messages: list[Message]) -> str:
        """Return the answer's text."""
        response = await self._acompletion(messages=messages, **self._arguments)
        text = response.choices[0].message.content
        if not text:
            raise RuntimeError("a bare call was not answered")
        return str(text)


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it was handed to our HTTP client."""

    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class RecordingClient(HttpClient):
    """Our HTTP client, which remembers what it sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[SentRequest] = []

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        **options: Any,
    ) -> HttpAnswer:
        """Send the request, and remember it."""
        request = SentRequest(url, tuple(headers), body)
        self.sent.append(request)
        return await super().send(method, url, request.headers, body, **options)


class AiohttpCaller:
    """Sends a recorded request with other texts in place of its own, and reads the answer's bytes.

    Args:
        text: the part of the recorded request that differs from call to call.
    """

    def __init__(self, session: aiohttp.ClientSession, recorded: SentRequest, text: str) -> None:
        self._session = session
        self._url = recorded.url
        self._headers = [
            (name.decode(), value.decode())
            for name, value in recorded.headers
            if name.lower() not in _SET_BY_AIOHTTP
        ]
        self._before, self._after = recorded.body.split(json.dumps(text).encode())

    def body(self, text: str) -> bytes:
        """Return the bytes that are sent with this text."""
        return self._before + json.dumps(text).encode() + self._after

    async def call(self, text: str) -> bytes:
        """Return the answer's bytes."""
        async with self._session.post(
            self._url, headers=self._headers, data=self.body(text)
        ) as response:
            answer = await response.read()
            if response.status != 200:
                raise RuntimeError(f"aiohttp was answered {response.status}")
            return answer


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session that adds as little to a request as ours does."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
    ) as session:
        yield session
