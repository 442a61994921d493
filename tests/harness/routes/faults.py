"""What goes wrong beneath an answer's form: bytes, headers, statuses and connections."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from tests.harness.routes.comparing import Reply, Then, reply
from tests.harness.routes.usages import named

STATUSES = (
    *(200, 201, 202, 203, 204, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 415, 418, 421, 422, 423, 424, 425),
    *(426, 428, 429, 431, 440, 451, 460, 498, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511),
    *(520, 521, 522, 523, 524, 525, 526, 527, 528, 529, 530, 598, 599),
)
CODES = (
    *("content_filter", "content_policy_violation", "invalid_prompt", "context_length_exceeded"),
    *("json_validate_failed", "tool_use_failed", "insufficient_quota", "rate_limit_exceeded"),
    *("invalid_api_key", "model_not_found", "invalid_request_error", "billing_not_active"),
    *("unsupported_parameter", "string_above_max_length", "ResponsibleAIPolicyViolation"),
    *("overloaded_error", "server_error", "authentication_error", "permission_error"),
)
WORDS = (
    "This model's maximum context length is 100 tokens. You requested 200 tokens.",
    "prompt is too long: 200 tokens > 100 maximum",
    "input length and max_tokens exceed context limit: 100 + 50 > 120",
    "The response was filtered due to the prompt triggering Azure OpenAI's content management",
    "Your request was rejected as a result of our safety system",
    "Incorrect API key provided: sk-x",
    "API key not valid. Please pass a valid API key.",
    "You exceeded your current quota, please check your plan and billing details.",
    "Rate limit reached for requests",
    "The engine is currently overloaded, please try again later",
    "Request timed out",
    "The model `m` does not exist or you do not have access to it.",
    "Unsupported parameter: 'temperature' is not supported with this model.",
    "Input should be a valid string",
    "invalid_request_error: The server had an error while processing your request",
    "Budget has been exceeded!",
    "None",
    "",
)
RETRY_AFTER: tuple[bytes, ...] = (
    *(b"Retry-After: 7", b"Retry-After: 0", b"Retry-After: 0.25", b"Retry-After: -1"),
    *(b"Retry-After: 86400", b"Retry-After: soon", b"Retry-After:", b"Retry-After: nan"),
    *(b"Retry-After: inf", b"Retry-After: 1e400", b"retry-after-ms: 250", b"retry-after-ms: x"),
    b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
    b"Retry-After: Fri, 31 Dec 2199 23:59:59 GMT",
    b"Retry-After: Z\xfcrich",
    b"Retry-After: 7\r\nRetry-After: 9",
    b"Retry-After: 7\r\nretry-after-ms: 250",
    b"x-ratelimit-reset-requests: 1s",
    b"x-should-retry: true",
    b"x-should-retry: false",
)


def error_bodies() -> Iterator[tuple[str, Any]]:
    """Return what providers write with an error's status, and what they should not."""
    yield "plain", {"error": {"message": "no", "type": "t", "code": "c", "param": None}}
    for code in CODES:
        yield f"code {code}", {"error": {"message": "no", "type": "x", "code": code}}
        yield f"type {code}", {"error": {"message": "no", "type": code, "code": None}}
    for words in WORDS:
        yield f"words {words[:30]!r}", {"error": {"message": words, "type": "t", "code": None}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {}}}
    for name, body in named(
        {
            "azure's filter": {
                "error": {"code": "content_filter", "message": "no", "innererror": inner}
            },
            "anthropic's": {"type": "error", "error": {"type": "api_error", "message": "no"}},
            "openrouter's moderation": {
                "error": {"code": 403, "message": "no", "metadata": {"flagged_input": "x"}}
            },
            "openrouter's raw": {"error": {"message": "no", "metadata": {"raw": "theirs"}}},
            "google's": _google({"@type": "type.googleapis.com/google.rpc.RetryInfo"}),
            "google's delay": _google(_RETRY_INFO),
            "google's minute": _google(_quota("PerMinute"), _RETRY_INFO),
            "google's day": _google(_quota("PerDay"), _RETRY_INFO),
            "google's in a list": [_google(_RETRY_INFO)],
            "fastapi's": {"detail": "Not Found"},
            "fastapi's list": {"detail": [{"loc": ["body"], "msg": "x", "type": "missing"}]},
            "vllm's": {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
            "mistral's": {"object": "error", "message": {"detail": [{"msg": "x"}]}, "type": "x"},
            "ollama's": {"error": "model 'm' not found"},
            "cut": {"error": {"message": "x" * 5_000}},
            "a number": {"error": 7},
            "a null": {"error": None},
            "a list": {"error": [1]},
            "empty": {},
            "codes of no kind": {"error": {"code": [1], "type": {}, "message": 7}},
            "null itself": None,
            "an answer": {"choices": [{"message": {"content": "Hi"}}]},
        }
    ):
        yield name, body
    for name, raw in RAW_BODIES.items():
        yield f"raw, {name}", raw
    yield "large", b'{"error": {"message": "' + b"x" * 70_000 + b'"}}'


_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}


