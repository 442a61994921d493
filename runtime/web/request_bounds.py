"""Bounds of every request, whichever its route: head, body, content type, JSON.

A body is read once, as a whole, before its route begins; routes can have it parsed by
``parsed_json``. What breaks a bound is answered here, and no route is asked.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.web.bodies import problems
from runtime.web.problems import Problem, shown

MAX_HEADER_BYTES = 16 * 1024
"""All header fields of a request together, names and values."""

MAX_TARGET_BYTES = 8 * 1024
"""Path and query of a request, as they are sent."""

BODY_S = 30.0
"""The longest that a body may take to arrive."""

MAX_HELD_BYTES = 256 * 1024 * 1024
"""The bodies of all requests that are under way in a process, together."""

MAX_DEPTH = 200
"""Levels of nesting in a body, as pydantic's parser has them."""


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """The largest body of a route.

    Args:
        size: bytes.
        parts: commas and opening brackets, which no body has fewer of than values.
    """

    size: int
    parts: int


USUAL = BodyBounds(1024 * 1024, 20_000)
LARGE = BodyBounds(5 * 1024 * 1024, 20_000)
"""For drafts with their samples."""
BATCH = BodyBounds(5 * 1024 * 1024, 60_000)
"""A thousand executions; such a body is parsed here alone, and looked at one by one."""
_BOUNDS_OF_PATHS = {
    "/v1/executions:batch": BATCH,
    "/v1/previews": LARGE,
    "/v1/estimates": LARGE,
}

_WITH_BODY = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_KEY = "creditgate.json"

NDJSON = "application/x-ndjson"
CSV = "text/csv"
_NDJSON_TYPES = (NDJSON, "application/jsonl", "application/ndjson")
_PEOPLE = "creditgate.people"
_IS_STREAMED = re.compile(r"/v1/campaigns/[^/:]+/people").fullmatch
"""Paths whose bodies are read by their route, as they arrive, within bounds of its own."""


class RequestBounds:
    """Answers requests that break a bound, and passes on all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection or request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            fields = _check_head(scope)
            if scope["method"] == "POST" and _IS_STREAMED(scope["path"]):
                scope[_PEOPLE] = fields
                body = None
            else:
                body = await self._body(scope, receive, fields)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        except ConnectionError:
            return
        if body is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._held -= len(body)

    async def _body(
        self, scope: Scope, receive: Receive, fields: dict[bytes, bytes]
    ) -> bytes | None:
        """Read and check the body; ``None`` if there is none. What it holds counts until the end.

        Raises:
            Problem: it breaks a bound.
            ConnectionError: the client has gone.
        """
        length = fields.get(b"content-length", b"0")
        if scope["method"] not in _WITH_BODY or (
            length == b"0" and b"transfer-encoding" not in fields
        ):
            return None
        _check_type(fields)
        bounds = _BOUNDS_OF_PATHS.get(scope["path"], USUAL)
        if length.isdigit() and int(length[:20]) > bounds.size:
            raise _too_large(bounds)
        body = await self._read(receive, bounds)
        try:
            if body:
                scope[_KEY] = _parse(body, bounds)
        except Problem:
            self._held -= len(body)
            raise
        return body

    async def _read(self, receive: Receive, bounds: BodyBounds) -> bytes:
        """Read the body, as far as it is within its bounds."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self._held += len(part)
                    if size > bounds.size:
                        raise _too_large(bounds)
                    if self._held > MAX_HELD_BYTES:
                        raise _too_many()
                    if not message.get("more_body", False):
                        break
        except BaseException as exc:
            self._held -= size
            if isinstance(exc, TimeoutError):
                raise _too_slow(size) from None
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)


def parsed_json(request: Request) -> Any:
    """Return the body in plain JSON types, as it was parsed to be checked.

    Raises:
        Problem: there is no body.
    """
    try:
        return request.scope[_KEY]
    except KeyError:
        raise _not_json("The body is empty.") from None


def people_type_of(scope: Scope) -> tuple[str, bool]:
    """Return the content type of a streamed body, and whether it is packed with gzip.

    Raises:
        Problem: it is one that is not read.
    """
    fields: dict[bytes, bytes] = scope[_PEOPLE]
    kind = _check_type(fields, (*_NDJSON_TYPES, CSV), packings=("identity", "gzip"))
    packing = fields.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    return CSV if kind == CSV else NDJSON, packing == "gzip"


