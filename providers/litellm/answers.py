"""A guard before LiteLLM: a provider's HTTP answer is bounded, and has a usage to read."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from providers.litellm.message_text import with_joined_parts

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Some 20 times the longest answer of any model; a longer one comes from a broken server."""

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
    whole = with_joined_parts(bytes(content))
    return httpx.Response(
        response.status_code,
        headers=headers,
        content=with_usage(whole) if response.status_code == httpx.codes.OK else whole,
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
