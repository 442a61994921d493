"""Gemini's generateContent, as the mock provider speaks it.

Shapes: https://ai.google.dev/api/generate-content and https://google.aip.dev/193 (errors)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.mock.answers import Answer, Asked
from providers.mock.options import AnswerKind, Failure, UsageKind
from providers.mock.wire import (
    UnreadableRequest,
    WireFormat,
    compact,
    read_object,
    read_text,
    read_token_limit,
)

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Clients recognize these by their text, so they begin as Gemini's do.
_MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing.",
    "context_length_exceeded": "The input token count exceeds the maximum number of tokens allowed",
}


def read(body: bytes) -> Asked:
    """Read a request. Its address names the model; its fields may be in camel or snake case.

    Raises:
        UnreadableRequest: not JSON, a field is missing or of the wrong type, or it asks for
            something that the mock does not do (several answers, images).
    """
    asked = read_object(body)
    wanted = _get(asked, "generationConfig") or {}
    if not isinstance(wanted, dict):
        raise UnreadableRequest("generationConfig: an object is required", "generationConfig")
    if _get(wanted, "candidateCount") not in (None, 1):
        raise UnreadableRequest("candidateCount: the mock provider does not support it")
    limit = _get(wanted, "maxOutputTokens")
    schema = _schema(wanted)
    context = "" if schema is None else compact(schema)
    if asked.get("tools"):
        context += compact(asked["tools"])
    return Asked(
        model="",
        messages=_messages(asked),
        schema=schema,
        context=context,
        max_output_tokens=None if limit is None else read_token_limit(limit, "maxOutputTokens"),
    )


def _get(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in camel case or snake case."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return fields.get(name, fields.get(snake))


def _messages(asked: Mapping[str, Any]) -> list[dict[str, str]]:
    contents = asked.get("contents")
    if not isinstance(contents, list) or not contents:
        raise UnreadableRequest("contents: at least one is required", "contents")
    messages = []
    system = _get(asked, "systemInstruction")
    if system is not None:
        messages.append({"role": "system", "content": _parts(system, "systemInstruction")})
    for index, content in enumerate(contents):
        text = _parts(content, f"contents[{index}]")
        messages.append({"role": str(content.get("role", "user")), "content": text})
    return messages


def _parts(content: object, where: str) -> str:
    if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
        raise UnreadableRequest(f"{where}.parts: a list is required", where)
    return read_text(content["parts"], f"{where}.parts", where)


def _schema(wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema, given as JSON Schema or in Gemini's dialect of OpenAPI."""
    for name in ("responseJsonSchema", "responseSchema"):
        schema = _get(wanted, name)
        if isinstance(schema, dict):
            return _plain(schema)
    if _get(wanted, "responseMimeType") == "application/json":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return None


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of the dialect with its upper-case types in lower case."""
    plain: dict[str, Any] = {}
    for name, part in schema.items():
        if name == "type" and isinstance(part, str):
            plain[name] = part.lower()
        elif name in ("properties", "$defs") and isinstance(part, dict):
            plain[name] = {key: _plain(value) for key, value in part.items()}
        elif name == "items" and isinstance(part, dict):
            plain[name] = _plain(part)
        elif name in ("anyOf", "oneOf") and isinstance(part, list):
            plain[name] = [_plain(one) for one in part]
        else:
            plain[name] = part
    return plain


def render(asked: Asked, answer: Answer, answer_id: str) -> dict[str, Any]:
    """Return the body of an answer."""
    body: dict[str, Any] = {"modelVersion": asked.model, "responseId": answer_id}
    if answer.kind is AnswerKind.PROMPT_BLOCKED:
        body["promptFeedback"] = {"blockReason": "SAFETY"}
    else:
        body["candidates"] = [_candidate(answer)]
    if answer.usage is not UsageKind.MISSING:
        body["usageMetadata"] = _usage(answer)
    return body


def _candidate(answer: Answer) -> dict[str, Any]:
    finish = "STOP"
    if answer.cut:
        finish = "MAX_TOKENS"
    elif answer.kind is AnswerKind.FILTERED:
        finish = "SAFETY"
    elif answer.kind is AnswerKind.REFUSAL:
        finish = "PROHIBITED_CONTENT"
    content: dict[str, Any] = {"role": "model"}
    if answer.text and finish in ("STOP", "MAX_TOKENS"):
        content["parts"] = [{"text": answer.text}]
    return {"content": content, "finishReason": finish, "index": 0}


def _usage(answer: Answer) -> dict[str, Any]:
    """Return the usage. Thoughts are counted beside the candidates, cached tokens in the prompt."""
    if answer.usage is UsageKind.ZERO:
        return {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    usage: dict[str, Any] = {
        "promptTokenCount": answer.input_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input_tokens}],
    }
    # Gemini leaves out what is zero.
    written = answer.output_tokens - answer.reasoning_tokens
    if written:
        usage["candidatesTokenCount"] = written
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    if answer.cached_tokens:
        usage["cachedContentTokenCount"] = answer.cached_tokens
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": answer.cached_tokens}]
    return usage


def render_failure(failure: Failure, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    said = message or _MESSAGES.get(
        failure.word or "", f"The mock provider was told to fail with status {failure.status}."
    )
    error: dict[str, Any] = {
        "code": failure.status,
        "message": said,
        "status": _STATUSES.get(failure.status, "UNKNOWN"),
    }
    details = _details(failure)
    if details:
        error["details"] = details
    return {"error": error}


def _details(failure: Failure) -> list[dict[str, Any]]:
    """Return the exhausted quota and when to retry. Gemini sends no ``Retry-After``."""
    details: list[dict[str, Any]] = []
    if failure.status == 429:
        window = "PerDay" if failure.word == "insufficient_quota" else "PerMinute"
        violation = {"quotaId": f"GenerateRequests{window}PerProjectPerModel"}
        details.append(
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
        )
    if failure.retry_after_s is not None:
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{failure.retry_after_s:g}s",
            }
        )
    return details


_MODEL = "{model:[^/{}]+}:generateContent"

GEMINI = WireFormat(
    paths=(f"/v1beta/models/{_MODEL}", f"/v1/models/{_MODEL}", f"/models/{_MODEL}"),
    key_header="x-goog-api-key",
    read=read,
    render=render,
    render_failure=render_failure,
    sends_retry_after=False,
    failures={
        "content_filter": AnswerKind.PROMPT_BLOCKED,
        "json_validate_failed": AnswerKind.BROKEN_JSON,
    },
)
