"""Anthropic's messages, as the mock provider speaks them.

Shapes: https://docs.claude.com/en/api/messages and https://docs.claude.com/en/api/errors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from providers.mock.answers import Answer, Asked
from providers.mock.options import AnswerKind, Failure, UsageKind
from providers.mock.wire import (
    UnreadableRequest,
    WireFormat,
    compact,
    read_model,
    read_object,
    read_text,
    read_token_limit,
)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Clients recognize these by their text, so they begin as Anthropic's do.
_MESSAGES = {
    "insufficient_quota": "Your credit balance is too low to access the Anthropic API.",
    "context_length_exceeded": "prompt is too long: the messages exceed the model's maximum",
    "content_filter": "Output blocked by content filtering policy",
}


def read(body: bytes) -> Asked:
    """Read a request.

    Raises:
        UnreadableRequest: not JSON, a field is missing or of the wrong type, or it asks for
            something that the mock does not do (streams, images).
    """
    asked = read_object(body)
    model = read_model(asked)
    if asked.get("stream"):
        raise UnreadableRequest("stream: the mock provider does not support it", "stream")
    schema, context = _output_format(asked)
    forced_tool = None
    if asked.get("tools"):
        context += compact(asked["tools"])
        forced_tool, schema = _forced_tool(asked, schema)
    return Asked(
        model=model,
        messages=_messages(asked),
        schema=schema,
        context=context,
        max_output_tokens=read_token_limit(asked.get("max_tokens"), "max_tokens"),
        forced_tool=forced_tool,
    )


def _messages(asked: Mapping[str, Any]) -> list[dict[str, str]]:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UnreadableRequest("messages: at least one is required", "messages")
    system = read_text(asked.get("system"), "system", "system")
    read_messages = [{"role": "system", "content": system}] if system else []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise UnreadableRequest(f"{where}.role: allowed are user, assistant", "messages")
        content = read_text(message.get("content"), f"{where}.content", "messages")
        read_messages.append({"role": role, "content": content})
    return read_messages


def _output_format(asked: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the schema from its current field or the one of the beta."""
    config = asked.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    wanted = wanted or asked.get("output_format")
    if wanted is None:
        return None, ""
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise UnreadableRequest("output_config.format.schema is required", "output_config")
    return schema, compact(schema)


def _forced_tool(
    asked: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return the tool that the answer must call, and the schema for it."""
    choice = asked.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None, schema
    for tool in asked["tools"]:
        if isinstance(tool, dict) and tool.get("name") == choice.get("name"):
            return str(tool["name"]), tool.get("input_schema") or {}
    raise UnreadableRequest("tool_choice: names a tool that is not in tools", "tool_choice")


def render(asked: Asked, answer: Answer, answer_id: str) -> dict[str, Any]:
    """Return the body of an answer."""
    body: dict[str, Any] = {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": _content(asked, answer, answer_id),
        "stop_reason": _stop_reason(asked, answer),
        "stop_sequence": None,
    }
    if answer.usage is not UsageKind.MISSING:
        body["usage"] = _usage(answer)
    return body


def _content(asked: Asked, answer: Answer, answer_id: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning_tokens:
        # Real thinking is shown if the request asks for it; the mock never shows any.
        blocks.append({"type": "redacted_thinking", "data": "bW9jaw=="})
    if not answer.text:
        return blocks
    if asked.forced_tool is None or answer.kind is AnswerKind.REFUSAL:
        return [*blocks, {"type": "text", "text": answer.text}]
    tool = {
        "type": "tool_use",
        "id": f"toolu_{answer_id}",
        "name": asked.forced_tool,
        "input": _tool_input(answer.text),
    }
    return [*blocks, tool]


def _tool_input(text: str) -> dict[str, Any]:
    """Return the tool's arguments as an object, empty if the answer was cut off."""
    try:
        arguments = json.loads(text)
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _stop_reason(asked: Asked, answer: Answer) -> str:
    if answer.cut:
        return "max_tokens"
    if answer.kind in (AnswerKind.REFUSAL, AnswerKind.FILTERED):
        return "refusal"
    return "tool_use" if asked.forced_tool is not None and answer.text else "end_turn"


def _usage(answer: Answer) -> dict[str, Any]:
    """Return the usage. Anthropic's ``input_tokens`` exclude those that a cache read or wrote."""
    cached, written = answer.cached_tokens, answer.cache_write_tokens
    counts = (answer.input_tokens - cached - written, cached, written, answer.output_tokens)
    thinking = answer.reasoning_tokens
    if answer.usage is UsageKind.ZERO:
        counts, thinking = (0, 0, 0, 0), 0
    plain, cached, written, output = counts
    return {
        "input_tokens": plain,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
        "service_tier": "standard",
    }


def render_failure(failure: Failure, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    said = message or _MESSAGES.get(
        failure.word or "", f"The mock provider was told to fail with status {failure.status}."
    )
    kind = _ERROR_TYPES.get(failure.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": said},
        "request_id": "req_mock",
    }


ANTHROPIC = WireFormat(
    paths=("/v1/messages",),
    key_header="x-api-key",
    read=read,
    render=render,
    render_failure=render_failure,
    failures={
        "insufficient_quota": Failure(400, "insufficient_quota"),
        "json_validate_failed": AnswerKind.BROKEN_JSON,
    },
)
