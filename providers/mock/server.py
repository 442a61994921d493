"""An HTTP server that stands in for model providers, for load tests, demos and tests.

It speaks OpenAI's chat completions, Anthropic's messages and Gemini's generateContent. It counts
the tokens of each request as OpenAI does, and can fail in every way that providers fail. To add a
wire format, append it to ``WIRE_FORMATS``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import signal
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web

from providers.mock.answers import Answer, Asked, MockModel
from providers.mock.anthropic import ANTHROPIC
from providers.mock.gemini import GEMINI
from providers.mock.hostile import HONEST, Hostility, spoil
from providers.mock.hostile_responses import ELSEWHERE_PATH, redirect, respond
from providers.mock.openai import OPENAI, render_models
from providers.mock.options import (
    AnswerKind,
    Failure,
    MockOptions,
    Scenario,
    ScenarioError,
    Transport,
    UsageKind,
    parse_scenario,
)
from providers.mock.transport import break_transport, reset
from providers.mock.wire import UnreadableRequest, WireFormat

__all__ = ["MockOptions", "MockServer", "main_loop", "start"]

WIRE_FORMATS: tuple[WireFormat, ...] = (OPENAI, ANTHROPIC, GEMINI)

SCHEMA_REFUSED = "This response_format type is unavailable now: use json_object."
SCENARIO_HEADER = "x-mock-scenario"
_SCENARIO_PATH = "/scenario/{scenario}"
_MODEL_SEPARATOR = "#"
_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_REQUESTS_REMEMBERED = 50_000
_BACKLOG = 4096
"""Load tests open thousands of connections at once; the system's default drops them."""


class MockServer:
    """A running mock provider.

    ``url`` has no path. Use ``url + "/v1"`` as the base for OpenAI clients, and ``url`` itself for
    LiteLLM's Anthropic and Gemini. With ``url + "/scenario/" + text`` instead of ``url``, the text
    is the scenario of each request.
    """

    def __init__(self, options: MockOptions) -> None:
        self._options = options
        self._model = MockModel(options)
        self.play(options.scenario)
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._books = _Books()
        self.url = ""

    async def open(self) -> None:
        """Start listening.

        Raises:
            OSError: the address can't be listened on.
        """
        # Half a second of work, in a thread so that the loop goes on.
        await asyncio.to_thread(self._model.warm_up)
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        for wire in WIRE_FORMATS:
            for path in wire.paths:
                app.router.add_post(path, self._handler(wire))
                app.router.add_post(_SCENARIO_PATH + path, self._handler(wire))
        app.router.add_route("*", ELSEWHERE_PATH + "{path:.*}", self._elsewhere)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        # Cancel waiting handlers when their client disconnects or the server shuts down.
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
        """Return the counts so far: requests, outcomes, models, model runs, tokens.

        ``elsewhere`` counts the requests that followed a redirect of a scenario.
        ``tokens`` counts what answers reported. ``unreported_tokens`` counts what was used without
        being reported, because the answer had no usage or did not arrive whole. ``model_runs``
        counts both kinds, since a provider bills both.
        """
        return self._books.as_json()

    def play(self, scenario: str | None) -> None:
        """Set the scenario of all requests from now on that name none themselves.

        Args:
            scenario: see ``parse_scenario``; ``None`` draws one by the rates of the options.

        Raises:
            ScenarioError: the scenario can't be read.
        """
        self._default_scenario = parse_scenario(scenario) if scenario else None

    async def aclose(self) -> None:
        """Stop listening and end every open request."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return _json_response(render_models())

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self._books.elsewhere += 1
        return _json_response({})

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
        if not self._authorized(wire, request):
            return self._fail(wire, Failure(401), "Incorrect API key provided.")
        try:
            directed = self._directed(request)
            before_reading = directed or self._default_scenario
            if before_reading and before_reading.transport is Transport.RESET_EARLY:
                self._books.outcomes[Transport.RESET_EARLY] += 1
                return reset(request)
            asked = wire.read(await request.read())
            asked, by_model = _without_scenario(request.match_info, asked)
            directed = directed or by_model or self._default_scenario
        except (UnreadableRequest, ScenarioError) as wrong:
            return self._fail(wire, Failure(400), str(wrong))
        self._books.models[asked.model] += 1

        digest = asked.digest(self._options.seed)
        visit = self._count_visit(digest)
        # Answers depend on the request alone. Failures also depend on how often it has come:
        # otherwise a retry could never help.
        chance = random.Random(digest + visit.to_bytes(8, "big"))  # noqa: S311 - no secret
        scenario = self._options.draw(chance)
        latency_ms = self._options.draw_latency_ms(chance)
        if directed is not None and (directed.times is None or visit <= directed.times):
            scenario = directed
        if scenario.delay_ms is not None:
            latency_ms = scenario.delay_ms
        return await self._play(wire, request, asked, _as_told_by(wire, scenario), latency_ms)

    async def _play(
        self,
        wire: WireFormat,
        request: web.Request,
        asked: Asked,
        scenario: Scenario,
        latency_ms: float,
    ) -> web.StreamResponse:
        failure, hostile = scenario.failure, scenario.hostile
        if hostile.redirect is not None:
            self._books.outcomes[f"redirect_{hostile.redirect}"] += 1
            return redirect(request, int(hostile.redirect))
        if scenario.refuses_schema and asked.sends_schema:
            return self._fail(wire, Failure(400), SCHEMA_REFUSED)
        if scenario.transport is None and failure is not None and not failure.ran:
            await _wait(latency_ms)
            return self._fail(wire, failure)
        answer = self._model.answer(asked, scenario)
        body = wire.render(asked, answer, asked.digest(self._options.seed).hex())
        if scenario.transport is not None:
            self._books.lost(scenario.transport, answer)
            return await break_transport(scenario.transport, request, body, self._closing)
        try:
            await _wait(latency_ms)
        except asyncio.CancelledError:
            self._books.lost("abandoned", answer)
            raise
        if failure is not None:
            self._books.ran_for_nothing(answer)
            return self._fail(wire, failure)
        if hostile == HONEST:
            self._books.answered(answer)
            return _json_response(body)
        return await self._play_hostile(hostile, request, answer, body)

    async def _play_hostile(
        self, hostile: Hostility, request: web.Request, answer: Answer, body: dict[str, Any]
    ) -> web.StreamResponse:
        if hostile.error in (None, "finish") or Failure(int(hostile.error)).ran:
            self._books.lost(hostile.name, answer)
        else:
            self._books.outcomes[hostile.name] += 1
        body = spoil(hostile, body)
        if hostile.body is None:
            return _json_response(body)
        return await respond(hostile.body, request, body, self._closing)

    def _authorized(self, wire: WireFormat, request: web.Request) -> bool:
        if self._options.api_key is None:
            return True
        expected = f"{wire.key_prefix}{self._options.api_key}".encode()
        given = request.headers.get(wire.key_header, "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, expected)

    def _directed(self, request: web.Request) -> Scenario | None:
        """Return the scenario that the request's header or address names."""
        text = request.headers.get(SCENARIO_HEADER) or request.match_info.get("scenario")
        return parse_scenario(text) if text else None

    def _count_visit(self, digest: bytes) -> int:
        visit = self._seen.pop(digest, 0) + 1
        self._seen[digest] = visit
        if len(self._seen) > _MAX_REQUESTS_REMEMBERED:
            self._seen.popitem(last=False)
        return visit

    def _fail(self, wire: WireFormat, failure: Failure, message: str | None = None) -> web.Response:
        self._books.outcomes[failure.word or f"status_{failure.status}"] += 1
        headers = {}
        if failure.retry_after is not None and wire.sends_retry_after:
            headers["Retry-After"] = failure.retry_after
        return _json_response(wire.render_failure(failure, message), failure.status, headers)


