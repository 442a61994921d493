"""Calls a model on both routes, with the same answer for both, and tells how they differ."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Literal

from providers.base import Completion, CompletionRequest, Provider
from providers.direct.provider import DirectProvider
from providers.errors import ProviderError
from providers.http import Headers, HttpAnswer, HttpClient, HttpError
from providers.litellm.adapter import LiteLLMProvider

Route = Literal["direct", "acompletion"]
"""The route that is tested, and the one that says what is right."""


@dataclass(frozen=True, slots=True)
class Failure:
    """All that the rest of the product reads of an error; its wording is left out."""

    error: str
    kind: str | None = None
    status: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None
    content_at_fault: bool = False
    refusal: str | None = None
    provider_text: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it arrived. Headers are sorted, and their names in lower case."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def of(cls, line: str, headers: Iterable[tuple[str, str]], body: bytes) -> Sent:
        """Return a request with its body in one notation; its length depends on the notation."""
        kept = sorted((name.lower(), value) for name, value in headers)
        return cls(
            line,
            tuple(pair for pair in kept if pair[0] != "content-length"),
            _in_one_notation(body),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """What came of a call, and the requests that it made."""

    outcome: Completion | Failure
    sent: tuple[Sent, ...]


async def outcome_of(provider: Provider, request: CompletionRequest) -> Completion | Failure:
    """Return the model's answer, or what is certain where there is none."""
    try:
        return await provider.complete(request)
    except ProviderError as error:
        return Failure(
            type(error).__name__,
            error.kind,
            error.status,
            error.retryable,
            error.retry_after_ms,
            error.content_at_fault,
            error.refusal,
            error.provider_text,
        )
    except Exception as error:  # noqa: BLE001 - both routes must raise the same, whatever it is
        return Failure(f"{type(error).__name__}, which is not a ProviderError")


def difference(direct: Call, acompletion: Call) -> str | None:
    """Return in one line how two calls differ; ``None`` if they are equal."""
    found = [
        f"{name}: {_short(ours)} instead of {_short(theirs)}"
        for name, ours, theirs in (
            ("outcome", direct.outcome, acompletion.outcome),
            ("requests", len(direct.sent), len(acompletion.sent)),
            *(
                (f"sent {part}", getattr(ours, part), getattr(theirs, part))
                for ours, theirs in zip(direct.sent, acompletion.sent, strict=False)
                for part in ("line", "headers", "body")
            ),
        )
        # By repr, too: 1, 1.0 and true are equal, and are not the same count.
        if ours != theirs or repr(ours) != repr(theirs)
    ]
    return "; ".join(found) or None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 900 else f"{text[:450]} ... {text[-450:]}"


def _in_one_notation(body: bytes) -> str:
    """Return JSON with all names in order but those of a schema's properties.

    A model writes its answer in the order of the properties.
    """
    try:
        return json.dumps(_in_order(json.loads(body)))
    except ValueError:
        return repr(body)


def _in_order(value: Any, *, keep: bool = False) -> Any:
    if isinstance(value, list):
        return [_in_order(part) for part in value]
    if not isinstance(value, dict):
        return value
    names = value if keep else sorted(value)
    return {name: _in_order(value[name], keep=name == "properties") for name in names}


class Then(Enum):
    """What a server does with a connection after it has answered."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes with which a server answers, and what it does then.

    ``at_once`` says that it does not wait for the request.
    """

    content: bytes
    then: Then = Then.KEEP
    at_once: bool = False


def reply(
    body: bytes | object,
    status: int = 200,
    *headers: bytes,
    content_type: bytes | None = b"application/json",
) -> Reply:
    """Return a whole answer; a body that is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [b"HTTP/1.1 %d Some Words" % status, *headers]
    if content_type is not None:
        head.append(b"Content-Type: " + content_type)
    if status not in (204, 304):
        head.append(b"Content-Length: %d" % len(content))
    else:
        content = b""
    return Reply(b"\r\n".join(head) + b"\r\n\r\n" + content)


@dataclass
class ReplyServer:
    """A server on loopback that answers each request with the reply that is set."""

    url: str = ""
    reply: Reply = field(default_factory=lambda: reply({}))
    sent: list[Sent] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        headers = [(name, value) for name, _, value in (entry.partition(": ") for entry in lines)]
        if not self.reply.at_once:
            size = next((int(value) for name, value in headers if name == "Content-Length"), 0)
            self.sent.append(Sent.of(line, headers, await reader.readexactly(size)))
        writer.write(self.reply.content)
        await writer.drain()
        if self.reply.then is Then.RESET:
            # A reset at once would also take back what was just written.
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.reply.then is not Then.KEEP:
            raise ConnectionError


@asynccontextmanager
async def reply_server() -> AsyncIterator[ReplyServer]:
    """Serve replies on loopback."""
    server = ReplyServer()
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, limit=2**24)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


class DirectAtOnce(DirectProvider):
    """The direct route, which is taken from the first request of a form on."""

    def __init__(self, http: HttpClient | None = None) -> None:
        super().__init__(http)
        self._goes_directly: dict[str, bool] = {}

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer."""
        await self.learn_once(request)
        return await super().complete(request)

    async def learn_once(self, request: CompletionRequest) -> bool:
        """Return whether requests of this form go directly."""
        form = replace(
            request,
            messages=[message | {"content": ""} for message in request.messages],
            max_output_tokens=0,
        )
        if repr(form) not in self._goes_directly:
            self._goes_directly[repr(form)] = await self.learn(request)
        return self._goes_directly[repr(form)]


