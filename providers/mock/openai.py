"""OpenAI's chat completions, as the mock provider speaks them.

Shapes: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import time
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

MODELS = ("mock-quick", "mock-reasoning")
"""The models that ``GET /v1/models`` lists. Requests may name any model."""

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_ERROR_WORDS = {
    401: "invalid_api_key",
    404: "model_not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
_CODES = {"content_filter": "invalid_prompt"}
# Clients recognize these by their text, so they begin as OpenAI's do; the last is Groq's.
_MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing.",
    "context_length_exceeded": "This model's maximum context length is smaller than your messages.",
    "content_filter": "Invalid prompt: it was flagged as potentially violating our usage policy.",
    "json_validate_failed": "Failed to validate JSON. See 'failed_generation'.",
}


def read(body: bytes) -> Asked:
    """Read a request.

    Raises:
        UnreadableRequest: not JSON, a field is missing or of the wrong type, or it asks for
            something that the mock does not do (streams, several answers, images).
    """
    asked = read_object(body)
    model = read_model(asked)
    for name, only in (("stream", False), ("n", 1)):
        if asked.get(name, only) not in (only, None):
            raise UnreadableRequest(f"{name}: the mock provider does not support it", name)
    messages = _messages(asked.get("messages"))
    schema, context, sends_schema = _response_format(asked.get("response_format"), messages)
    forced_tool = None
    if asked.get("tools"):
        context += f"# Tools\n\n## functions\n\n{compact(asked['tools'])}\n\n"
        forced_tool, schema = _forced_tool(asked, schema)
    return Asked(
        model=model,
        messages=messages,
        schema=schema,
        context=context,
        max_output_tokens=_max_output_tokens(asked),
        forced_tool=forced_tool,
        sends_schema=sends_schema,
    )


def _messages(messages: object) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise UnreadableRequest("messages: at least one is required", "messages")
    read_messages = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise UnreadableRequest(f"{where}: an object with a role is required", "messages")
        content = read_text(message.get("content"), f"{where}.content", "messages")
        plain = {"role": message["role"], "content": content}
        if isinstance(message.get("name"), str):
            plain["name"] = message["name"]
        read_messages.append(plain)
    return read_messages


def _response_format(
    response_format: object, messages: list[dict[str, str]]
) -> tuple[Mapping[str, Any] | None, str, bool]:
    """Return the schema, the text that it adds to the system message, and if it was sent as such.

    Source: https://cookbook.openai.com/articles/openai-harmony, "Structured output".
    """
    if not isinstance(response_format, dict) or response_format.get("type") in (None, "text"):
        return None, "", False
    if response_format["type"] == "json_object":
        if not any("json" in message["content"].lower() for message in messages):
            raise UnreadableRequest(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of "
                "type 'json_object'.",
                "messages",
            )
        return _schema_in(messages), "", False
    described = response_format.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise UnreadableRequest("response_format.json_schema.schema is required", "response_format")
    name = described.get("name", "answer")
    context = f"# Response Formats\n\n## {name}\n\n{compact(described['schema'])}"
    return described["schema"], context, True


def _schema_in(messages: list[dict[str, str]]) -> Mapping[str, Any]:
    """Return the JSON Schema that stands in a line of its own, else one of the mock's."""
    for line in "\n".join(message["content"] for message in messages).splitlines():
        if line.startswith("{") and '"properties"' in line:
            try:
                schema = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(schema, dict):
                return schema
    return {"type": "object", "properties": {"answer": {"type": "string"}}}


def _forced_tool(
    asked: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return the tool that the answer must call, and the schema for it."""
    choice = asked.get("tool_choice")
    if not isinstance(choice, dict):
        return None, schema
    wanted = choice.get("function")
    for tool in asked["tools"]:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(wanted, dict):
            continue
        if function.get("name") == wanted.get("name"):
            return str(function["name"]), function.get("parameters") or {}
    raise UnreadableRequest("tool_choice: names a tool that is not in tools", "tool_choice")


def _max_output_tokens(asked: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if asked.get(name) is not None:
            return read_token_limit(asked[name], name)
    return None


def render(asked: Asked, answer: Answer, answer_id: str) -> dict[str, Any]:
    """Return the body of an answer."""
    body = {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "system_fingerprint": "fp_mock",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": _message(asked, answer, answer_id),
                "logprobs": None,
                "finish_reason": _finish_reason(asked, answer),
            }
        ],
    }
    if answer.usage is not UsageKind.MISSING:
        body["usage"] = _usage(answer)
    return body


def _message(asked: Asked, answer: Answer, answer_id: str) -> dict[str, Any]:
    refused = answer.kind is AnswerKind.REFUSAL
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else answer.text,
        "refusal": answer.text if refused else None,
    }
    if asked.forced_tool is not None and answer.text and not refused:
        function = {"name": asked.forced_tool, "arguments": answer.text}
        message["content"] = None
        message["tool_calls"] = [
            {"id": f"call_{answer_id}", "type": "function", "function": function}
        ]
    return message


def _finish_reason(asked: Asked, answer: Answer) -> str:
    if answer.cut:
        return "length"
    if answer.kind is AnswerKind.FILTERED:
        return "content_filter"
    # A forced tool ends with "stop"; a tool that the model chose ends with "tool_calls".
    return "stop"


def _usage(answer: Answer) -> dict[str, Any]:
    prompt, completion = answer.input_tokens, answer.output_tokens
    total = prompt + completion
    cached, written, reasoning = (
        answer.cached_tokens,
        answer.cache_write_tokens,
        answer.reasoning_tokens,
    )
    if answer.usage is UsageKind.ZERO:
        prompt = completion = total = cached = written = reasoning = 0
    if answer.usage is UsageKind.XAI:
        completion -= reasoning
    prompt_details = {"cached_tokens": cached, "audio_tokens": 0}
    if written:
        # Sent by OpenRouter, and by OpenAI for models whose cache writes cost extra.
        prompt_details["cache_write_tokens"] = written
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def render_failure(failure: Failure, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    word = _CODES.get(failure.word or "", failure.word) or _ERROR_WORDS.get(failure.status)
    kind = _ERROR_TYPES.get(failure.status, "server_error")
    if failure.word == "insufficient_quota":
        kind = "insufficient_quota"
    said = message or _MESSAGES.get(
        failure.word or "", f"The mock provider was told to fail with status {failure.status}."
    )
    error = {"message": said, "type": kind, "param": None, "code": word}
    if failure.word == "json_validate_failed":
        error["failed_generation"] = "{"
    return {"error": error}


def render_models() -> dict[str, Any]:
    """Return the list of models."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "mock"} for name in MODELS
        ],
    }


OPENAI = WireFormat(
    paths=("/v1/chat/completions", "/chat/completions"),
    key_header="Authorization",
    key_prefix="Bearer ",
    read=read,
    render=render,
    render_failure=render_failure,
)
