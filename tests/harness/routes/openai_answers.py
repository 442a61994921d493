"""Answers in OpenAI's form: good ones, odd ones, and ones that no model should give."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.harness.routes.usages import PLAIN, USAGES, named

TEXT = '{"intent":"top_up"}'
_MISSING = object()

GOOD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "m",
    # LiteLLM takes it that every answer of Groq's has one.
    "service_tier": "on_demand",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": PLAIN,
}

FULL: dict[str, Any] = GOOD | {
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": TEXT,
                "refusal": None,
                "annotations": [],
                "audio": None,
                "tool_calls": None,
                "function_call": None,
                "reasoning_content": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
            "stop_reason": None,
            "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
        }
    ],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
    "kv_transfer_params": None,
}


def with_fields(**fields: Any) -> dict[str, Any]:
    """Return a good answer with other fields at the top; ``_MISSING`` takes one away."""
    return {name: value for name, value in (GOOD | fields).items() if value is not _MISSING}


def with_choice(**fields: Any) -> dict[str, Any]:
    """Return a good answer whose choice has other fields."""
    choice = GOOD["choices"][0] | fields
    kept = {name: value for name, value in choice.items() if value is not _MISSING}
    return with_fields(choices=[kept])


def with_message(**fields: Any) -> dict[str, Any]:
    """Return a good answer whose message has other fields."""
    message = GOOD["choices"][0]["message"] | fields
    return with_choice(message={key: val for key, val in message.items() if val is not _MISSING})


FINISHES: tuple[Any, ...] = (
    *("length", "content_filter", "tool_calls", "function_call", "error", "eos", "end_turn"),
    *("max_tokens", "MAX_TOKENS", "SAFETY", "RECITATION", "stop_sequence", "eos_token", "refusal"),
    *("insufficient_system_resource", "model_length", "abort", "Stop", "", "whatever"),
    *(None, _MISSING, 7, True, ["stop"], {"type": "stop"}),
)
CONTENTS: dict[str, Any] = {
    "null": None,
    "missing": _MISSING,
    "empty": "",
    "spaces": " \n\t",
    "a number": 7,
    "a float": 1.5,
    "zero": 0,
    "true": True,
    "false": False,
    "an object": {"intent": "top_up"},
    "an empty object": {},
    "an empty list": [],
    "parts": [{"type": "text", "text": '{"intent":'}, {"type": "text", "text": '"top_up"}'}],
    "a thought and a part": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True},
        {"type": "text", "text": TEXT},
    ],
    "texts": ["Hel", "lo"],
    "odd parts": [7, None, {"type": "text"}, {"type": "text", "text": 7}, {"text": "x"}, []],
    "output_text": [{"type": "output_text", "text": TEXT}],
    "refusal as a part": [{"type": "refusal", "refusal": "I can't"}],
    "unicode": "Grüße 你好 \U0001f600 \u202e \x00 \x7f \u2028",
    "half a character": "half \ud83d a character",
    "long": "x" * 150_000,
    "too long": "é" * 200_002,
    "spaces around": f"  {TEXT}\n",
    "think": f"<think>Hm, {TEXT}</think>{TEXT}",
    "think, open": f"<think>Hm, {TEXT}",
    "think, closed alone": f"Hm</think>{TEXT}",
    "think, empty": f"<think></think>{TEXT}",
    "think, twice": f"<think>a</think>{TEXT}<think>b</think>",
    "think, in capitals": f"<THINK>a</THINK>{TEXT}",
    "think, after spaces": f" \n<think>a</think>\n{TEXT}",
    "thinking": f"<thinking>Hm</thinking>{TEXT}",
    "reasoning": f"<reasoning>Hm</reasoning>{TEXT}",
    "budget": f"<budget:thinking>Hm</budget:thinking>{TEXT}",
    "think, null between": "<think>\x00</think>",
    "fenced": f"```json\n{TEXT}\n```",
    "a string of JSON": '"top_up"',
}
_CALL = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": TEXT}}
TOOL_CALLS: dict[str, Any] = {
    "one": [_CALL],
    "two": [_CALL, _CALL],
    "json_tool_call": [{**_CALL, "function": {"name": "json_tool_call", "arguments": TEXT}}],
    "of another": [{**_CALL, "function": {"name": "x", "arguments": '{"a": 1}'}}],
    "null": None,
    "none": [],
    "an object": _CALL,
    "a string": "answer",
    "a null": [None],
    "no id": [{"type": "function", "function": {"name": "answer", "arguments": TEXT}}],
    "no type": [{"id": "1", "function": {"name": "answer", "arguments": TEXT}}],
    "null type": [{"id": "1", "type": None, "function": {"name": "answer", "arguments": TEXT}}],
    "no function": [{"id": "1", "type": "function"}],
    "null function": [{"id": "1", "type": "function", "function": None}],
    "no arguments": [{"id": "1", "type": "function", "function": {"name": "answer"}}],
    "null arguments": [{**_CALL, "function": {"name": "answer", "arguments": None}}],
    "empty arguments": [{**_CALL, "function": {"name": "answer", "arguments": ""}}],
    "an object as arguments": [{**_CALL, "function": {"name": "a", "arguments": {"intent": 1}}}],
    "a list as arguments": [{**_CALL, "function": {"name": "answer", "arguments": [1]}}],
    "no name": [{"id": "1", "type": "function", "function": {"arguments": TEXT}}],
    "custom": [{"id": "1", "type": "custom", "custom": {"name": "answer", "input": TEXT}}],
    "with index": [{**_CALL, "index": 0, "x": 1}],
}
THOUGHTS: dict[str, Any] = {
    "text": "Hm",
    "an object": f" {TEXT}\n",
    "a list in text": "[1]",
    "empty": "",
    "null": None,
    "a number": 7,
    "an object itself": {"intent": "top_up"},
    "a list": ["Hm"],
    "broken": '{"intent":',
    "two objects": TEXT * 2,
}


def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each answer with its name."""
    yield "good", GOOD
    yield "full", FULL
    yield "short", {"choices": [{"message": {"content": TEXT}}]}
    for finish in FINISHES:
        name = "missing" if finish is _MISSING else repr(finish)
        yield f"finish {name}", with_choice(finish_reason=finish)
    yield (
        "finish length, no text",
        with_choice(finish_reason="length", message={"role": "assistant", "content": None}),
    )
    for native in ("error", "stop", "MAX_TOKENS", None, 7):
        yield f"native finish {native!r}", with_choice(native_finish_reason=native)
    yield "stop_reason of vLLM", with_choice(stop_reason=128_009)
    yield "error in the choice", with_choice(error={"code": 502, "message": "broke off"})
    yield "specific fields", with_choice(provider_specific_fields={"native_finish_reason": "error"})
    yield "specific fields, odd", with_choice(provider_specific_fields=7)
    yield "usage missing", with_fields(usage=_MISSING)
    for name, usage in USAGES.items():
        yield f"usage {name}", with_fields(usage=usage)
    yield "x_groq usage", with_fields(usage=_MISSING, x_groq={"id": "r", "usage": PLAIN})
    for name, content in CONTENTS.items():
        yield f"content {name}", with_message(content=content)
    yield from _messages()
    yield from _choices()
    yield from _tops()


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, calls in TOOL_CALLS.items():
        yield f"tool calls {name}", with_message(content=None, tool_calls=calls)
    yield "tool calls beside text", with_message(tool_calls=[_CALL])
    yield (
        "tool calls, finished by them",
        with_choice(
            finish_reason="tool_calls",
            message={"role": "assistant", "content": "", "tool_calls": [_CALL]},
        ),
    )
    yield "function_call", with_message(content=None, function_call=_CALL["function"])
    yield "function_call, odd", with_message(function_call="answer")
    for field in ("reasoning_content", "reasoning", "thinking"):
        for name, thoughts in THOUGHTS.items():
            yield f"{field} {name}", with_message(**{field: thoughts})
            yield f"{field} {name} alone", with_message(content=None, **{field: thoughts})
    yield "both kinds of thoughts", with_message(reasoning="a", reasoning_content="b")
    yield (
        "thoughts at a limit",
        with_choice(
            finish_reason="length",
            message={"role": "assistant", "content": None, "reasoning_content": TEXT},
        ),
    )
    blocks = [{"type": "thinking", "thinking": "Hm", "signature": "s"}]
    yield "thinking_blocks", with_message(thinking_blocks=blocks)
    details = [{"type": "reasoning.text", "text": "Hm", "signature": "s", "index": 0}]
    yield "reasoning_details", with_message(reasoning_details=details)
    yield "reasoning_details alone", with_message(content=None, reasoning_details=details)
    refusals: tuple[Any, ...] = ("I can't help with that.", "", None, 7, ["no"], {})
    for refusal in refusals:
        yield f"refusal {refusal!r}", with_message(refusal=refusal)
        yield f"refusal {refusal!r} alone", with_message(content=None, refusal=refusal)
    for role in ("user", "tool", "", None, 7, _MISSING):
        name = "missing" if role is _MISSING else repr(role)
        yield f"role {name}", with_message(role=role)
    citation = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "t"}}
    yield "annotations", with_message(annotations=[citation])
    yield "annotations, odd", with_message(annotations="x")
    yield "audio", with_message(audio={"id": "a", "data": "", "expires_at": 1, "transcript": "t"})
    yield "images", with_message(images=[{"type": "image_url", "image_url": {"url": "data:,"}}])
    yield "unknown fields of a message", with_message(x={"y": [1, None]}, name="n", weight=1)
    yield "provider_specific_fields", with_message(provider_specific_fields={"refusal": "no"})
    yield "provider_specific_fields, odd", with_message(provider_specific_fields="no")