def _quota(window: str) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [{"quotaId": f"GenerateRequests{window}PerProject"}]}


def _google(*details: Any) -> dict[str, Any]:
    error = {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": list(details)}
    return {"error": error}


RAW_BODIES: dict[str, bytes] = {
    "empty": b"",
    "spaces": b" \n ",
    "broken": b'{"choices": [',
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "words": b"upstream connect error",
    "null": b"null",
    "true": b"true",
    "a number": b"7",
    "a string": b'"Hi"',
    "a list": b"[]",
    "an object": b"{}",
    "two objects": b"{}{}",
    "a stream": b'data: {"choices": []}\n\ndata: [DONE]\n\n',
    "not UTF-8": b"\xff\xfe\xfa",
    "Latin-1": '{"error": {"message": "Zürich"}}'.encode("latin-1"),
    "open lists": b"[" * 9_999,
}


def spoiled_bodies(good: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Return a good answer in notations that parsers differ in."""
    body = json.dumps(good).encode()
    yield from ((f"raw, {name}", raw) for name, raw in RAW_BODIES.items())
    yield "with a BOM", b"\xef\xbb\xbf" + body
    yield "UTF-16", body.decode().encode("utf-16")
    yield "UTF-16, no BOM", body.decode().encode("utf-16-le")
    yield "UTF-32", body.decode().encode("utf-32")
    yield "spaces around", b"\r\n\t " + body + b"\n\n"
    yield "indented", json.dumps(good, indent=2).encode()
    yield "something behind it", body + b"x"
    yield "a NUL behind it", body + b"\x00"
    yield "another behind it", body + body
    yield "cut", body[:-20]
    for name, value in named(
        {
            "NaN": b"NaN",
            "Infinity": b"-Infinity",
            "1e999": b"1e999",
            "a long number": b"9" * 5_000,
            "a number of 30 digits": b"9" * 30,
            "a long fraction": b"0." + b"1" * 400,
            "a leading zero": b"01",
            "a plus": b"+1",
            "a single quote": b"'x'",
            "half a character": b'"\\ud83d"',
            "half a character in UTF-8": b'"\xed\xa0\xbd"',
            "a pair": b'"\\ud83d\\ude00"',
            "a control character": b'"\x01"',
            "a NUL": b'"\\u0000"',
            "a raw line break": b'"\n"',
            "an unknown escape": b'"\\x"',
            "bytes that are not UTF-8": b'"\xff"',
            "a comment": b"1 /* x */",
            "a trailing comma": b"[1,]",
            "depth 29": b"[" * 29 + b"]" * 29,
            "depth 31": b"[" * 31 + b"]" * 31,
            "depth 33": b"[" * 33 + b"]" * 33,
            "depth 300": b"[" * 300 + b"]" * 300,
            "depth 2000": b"[" * 2_000 + b"]" * 2_000,
            "480 values": b"[" + b"0," * 400 + b"0]",
            "2100 values": b"[" + b"0," * 2_099 + b"0]",
            "60000 values": b"[" + b"0," * 59_999 + b"0]",
        }
    ):
        yield f"beside it {name}", body[:-1] + b', "beside": ' + value + b"}"
    for name in ("choices", "usage", "content", "candidates", "usageMetadata", "message", "id"):
        if name in good:
            twice = json.dumps(name).encode()
            yield f"{name} twice, null first", b"{" + twice + b": null, " + body[1:]
            yield f"{name} twice, null last", body[:-1] + b", " + twice + b": null}"
    escaped = body.replace(b"intent", b"\\u0069ntent").replace(b"index", b"inde\\u0078")
    yield "escapes in names", escaped
    yield "two megabytes", body[:-1] + b', "x": "' + b"x" * (2_000_000) + b'"}'
    yield "at the bound", body[:-1] + b', "x": "' + b"x" * (2**21 - len(body) - 9) + b'"}'
    yield "above the bound", body[:-1] + b', "x": "' + b"x" * 2**21 + b'"}'


def wire_faults(good: dict[str, Any]) -> Iterator[tuple[str, Reply]]:
    """Return replies that differ beneath the body."""
    body = json.dumps(good).encode()
    whole = reply(good).content
    for kind in (None, b"", b"text/html", b"text/plain", b"application/json; charset=latin-1"):
        yield f"content type {kind!r}", reply(good, content_type=kind)
    for kind in (b"text/event-stream", b"application/octet-stream", b"application/problem+json"):
        yield f"content type {kind!r}", reply(good, content_type=kind)
    for header in (
        *(b"X-Region: Z\xfcrich", b"Content-Encoding: identity", b"X-Request-Id: "),
        *(b"Set-Cookie: a=b; Path=/", b"openai-processing-ms: x", b"x-ratelimit-limit-tokens: x"),
        *(b"request-id: r", b"llm_provider-x: y", b"Content-Encoding: br", b"X: " + b"y" * 5_000),
    ):
        yield f"header {header[:30]!r}", reply(good, 200, header)
    for name, packed in named(
        {
            "gzip": gzip.compress(body),
            "deflate": zlib.compress(body),
            "gzip, damaged": gzip.compress(body)[:-12] + b"x" * 12,
            "gzip, cut": gzip.compress(body)[:-4],
        }
    ):
        encoding = b"Content-Encoding: " + name.split(",")[0].encode()
        yield f"packed, {name}", reply(packed, 200, encoding)
    yield "packed, twice", reply(gzip.compress(body), 200, b"Content-Encoding: gzip, gzip")
    yield "packed, in its words only", reply(body, 200, b"Content-Encoding: gzip")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    yield "in a chunk", Reply(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)
    yield (
        "in a broken chunk",
        Reply(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"zz\r\n" + body, Then.CLOSE),
    )
    yield "to the end of the connection", Reply(head + b"\r\n" + body, Then.CLOSE)
    yield "cut in the body", Reply(whole[:-10], Then.CLOSE)
    yield "cut in the headers", Reply(whole[:20], Then.CLOSE)
    yield "reset in the body", Reply(whole[:-10], Then.RESET)
    yield "closed", Reply(b"", Then.CLOSE)
    yield "reset", Reply(b"", Then.RESET)
    yield "reset early", Reply(b"", Then.RESET, at_once=True)
    yield "nonsense", Reply(b"\x00\x01 no HTTP\r\n\r\n", Then.CLOSE)
    yield "HTTP/1.0", Reply(whole.replace(b"HTTP/1.1", b"HTTP/1.0"), Then.CLOSE)
    yield "no words in the status line", Reply(whole.replace(b" Some Words", b"", 1))
    yield "status 99", Reply(whole.replace(b"200", b"099", 1), Then.CLOSE)
    yield "status 999", Reply(whole.replace(b"200", b"999", 1), Then.CLOSE)