class _Books:
    """The counts of a server."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.elsewhere = 0
        self.outcomes: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.model_runs = 0
        self.tokens = _no_tokens()
        self.unreported_tokens = _no_tokens()

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
        reported = answer.usage in (UsageKind.REPORTED, UsageKind.XAI)
        self._ran(answer, self.tokens if reported else self.unreported_tokens)

    def lost(self, outcome: str, answer: Answer) -> None:
        """Count an answer that did not arrive whole; a provider bills it too."""
        self.outcomes[outcome] += 1
        self.ran_for_nothing(answer)

    def ran_for_nothing(self, answer: Answer) -> None:
        """Count a run of the model that gave no answer."""
        self._ran(answer, self.unreported_tokens)

    def as_json(self) -> dict[str, Any]:
        """Return all counts as plain JSON types."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "elsewhere": self.elsewhere,
            "outcomes": {str(word): count for word, count in sorted(self.outcomes.items())},
            "models": dict(sorted(self.models.items())),
            "model_runs": self.model_runs,
            "tokens": dict(self.tokens),
            "unreported_tokens": dict(self.unreported_tokens),
        }

    def _ran(self, answer: Answer, tokens: Counter[str]) -> None:
        self.model_runs += 1
        tokens["input"] += answer.input_tokens
        tokens["cached_input"] += answer.cached_tokens
        tokens["cache_write"] += answer.cache_write_tokens
        tokens["output"] += answer.output_tokens
        tokens["reasoning"] += answer.reasoning_tokens


def _no_tokens() -> Counter[str]:
    return Counter(input=0, cached_input=0, cache_write=0, output=0, reasoning=0)


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


def _without_scenario(path: Mapping[str, str], asked: Asked) -> tuple[Asked, Scenario | None]:
    """Split a scenario off the model's name; return the request without it, and the scenario."""
    model, separator, text = (asked.model or path.get("model", "")).partition(_MODEL_SEPARATOR)
    if not separator:
        return replace(asked, model=model), None
    scenario = parse_scenario(text) if text else None
    if scenario and scenario.transport is Transport.RESET_EARLY:
        raise ScenarioError(
            "scenario: found 'reset_early' in a model's name, which is read too late; allowed "
            "are header, address and option"
        )
    return replace(asked, model=model), scenario


def _as_told_by(wire: WireFormat, scenario: Scenario) -> Scenario:
    """Return the scenario as this provider would express it."""
    failure = scenario.failure
    told = wire.failures.get(failure.word or "") if failure is not None else None
    if isinstance(told, AnswerKind):
        return replace(scenario, failure=None, answer=told)
    return scenario if told is None else replace(scenario, failure=told)


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