def _choices() -> Iterator[tuple[str, dict[str, Any]]]:
    choice = GOOD["choices"][0]
    other = copy.deepcopy(choice) | {"index": 1, "finish_reason": "length"}
    other["message"]["content"] = "Another"
    for name, choices in named(
        {
            "none": [],
            "null": None,
            "missing": _MISSING,
            "an object": choice,
            "a string": "Hi",
            "a number": 7,
            "a null in them": [None],
            "a number in them": [7],
            "a list in them": [[choice]],
            "an empty one": [{}],
            "two": [choice, other],
            "two, in the other order": [other, choice],
            "a good one and a broken one": [choice, {"index": 1, "message": 7}],
            "a broken one and a good one": [{"index": 1, "message": None}, choice],
            "eight": [choice] * 8,
            "nine": [choice] * 9,
        }
    ):
        yield f"choices {name}", with_fields(choices=choices)
    for name, message in named({"null": None, "missing": _MISSING, "empty": {}}):
        yield f"message {name}", with_choice(message=message)
    for message in ("Hi", 7, ["Hi"]):
        yield f"message {message!r}", with_choice(message=message)
    yield "text in place of a message", with_choice(message=_MISSING, text="Hi")
    yield "delta in place of a message", with_choice(message=_MISSING, delta={"content": "Hi"})
    yield "delta beside a message", with_choice(delta={"content": "Hi"})
    for index in (1, "0", None, -1, 1.5, _MISSING):
        yield f"index {'missing' if index is _MISSING else repr(index)}", with_choice(index=index)
    tokens = {"content": [{"token": "x", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    for name, logprobs in named({"some": tokens, "odd": 7, "empty": {}, "a list": [1]}):
        yield f"logprobs {name}", with_choice(logprobs=logprobs)
    yield "unknown fields of a choice", with_choice(x=1, matched_stop=2, token_ids=[1, 2])


def _tops() -> Iterator[tuple[str, dict[str, Any]]]:
    odd = {
        "null": None,
        "missing": _MISSING,
        "a number": 7,
        "a string": "x",
        "a list": [],
        "{}": {},
    }
    for field in ("id", "object", "created", "model", "system_fingerprint", "service_tier"):
        for name, value in odd.items():
            yield f"{field} {name}", with_fields(**{field: value})
    yield "created as a float", with_fields(created=1.5)
    yield "created as a string of digits", with_fields(created="1760000000")
    yield (
        "unknown fields at the top",
        with_fields(x={"y": [1, {"z": None}]}, provider="p", cost=1.5),
    )
    for field in ("citations", "search_results", "related_questions", "images"):
        for name, value in named({"some": ["https://x"], "objects": [{"url": "x"}], "odd": 7}):
            yield f"{field} {name}", with_fields(**{field: value})
    yield "a type of Anthropic's", with_fields(type="message", content=[])
    yield "candidates beside", with_fields(candidates=[], usageMetadata={})
    yield "response beside", with_fields(response="Hi", done=True, message={"content": "Hi"})
    for field in ("data", "result", "output", "hidden_params", "_hidden_params", "response_ms"):
        yield f"{field} beside", with_fields(**{field: {"x": 1}})
    for field in ("stream", "_response_headers", "_request_id", "choices_", "model_config"):
        yield f"{field} beside", with_fields(**{field: True})
    errors = {
        "an object": {"code": 429, "message": "Slow down", "type": "rate_limit_exceeded"},
        "empty": {},
        "null": None,
        "a string": "model not found",
        "a number": 7,
        "a list": [{"code": 429}],
    }
    for name, error in errors.items():
        yield f"error beside an answer, {name}", with_fields(error=error)
        yield f"error alone, {name}", {"error": error}
        yield f"error beside no choices, {name}", with_fields(error=error, choices=[])
