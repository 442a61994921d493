"""Answers in the forms of Anthropic, Gemini and Ollama, as ``openai_answers`` has OpenAI's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.harness.routes.openai_answers import TEXT
from tests.harness.routes.usages import USAGES, named

_TOOL: dict[str, Any] = {
    "type": "tool_use",
    "id": "t",
    "name": "json_tool_call",
    "input": {"intent": "top_up"},
}
_THINKING = {"type": "thinking", "thinking": "Hm", "signature": "s"}

ANTHROPIC: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 30, "output_tokens": 7},
}


def anthropic_answers() -> Iterator[tuple[str, Any]]:
    """Return each answer with its name."""
    yield "good", ANTHROPIC
    for reason in (
        *("max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn", "compaction"),
        *("model_context_window_exceeded", "error", "whatever", "", None, 7, ["end_turn"]),
    ):
        yield f"stop {reason!r}", ANTHROPIC | {"stop_reason": reason}
        yield f"stop {reason!r}, no text", ANTHROPIC | {"stop_reason": reason, "content": []}
    texts = {"an empty text": "", "a null": None, "a number": 7, "unicode": "Grüße \U0001f600 \x00"}
    for name, text in texts.items():
        yield f"text {name}", ANTHROPIC | {"content": [{"type": "text", "text": text}]}
    block: dict[str, Any] = {"type": "text", "text": TEXT}
    for name, content in named(
        {
            "two texts": [block, {"type": "text", "text": " and more"}],
            "a forced tool": [_TOOL],
            "a tool of another name": [_TOOL | {"name": "answer"}],
            "a block and a tool": [block, _TOOL],
            "two tools": [_TOOL, _TOOL | {"id": "u"}],
            "a tool with values": [_TOOL | {"input": {"values": {"intent": "top_up"}}}],
            "a tool with other input": [_TOOL | {"input": "x"}],
            "a tool with an empty input": [_TOOL | {"input": {}}],
            "a tool with no input": [{"type": "tool_use", "id": "t", "name": "json_tool_call"}],
            "thoughts and a text": [_THINKING, block],
            "thoughts and a tool": [_THINKING, _TOOL],
            "thoughts alone": [_THINKING],
            "hidden thoughts": [{"type": "redacted_thinking", "data": "x"}, block],
            "odd thoughts": [{"type": "thinking"}, block],
            "citations": [block | {"citations": [{"type": "char_location", "cited_text": "x"}]}],
            "a search": [{"type": "server_tool_use", "id": "s", "name": "x", "input": {}}, block],
            "a block of another kind": [{"type": "whatever", "x": 1}, block],
            "a block of no kind": [{"text": TEXT}],
            "a null": [None],
            "a string": "Hello",
            "null itself": None,
            "a number": 7,
            "an object": block,
            "a block of no text": [{"type": "text"}],
        }
    ):
        yield f"content {name}", ANTHROPIC | {"content": content}
    for name in ANTHROPIC:
        yield f"{name} missing", {key: value for key, value in ANTHROPIC.items() if key != name}
        yield f"{name} null", ANTHROPIC | {name: None}
    usage = ANTHROPIC["usage"]
    yield from (
        (f"usage {name}", ANTHROPIC | {"usage": counts})
        for name, counts in (
            {
                "cached": usage | {"cache_read_input_tokens": 100},
                "written": usage | {"cache_creation_input_tokens": 1_000},
                "both": USAGES["anthropic's own"],
                "by time to live": usage
                | {
                    "cache_creation_input_tokens": 100,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 60,
                        "ephemeral_1h_input_tokens": 40,
                    },
                },
                "null caches": usage
                | {"cache_read_input_tokens": None, "cache_creation_input_tokens": None},
                "thoughts": usage | {"output_tokens_details": {"thinking_tokens": 5}},
                "at the limit": usage | {"output_tokens": 50},
                "search": usage | {"server_tool_use": {"web_search_requests": 1}},
                "tier and place": usage | {"service_tier": "standard", "inference_geo": "us"},
                "speed": usage | {"speed": "fast"},
                "iterations": usage | {"iterations": [{"type": "message", "input_tokens": 3}]},
                "negative": {"input_tokens": -1, "output_tokens": -1},
                "strings": {"input_tokens": "30", "output_tokens": "7"},
                "floats": {"input_tokens": 30.0, "output_tokens": 7.5},
                "booleans": {"input_tokens": True, "output_tokens": True},
                "huge": {"input_tokens": 10**18, "output_tokens": 10**30},
                "odd": {"input_tokens": {}, "output_tokens": [7], "cache_creation": 7},
                "no output": {"input_tokens": 30},
                "no input": {"output_tokens": 7},
            }
            | {name: USAGES[name] for name in ("null", "empty", "zero", "a list", "a string")}
        ).items()
    )
    yield "an error", {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    yield "an error beside", ANTHROPIC | {"error": {"type": "overloaded_error"}}
    yield "container", ANTHROPIC | {"container": {"id": "c"}, "context_management": {"x": []}}
    yield "unknown fields", ANTHROPIC | {"x": {"y": [1]}}


_CANDIDATE: dict[str, Any] = {
    "content": {"role": "model", "parts": [{"text": TEXT}]},
    "finishReason": "STOP",
    "index": 0,
}
GEMINI: dict[str, Any] = {
    "candidates": [_CANDIDATE],
    "usageMetadata": {
        "promptTokenCount": 30,
        "candidatesTokenCount": 7,
        "totalTokenCount": 37,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}],
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r",
}


def _candidate(**fields: Any) -> dict[str, Any]:
    return GEMINI | {"candidates": [_CANDIDATE | fields]}


def _parts(*parts: Any) -> dict[str, Any]:
    return _candidate(content={"role": "model", "parts": list(parts)})


def gemini_answers() -> Iterator[tuple[str, Any]]:
    """Return each answer with its name."""
    yield "good", GEMINI
    for reason in (
        *("MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "SPII"),
        *("PROHIBITED_CONTENT", "MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY", "TOO_MANY_TOOL_CALLS"),
        *("FINISH_REASON_UNSPECIFIED", "UNEXPECTED_TOOL_CALL", "stop", "whatever", "", None, 7),
    ):
        yield f"finish {reason!r}", _candidate(finishReason=reason)
        yield (
            f"finish {reason!r}, no parts",
            _candidate(finishReason=reason, content={"role": "model"}),
        )
        yield (
            f"finish {reason!r}, no content",
            GEMINI | {"candidates": [{"finishReason": reason, "index": 0}]},
        )
    yield "finish missing", GEMINI | {"candidates": [{"content": _CANDIDATE["content"]}]}
    thought = {"text": "Hm", "thought": True}
    for name, parts in named(
        {
            "two": ({"text": '{"intent":'}, {"text": '"top_up"}'}),
            "a thought and a text": (thought, {"text": TEXT}),
            "a thought alone": (thought,),
            "an answer as a thought": ({"text": TEXT, "thought": True},),
            "a signature": ({"text": TEXT, "thoughtSignature": "cw=="},),
            "a call": ({"functionCall": {"name": "answer", "args": {"intent": "top_up"}}},),
            "a call without arguments": ({"functionCall": {"name": "answer"}},),
            "a text and a call": ({"text": "x"}, {"functionCall": {"name": "a", "args": {}}}),
            "empty": ({"text": ""},),
            "null": ({"text": None},),
            "a number": ({"text": 7},),
            "code": ({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}),
            "an image": ({"inlineData": {"mimeType": "image/png", "data": ""}},),
            "of no kind": ({},),
            "a null": (None,),
            "a string": ("Hello",),
            "unicode": ({"text": "Grüße \U0001f600 \x00"},),
            "none": (),
        }
    ):
        yield f"parts {name}", _parts(*parts)
    for name, content in named({"null": None, "empty": {}, "a string": "Hi", "a list": [1]}):
        yield f"content {name}", _candidate(content=content)
        yield f"parts {name}", _candidate(content={"role": "model", "parts": content})
    for name, candidates in named(
        {
            "none": [],
            "null": None,
            "an object": _CANDIDATE,
            "a null": [None],
            "an empty one": [{}],
            "two": [_CANDIDATE, _CANDIDATE | {"index": 1}],
            "eight": [_CANDIDATE] * 8,
            "nine": [_CANDIDATE] * 9,
        }
    ):
        yield f"candidates {name}", GEMINI | {"candidates": candidates}
    yield "nothing but usage", {"usageMetadata": GEMINI["usageMetadata"]}
    for feedback in ({"blockReason": "SAFETY"}, {"blockReason": "OTHER"}, {}, None, 7):
        blocked = {"promptFeedback": feedback, "usageMetadata": GEMINI["usageMetadata"]}
        yield f"blocked {feedback!r}", blocked
        yield f"blocked {feedback!r}, no usage", {"promptFeedback": feedback}
        yield f"blocked {feedback!r} beside an answer", GEMINI | {"promptFeedback": feedback}
    ratings = [{"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH", "blocked": True}]
    yield "ratings", _candidate(finishReason="SAFETY", safetyRatings=ratings)
    yield "grounding", _candidate(groundingMetadata={"webSearchQueries": ["x"]}, avgLogprobs=-0.1)
    yield "citations", _candidate(citationMetadata={"citations": [{"uri": "https://x"}]})
    yield "logprobs", _candidate(logprobsResult={"chosenCandidates": []})
    yield from _gemini_usages()
    for name in GEMINI:
        yield f"{name} missing", {key: value for key, value in GEMINI.items() if key != name}
        yield f"{name} null", GEMINI | {name: None}
    yield "an error", {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}
    yield "an error in a list", [{"error": {"code": 429, "message": "no"}}]
    yield "unknown fields", GEMINI | {"x": {"y": [1]}}


def _gemini_usages() -> Iterator[tuple[str, Any]]:
    usage = GEMINI["usageMetadata"]
    text = {"modality": "TEXT", "tokenCount": 10}
    for name, counts in named(
        {
            "thoughts": usage | {"thoughtsTokenCount": 20, "totalTokenCount": 57},
            "thoughts in the candidates": usage | {"thoughtsTokenCount": 5},
            "cached": usage | {"cachedContentTokenCount": 20, "cacheTokensDetails": [text]},
            "cached, no details": usage | {"cachedContentTokenCount": 20},
            "tools": usage | {"toolUsePromptTokenCount": 5, "totalTokenCount": 42},
            "details": usage | {"candidatesTokensDetails": [text | {"modality": "AUDIO"}]},
            "odd details": usage | {"promptTokensDetails": [{}], "candidatesTokensDetails": 7},
            "no candidates": {"promptTokenCount": 30, "totalTokenCount": 37},
            "no prompt": {"candidatesTokenCount": 7},
            "tier": usage | {"serviceTier": "standard", "trafficType": "ON_DEMAND"},
            "at the limit": usage | {"candidatesTokenCount": 50, "totalTokenCount": 80},
            "strings": {"promptTokenCount": "30", "candidatesTokenCount": "7"},
            "floats": {"promptTokenCount": 30.0, "candidatesTokenCount": 7.5},
            "negative": {"promptTokenCount": -30, "candidatesTokenCount": -7},
            "zeros": {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
            "huge": {"promptTokenCount": 10**18, "candidatesTokenCount": 10**30},
            "booleans": {"promptTokenCount": True, "candidatesTokenCount": True},
            "odd": {"promptTokenCount": {}, "candidatesTokenCount": [7]},
            "empty": {},
            "a list": [usage],
            "a string": "x",
        }
    ):
        yield f"usage {name}", GEMINI | {"usageMetadata": counts}


OLLAMA: dict[str, Any] = {
    "model": "m",
    "created_at": "2026-11-01T00:00:00Z",
    "response": TEXT,
    "message": {"role": "assistant", "content": TEXT},
    "done": True,
    "done_reason": "stop",
    "total_duration": 5,
    "prompt_eval_count": 30,
    "eval_count": 7,
}


def ollama_answers() -> Iterator[tuple[str, Any]]:
    """Return each answer with its name, for both of Ollama's forms."""
    yield "good", OLLAMA
    for reason in ("length", "load", "error", "whatever", "", None, 7):
        yield f"done {reason!r}", OLLAMA | {"done_reason": reason}
    for name, text in named(
        {
            "empty": "",
            "null": None,
            "a number": 7,
            "an object": {"intent": "top_up"},
            "a list": ["x"],
            "unicode": "Grüße \U0001f600 \x00",
            "think": f"<think>Hm</think>{TEXT}",
            "a call": '{"name": "answer", "arguments": {"intent": "top_up"}}',
            "broken": '{"intent":',
        }
    ):
        message = {"role": "assistant", "content": text}
        yield f"text {name}", OLLAMA | {"response": text, "message": message}
    call = {"function": {"name": "answer", "arguments": {"intent": "top_up"}}}
    for name, more in named(
        {
            "thoughts": {"thinking": "Hm"},
            "calls": {"tool_calls": [call]},
            "odd calls": {"tool_calls": [7]},
            "a call and no text": {"content": "", "tool_calls": [call]},
            "images": {"images": ["x"]},
        }
    ):
        yield f"message with {name}", OLLAMA | {"message": OLLAMA["message"] | more} | more
    for name, message in named({"null": None, "a string": "Hi", "empty": {}, "a list": []}):
        yield f"message {name}", OLLAMA | {"message": message}
    for name, count in named(
        {
            "null": None,
            "zero": 0,
            "a string": "7",
            "a float": 7.5,
            "negative": -7,
            "huge": 10**30,
            "true": True,
            "a list": [7],
            "at the limit": 50,
        }
    ):
        yield f"eval_count {name}", OLLAMA | {"eval_count": count}
        yield f"prompt_eval_count {name}", OLLAMA | {"prompt_eval_count": count}
    for name in OLLAMA:
        yield f"{name} missing", {key: value for key, value in OLLAMA.items() if key != name}
    yield "not done", OLLAMA | {"done": False}
    yield "an error", {"error": "model not found"}
    yield "an error beside", OLLAMA | {"error": "model not found"}
    yield "unknown fields", OLLAMA | {"x": {"y": [1]}}
