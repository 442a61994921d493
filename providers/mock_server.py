"""An HTTP server that stands in for model providers, for load tests, demos and tests.

It speaks OpenAI's chat completions, counts the tokens of each request as OpenAI does, and fails
in every way that providers fail in. Other wire formats are added to ``WIRE_FORMATS``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import signal
import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web

from providers.mock_answers import Answer, Asked, MockModel
from providers.mock_openai import OPENAI, render_models
from providers.mock_options import (
    Failure,
    MockOptions,
    Scenario,
    ScenarioError,
    Transport,
    UsageKind,
    parse_scenario,
)
from providers.mock_wire import UnreadableRequest, WireFormat

__all__ = ["MockOptions", "MockServer", "main_loop", "start"]

WIRE_FORMATS: tuple[WireFormat, ...] = (OPENAI,)

SCENARIO_HEADER = "x-mock-scenario"
_MODEL_SEPARATOR = "#"
_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_REQUESTS_REMEMBERED = 50_000
_DRIP_INTERVAL_S = 0.05
_BACKLOG = 4096
"""Load tests open thousands of connections at once; the system's default drops them."""


class MockServer:
    """A running mock provider.

    ``url`` has no path: OpenAI clients want ``url + "/v1"`` as their base.
    """

    def __init__(self, options: MockOptions) -> None:
        self._options = options
        self._model = MockModel(options)
        self._default_scenario = parse_scenario(options.scenario) if options.scenario else None
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._books = _Books()
        self.url = ""

    async def open(self) -> None:
        """Start to listen.

        Raises:
            OSError: the address can't be listened on.
        """
        # Half a second of work: other servers and clients on this loop go on meanwhile.
        await asyncio.to_thread(self._model.warm_up)
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        for wire in WIRE_FORMATS:
            for path in wire.paths:
                app.router.add_post(path, self._handler(wire))
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        # Handlers that wait must hear that their client went away, or the shutdown.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.25
        )
        await self._runner.setup()
        try:
            site = web.TCPSite(
                self._runner, self._options.host, self._options.port, backlog=_BACKLOG
            )
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def stats(self) -> dict[str, Any]:
        """Return what happened so far: requests, outcomes, models, tokens.

        ``tokens`` are those that answers reported; ``unreported_tokens`` were used too, but the
        answer named none, or its client was gone before it came.
        """
        return self._books.as_json()

    async def aclose(self) -> None:
        """Stop to listen and end every open request."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return _json_response(render_models())

    async def _health(self, request: web.Request) -> web.Response:
        return _json_response({"status": "ok"})

    async def _stats(self, request: web.Request) -> web.Response:
        return _json_response(self.stats())

    def _handler(self, wire: WireFormat) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            with self._books.request():
                return await self._answer(wire, request)

        return handle

    async def _answer(self, wire: WireFormat, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return self._fail(wire, Failure(401), "Incorrect API key provided.")
        try:
            asked = wire.read(await request.read())
            asked, directed = self._directed(request, asked)
        except (UnreadableRequest, ScenarioError) as wrong:
            return self._fail(wire, Failure(400), str(wrong))
        self._books.models[asked.model] += 1

        digest = asked.digest(self._options.seed)
        visit = self._count_visit(digest)
        # Answers depend on the request alone; what goes wrong also on how often it has come, or
        # a retry could never help.
        chance = random.Random(digest + visit.to_bytes(8, "big"))  # noqa: S311 - no secret
        scenario = self._options.draw(chance)
        latency_ms = self._options.draw_latency_ms(chance)
        if directed is not None and (directed.times is None or visit <= directed.times):
            scenario = directed
        if scenario.delay_ms is not None:
            latency_ms = scenario.delay_ms

        if scenario.transport is not None:
            return await self._break_transport(scenario.transport, request)
        if scenario.failure is not None:
            await _wait(latency_ms)
            return self._fail(wire, scenario.failure)
        answer = self._model.answer(asked, scenario)
        try:
            await _wait(latency_ms)
        except asyncio.CancelledError:
            self._books.abandoned(answer)
            raise
        self._books.answered(answer)
        return _json_response(wire.render(asked, answer, digest.hex()))

    def _authorized(self, request: web.Request) -> bool:
        if self._options.api_key is None:
            return True
        expected = f"Bearer {self._options.api_key}".encode()
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, expected)

    def _directed(self, request: web.Request, asked: Asked) -> tuple[Asked, Scenario | None]:
        """Return the request under its model's plain name, and the scenario that it brings."""
        model, separator, suffix = asked.model.partition(_MODEL_SEPARATOR)
        text = request.headers.get(SCENARIO_HEADER, suffix)
        asked = replace(asked, model=model) if separator else asked
        return asked, parse_scenario(text) if text else self._default_scenario

    def _count_visit(self, digest: bytes) -> int:
        visit = self._seen.pop(digest, 0) + 1
        self._seen[digest] = visit
        if len(self._seen) > _MAX_REQUESTS_REMEMBERED:
            self._seen.popitem(last=False)
        return visit

    def _fail(self, wire: WireFormat, failure: Failure, message: str | None = None) -> web.Response:
        self._books.outcomes[failure.word or f"status_{failure.status}"] += 1
        headers = {}
        if failure.retry_after_s is not None:
            headers["Retry-After"] = f"{failure.retry_after_s:g}"
        return _json_response(wire.render_failure(failure, message), failure.status, headers)

    async def _break_transport(self, kind: Transport, request: web.Request) -> web.StreamResponse:
        self._books.outcomes[kind] += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if kind is Transport.DRIP:
            await response.prepare(request)
            while not self._closing.is_set():
                # JSON may begin with any number of spaces, so the client sees nothing wrong.
                await response.write(b" ")
                await asyncio.sleep(_DRIP_INTERVAL_S)
        elif kind is Transport.HANG:
            await self._closing.wait()
        _reset(request)
        return response


