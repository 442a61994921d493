"""OpenAI's chat completions, as the mock provider speaks them.

Shapes: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from providers.mock_answers import Answer, Asked
from providers.mock_options import AnswerKind, Failure, UsageKind
from providers.mock_wire import UnreadableRequest, WireFormat

MODELS = ("mock-quick", "mock-reasoning")
"""What ``GET /v1/models`` lists. Requests may name any model."""

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
# Clients tell these apart by their words, so they begin as OpenAI's do.
_MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing.",
    "context_length_exceeded": "This model's maximum context length is smaller than your messages.",
    "content_filter": "Invalid prompt: it was flagged as potentially violating our usage policy.",
}


def read(body: bytes) -> Asked:
    """Read a request.

    Raises:
        UnreadableRequest: not JSON, a field is missing or of the wrong type, or it asks for
            something that the mock does not do (streams, several answers, images).
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableRequest("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise UnreadableRequest("the body must be a JSON object")
    model = asked.get("model")
    if not isinstance(model, str) or not model:
        raise UnreadableRequest("model: a name is required", "model")
    for name, only in (("stream", False), ("n", 1)):
        if asked.get(name, only) not in (only, None):
            raise UnreadableRequest(f"{name}: the mock provider does not do this", name)
    schema, context = _response_format(asked.get("response_format"))
    if asked.get("tools"):
        context += f"# Tools\n\n## functions\n\n{_compact(asked['tools'])}\n\n"
    return Asked(
        model=model,
        messages=_messages(asked.get("messages")),
        schema=schema,
        context=context,
        max_output_tokens=_max_output_tokens(asked),
    )


def _messages(messages: object) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise UnreadableRequest("messages: at least one is required", "messages")
    read_messages = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise UnreadableRequest(f"{where}: an object with a role is required", "messages")
        plain = {"role": message["role"], "content": _content(message.get("content"), where)}
        if isinstance(message.get("name"), str):
            plain["name"] = message["name"]
        read_messages.append(plain)
    return read_messages


def _content(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
    raise UnreadableRequest(f"{where}.content: only text is read", "messages")


def _response_format(response_format: object) -> tuple[Mapping[str, Any] | None, str]:
    """Return the schema, and how it stands in the system message.

    Source: https://cookbook.openai.com/articles/openai-harmony, "Structured output".
    """
    if not isinstance(response_format, dict) or response_format.get("type") in (None, "text"):
        return None, ""
    if response_format["type"] == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}, ""
    described = response_format.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise UnreadableRequest("response_format.json_schema.schema is required", "response_format")
    name = described.get("name", "answer")
    return described[
        "schema"
    ], f"# Response Formats\n\n## {name}\n\n{_compact(described['schema'])}"


def _max_output_tokens(asked: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = asked.get(name)
        if limit is None:
            continue
        if type(limit) is not int or limit < 1:
            raise UnreadableRequest(f"{name}: found {limit!r}, allowed is an integer from 1", name)
        return limit
    return None


def render(asked: Asked, answer: Answer, answer_id: str) -> dict[str, Any]:
    """Return the body of an answer."""
    refused = answer.kind is AnswerKind.REFUSAL
    finish = "stop"
    if answer.cut:
        finish = "length"
    elif answer.kind is AnswerKind.FILTERED:
        finish = "content_filter"
    body = {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "system_fingerprint": "fp_mock",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if refused else answer.text,
                    "refusal": answer.text if refused else None,
                },
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
    }
    if answer.usage is not UsageKind.MISSING:
        body["usage"] = _usage(answer)
    return body


def _usage(answer: Answer) -> dict[str, Any]:
    counts = (
        answer.input_tokens,
        answer.cached_tokens,
        answer.output_tokens,
        answer.reasoning_tokens,
    )
    if answer.usage is UsageKind.ZERO:
        counts = (0, 0, 0, 0)
    prompt, cached, completion, reasoning = counts
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def render_failure(failure: Failure, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    word = _CODES.get(failure.word or "", failure.word) or _ERROR_WORDS.get(failure.status)
    kind = _ERROR_TYPES.get(failure.status, "server_error")
    if failure.word == "insufficient_quota":
        kind = "insufficient_quota"
    said = message or _MESSAGES.get(
        failure.word or "", f"The mock provider was told to answer {failure.status}."
    )
    return {"error": {"message": said, "type": kind, "param": None, "code": word}}


def render_models() -> dict[str, Any]:
    """Return the list of models."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "mock"} for name in MODELS
        ],
    }


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


OPENAI = WireFormat(
    paths=("/v1/chat/completions", "/chat/completions"),
    read=read,
    render=render,
    render_failure=render_failure,
)
