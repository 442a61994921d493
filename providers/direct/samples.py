"""Answers as providers send them, one in each form: both routes must read the same in them."""

from __future__ import annotations

import json
from typing import Any

from providers.http import HttpAnswer

_OPENAI: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "m",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": '{"reply":"Hallo, Zoë"}', "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 15,
        "total_tokens": 135,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
}
_BARE: dict[str, Any] = {
    "choices": [
        {"message": {"role": "assistant", "content": "Hallo"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 15, "total_tokens": 135},
}
_ANTHROPIC: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": '{"reply":"Hallo, Zoë"}'}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 56,
        "output_tokens": 15,
        "cache_read_input_tokens": 64,
        "cache_creation_input_tokens": 32,
    },
}
_GEMINI: dict[str, Any] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": '{"reply":"Hallo, Zoë"}'}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 120,
        "candidatesTokenCount": 10,
        "totalTokenCount": 135,
        "cachedContentTokenCount": 64,
        "thoughtsTokenCount": 5,
    },
    "modelVersion": "m",
}
_OLLAMA: dict[str, Any] = {
    "model": "m",
    "created_at": "2026-11-27T00:00:00Z",
    "message": {"role": "assistant", "content": '{"reply":"Hallo, Zoë"}'},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 120,
    "eval_count": 15,
}


def _answer(body: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, ((b"Content-Type", b"application/json"),), json.dumps(body).encode())


ANSWERS = tuple(_answer(body) for body in (_OPENAI, _ANTHROPIC, _GEMINI, _OLLAMA))
BARE = _answer(_BARE)
"""As little as an answer in OpenAI's form can hold."""
NAMES = frozenset(_OPENAI)
"""All names at the top of an answer in OpenAI's form."""