class _Books:
    """What the server counts."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.tokens = Counter(input=0, cached_input=0, output=0, reasoning=0)
        self.unreported_tokens = Counter(input=0, cached_input=0, output=0, reasoning=0)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it runs."""
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def answered(self, answer: Answer) -> None:
        """Count an answer that was sent."""
        self.outcomes[answer.kind] += 1
        reported = answer.usage is UsageKind.REPORTED
        self._add(self.tokens if reported else self.unreported_tokens, answer)

    def abandoned(self, answer: Answer) -> None:
        """Count an answer whose client did not wait for it: a provider bills it all the same."""
        self.outcomes["abandoned"] += 1
        self._add(self.unreported_tokens, answer)

    def as_json(self) -> dict[str, Any]:
        """Return all counts as plain JSON types."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "outcomes": {str(word): count for word, count in sorted(self.outcomes.items())},
            "models": dict(sorted(self.models.items())),
            "tokens": dict(self.tokens),
            "unreported_tokens": dict(self.unreported_tokens),
        }

    @staticmethod
    def _add(tokens: Counter[str], answer: Answer) -> None:
        tokens["input"] += answer.input_tokens
        tokens["cached_input"] += answer.cached_tokens
        tokens["output"] += answer.output_tokens
        tokens["reasoning"] += answer.reasoning_tokens


async def start(options: MockOptions) -> MockServer:
    """Start a mock provider on the running loop; the caller closes it with ``aclose()``.

    Raises:
        OSError: the address can't be listened on.
    """
    server = MockServer(options)
    await server.open()
    return server


def main_loop(options: MockOptions, announce: Callable[[str], None]) -> None:
    """Run a mock provider until SIGINT or SIGTERM; ``announce`` gets its URL once it listens.

    Raises:
        OSError: the address can't be listened on.
    """
    asyncio.run(_serve_until_signal(options, announce))


async def _serve_until_signal(options: MockOptions, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await start(options)
    try:
        announce(server.url)
        await stop.wait()
    finally:
        await server.aclose()


async def _wait(latency_ms: float) -> None:
    if latency_ms > 0:
        await asyncio.sleep(latency_ms / 1000)


def _json_response(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return web.Response(
        body=content, status=status, headers=headers, content_type="application/json"
    )


def _reset(request: web.Request) -> None:
    """Close the connection at once, with a TCP reset rather than an orderly end."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