RouteProvider = DirectAtOnce | LiteLLMProvider
ROUTES: Mapping[Route, type[RouteProvider]] = {
    "direct": DirectAtOnce,
    "acompletion": LiteLLMProvider,
}


class BothRoutes:
    """Both routes to one server, each over connections of its own."""

    def __init__(self, server: ReplyServer) -> None:
        self._server = server
        self._direct = DirectAtOnce()
        self._providers: dict[Route, RouteProvider] = {
            "direct": self._direct,
            "acompletion": LiteLLMProvider(),
        }

    async def goes_directly(self, request: CompletionRequest) -> bool:
        """Return whether requests of this form take the direct route."""
        return await self._direct.learn_once(request)

    async def compare(self, request: CompletionRequest, answer: Reply) -> str | None:
        """Return how the routes differ, if they do."""
        self._server.reply = answer
        calls: dict[Route, Call] = {}
        for name, provider in self._providers.items():
            self._server.sent.clear()
            outcome = await outcome_of(provider, request)
            calls[name] = Call(outcome, tuple(self._server.sent))
        return difference(**calls)

    async def one_by_one_and_at_once(
        self, requests: list[CompletionRequest], answer: Reply
    ) -> tuple[list[Any], list[Any]]:
        """Return what came of the requests by ``acompletion``, and of all at once directly.

        What was sent is sorted, as it arrives in any order.
        """
        self._server.reply = answer
        found = []
        for name, provider in reversed(self._providers.items()):
            for request in requests:
                # So that all know how to ask before they begin together.
                await outcome_of(provider, request)
            self._server.sent.clear()
            if name == "direct":
                outcomes = await asyncio.gather(*(outcome_of(provider, one) for one in requests))
            else:
                outcomes = [await outcome_of(provider, one) for one in requests]
            sent = sorted(self._server.sent, key=lambda one: one.body)
            found.append(list(zip(outcomes, sent, strict=True)))
        return found[0], found[1]

    async def warm_up(self) -> None:
        """Import LiteLLM."""
        for provider in self._providers.values():
            await provider.warm_up()

    async def aclose(self) -> None:
        """Close the connections."""
        for provider in self._providers.values():
            await provider.aclose()


@asynccontextmanager
async def both_routes() -> AsyncIterator[tuple[BothRoutes, str]]:
    """Give both routes, and the address of the server that they call."""
    async with reply_server() as server:
        routes = BothRoutes(server)
        await routes.warm_up()
        try:
            yield routes, server.url
        finally:
            await routes.aclose()


class CannedHttp(HttpClient):
    """Our HTTP client with an answer in hand, in the place of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: HttpAnswer | HttpError = HttpAnswer(200, (), b"{}")
        self.sent: list[Sent] = []

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        **options: Any,
    ) -> HttpAnswer:
        """Return the answer, or raise it."""
        decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        way = [options[name] for name in ("proxy", "ca_file") if options.get(name)]
        self.sent.append(Sent.of(" ".join([method, url, *way]), decoded, body))
        if isinstance(self.answer, HttpError):
            raise self.answer
        return replace(self.answer)


def http_answer(body: object) -> HttpAnswer:
    """Return a body as an answer with status 200."""
    return HttpAnswer(200, ((b"Content-Type", b"application/json"),), json.dumps(body).encode())


class BothRoutesInHand:
    """Both routes without a network: a call costs what the route itself costs."""

    def __init__(self) -> None:
        self._clients: dict[Route, CannedHttp] = {name: CannedHttp() for name in ROUTES}
        self._direct = DirectAtOnce(self._clients["direct"])
        self._acompletion = LiteLLMProvider(self._clients["acompletion"])

    async def warm_up(self) -> None:
        """Import LiteLLM."""
        await self._acompletion.warm_up()

    async def goes_directly(self, request: CompletionRequest) -> bool:
        """Return whether requests of this form take the direct route."""
        return await self._direct.learn_once(request)

    async def calls(
        self, request: CompletionRequest, answer: HttpAnswer | HttpError
    ) -> dict[Route, Call]:
        """Call the model on both routes."""
        providers: dict[Route, Provider] = {
            "direct": self._direct,
            "acompletion": self._acompletion,
        }
        calls: dict[Route, Call] = {}
        for name, provider in providers.items():
            client = self._clients[name]
            client.answer = answer
            client.sent.clear()
            outcome = await outcome_of(provider, request)
            calls[name] = Call(outcome, tuple(client.sent))
        return calls

    async def compare(
        self, request: CompletionRequest, status: int, headers: Headers, body: bytes
    ) -> str | None:
        """Return how the routes differ, if they do."""
        return difference(**await self.calls(request, HttpAnswer(status, headers, body)))