def describe(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document what operations with a body answer beyond the bounds."""
    described = {str(status): found for status, found in problems(400, 408, 413, 415, 503).items()}
    for operations in document["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                operation["responses"] = described | operation["responses"]


def _check_head(scope: Scope) -> dict[bytes, bytes]:
    """Return the header fields that are about the body: the last one of each name.

    Raises:
        Problem: the head is larger than its bounds.
    """
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if target > MAX_TARGET_BYTES:
        detail = f"Path and query may have {MAX_TARGET_BYTES:,} bytes, found {target:,}."
        raise Problem(414, "target_too_long", "The path is too long", detail)
    fields: dict[bytes, bytes] = {}
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name in _ABOUT_BODY:
            fields[name] = value
    if size > MAX_HEADER_BYTES:
        detail = f"All headers together may have {MAX_HEADER_BYTES:,} bytes, found {size:,}."
        raise Problem(431, "headers_too_large", "The headers are too large", detail)
    return fields


_ABOUT_BODY = frozenset(
    (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding")
)


def _check_type(
    fields: dict[bytes, bytes],
    allowed: Sequence[str] = ("application/json",),
    packings: Sequence[str] = ("identity",),
) -> str:
    kind, *parameters = fields.get(b"content-type", b"").decode("latin-1").lower().split(";")
    kind = kind.strip()
    if kind not in allowed:
        found = shown(kind) if kind else "none"
        raise _unsupported(f"Content-Type must be {' or '.join(allowed)}, found {found}.")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('" ') not in ("utf-8", "utf8"):
            raise _unsupported(f"The charset must be utf-8, found {shown(value)}.")
    encoding = fields.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in packings:
        beyond = [each for each in packings if each != "identity"]
        rule = f"must be {' or '.join(beyond)}" if beyond else "must be left out"
        raise _unsupported(f"Content-Encoding {rule}, found {shown(encoding)}.")
    return kind


def _parse(body: bytes, bounds: BodyBounds) -> Any:
    parts = body.count(b",") + body.count(b"{") + body.count(b"[")
    if parts > bounds.parts:
        detail = f"A body may have {bounds.parts:,} commas and opening brackets, found {parts:,}."
        raise Problem(413, "body_too_large", "The body is too large", detail)
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as exc:
        raise _not_json(_fault(body, str(exc))) from None
    if not _is_finite(value):
        raise _not_json("The body has a number that is larger than any float.")
    return value


def _fault(body: bytes, fault: str) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        return f"The body is not valid UTF-8, at byte {exc.start:,}."
    if body.startswith(b"\xef\xbb\xbf"):
        return "The body begins with a byte order mark: leave it out."
    if fault.startswith("recursion limit"):
        return f"The body is nested more than {MAX_DEPTH} levels deep."
    return f"The body is not valid JSON: {fault}."


def _is_finite(value: Any) -> bool:
    left: list[Iterable[Any]] = [[value]]
    while left:
        for found in left.pop():
            kind = type(found)
            if kind is dict:
                left.append(found.values())
            elif kind is list:
                left.append(found)
            elif kind is float and not math.isfinite(found):
                return False
    return True


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body in one message, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(bounds: BodyBounds) -> Problem:
    detail = f"A body may have {bounds.size:,} bytes here."
    return Problem(413, "body_too_large", "The body is too large", detail)


def _too_slow(size: int) -> Problem:
    return Problem(
        408,
        "body_too_slow",
        "The body took too long",
        f"A body must arrive within {BODY_S:g} s, {size:,} bytes of it did.",
        headers={"Connection": "close"},
    )


def _too_many() -> Problem:
    return Problem(
        503,
        "too_many_bodies",
        "Too many requests at once",
        f"The bodies of this process's requests have {MAX_HELD_BYTES:,} bytes. Ask again.",
        headers={"Retry-After": "1"},
    )


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", "The body is not JSON", detail)


def _not_json(detail: str) -> Problem:
    return Problem(400, "not_json", "The body is not JSON", detail)
