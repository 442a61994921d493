"""A guard before LiteLLM: a provider's HTTP answer is bounded, and has a usage to read."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Some 20 times the longest answer of any model; a longer one comes from a broken server."""

_HAS_ERROR = re.compile(rb'"error"\s*:\s*["{]')
_NAMED_STATUS = (
    ("rate_limit", 429),
    ("quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("timeout", 504),
    ("insufficient", 402),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid", 400),
)
"""Parts of the names that providers give to errors, and the statuses that mean the same."""
_UNNAMED_STATUS = 502

_HAS_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{')


class AnswerTooLarge(Exception):
    """An answer that is longer than any model's can be; the rest was not read."""


def guard_answers(transport: Any, is_internal_call: ContextVar[bool]) -> None:
    """Make LiteLLM's HTTP transport return the answers to our calls whole, or raise.

    Args:
        transport: the class; the host's calls go through it as they did.

    Raises (by the transport):
        AnswerTooLarge: the answer has more than ``MAX_ANSWER_BYTES``, unpacked.
    """
    handle = transport.handle_async_request

    async def handle_and_read_ours(self: Any, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await handle(self, request)
        return await _read(response) if is_internal_call.get() else response

    transport.handle_async_request = handle_and_read_ours


async def _read(response: httpx.Response) -> httpx.Response:
    """Read an answer to its end, up to ``MAX_ANSWER_BYTES``."""
    import httpx

    content = bytearray()
    try:
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MAX_ANSWER_BYTES:
                raise AnswerTooLarge
    finally:
        await response.aclose()
    # The parts are unpacked, so the headers that describe the packing no longer hold.
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    ]
    whole, status = bytes(content), response.status_code
    if status == httpx.codes.OK:
        status = status_of(whole)
    return httpx.Response(
        status,
        headers=headers,
        content=with_usage(whole) if status == httpx.codes.OK else whole,
        extensions=response.extensions,
    )


def with_usage(content: bytes) -> bytes:
    """Return an answer with an empty usage where Anthropic or Gemini left it out.

    LiteLLM raises without one, and the answer would be lost, though the model ran and is billed.
    It reads an empty one as zeros, which mean the same to us: unknown.
    """
    if _HAS_USAGE.search(content):
        return content
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(body, dict):
        return content
    if body.get("type") == "message":
        body["usage"] = {}
    elif "candidates" in body or "promptFeedback" in body:
        body["usageMetadata"] = {}
    else:
        return content
    return json.dumps(body).encode()


def status_of(content: bytes) -> int:
    """Return the status that the body of an answer with status 200 stands for.

    OpenRouter and gateways like it answer 200 before they know, and put the error of the provider
    behind them into the body, with its own code: https://openrouter.ai/docs/api/reference/errors.
    """
    if not _HAS_ERROR.search(content):
        return 200
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return 200
    if not isinstance(body, dict) or not body.get("error"):
        return 200
    if body.get("choices") or body.get("candidates") or body.get("content"):
        return 200
    return _status_of_error(body["error"])


def _status_of_error(error: object) -> int:
    """Return the status of an error by its code, else by its name, else that of a bad gateway."""
    if not isinstance(error, dict):
        return _UNNAMED_STATUS
    names = [error.get("code"), error.get("type"), error.get("status")]
    for name in names:
        code = str(name)
        if re.fullmatch("[45][0-9][0-9]", code):
            return int(code)
    text = " ".join(name.lower() for name in names if isinstance(name, str))
    return next((status for part, status in _NAMED_STATUS if part in text), _UNNAMED_STATUS)
