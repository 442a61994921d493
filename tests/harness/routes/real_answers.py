"""Answers in OpenAI's form, as its own and other providers give them."""

from __future__ import annotations

from typing import Any

from tests.harness.routes.usages import PLAIN

TEXT = '{"intent":"top_up"}'

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

_SAFE = {"hate": {"filtered": False, "severity": "safe"}}
_NONE_THOUGHT = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}


def _real(
    top: dict[str, Any] | None = None,
    choice: dict[str, Any] | None = None,
    message: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
) -> dict[str, Any]:
    said = GOOD["choices"][0]["message"] | (message or {})
    chosen = GOOD["choices"][0] | {"message": said} | (choice or {})
    return GOOD | {"choices": [chosen], "usage": PLAIN | (usage or {})} | (top or {})


REAL: dict[str, dict[str, Any]] = {
    "openai": _real(
        {"service_tier": "default", "system_fingerprint": "fp"},
        message={"refusal": None, "annotations": []},
        usage={
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": _NONE_THOUGHT,
        },
    ),
    "azure": _real(
        {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}]},
        {"content_filter_results": _SAFE},
        {"refusal": None, "annotations": []},
    ),
    "groq": _real(
        {"x_groq": {"id": "r", "seed": 1}, "usage_breakdown": None},
        usage={"queue_time": 0.03, "prompt_time": 0.01, "completion_time": 0.2, "total_time": 1},
    ),
    "mistral": _real(message={"tool_calls": None, "prefix": False}),
    "deepseek": _real(
        usage={
            "prompt_tokens_details": {"cached_tokens": 10},
            "prompt_cache_hit_tokens": 10,
            "prompt_cache_miss_tokens": 20,
        }
    ),
    "deepseek-reasoner": _real(
        message={"reasoning_content": "Hm, a card."},
        usage={"completion_tokens_details": {"reasoning_tokens": 5}},
    ),
    "xai": _real(
        message={"refusal": None},
        usage={
            "prompt_tokens_details": {
                "text_tokens": 30,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 20,
            },
            "completion_tokens_details": _NONE_THOUGHT,
            "num_sources_used": 0,
        },
    ),
    "openrouter": _real(
        {"provider": "OpenAI"},
        {"native_finish_reason": "stop"},
        {"refusal": None, "reasoning": None},
        {"cost": 0.0001, "is_byok": False, "cost_details": {"upstream_inference_cost": None}},
    ),
    "together_ai": _real({"prompt": []}, {"seed": 123}, {"tool_calls": []}),
    "vllm": _real(
        {"service_tier": "x", "prompt_logprobs": None, "kv_transfer_params": None},
        {"stop_reason": None, "token_ids": None},
        {"refusal": None, "tool_calls": [], "reasoning_content": None, "audio": None},
        {"prompt_tokens_details": None},
    ),
    "perplexity": _real(
        {"citations": ["https://x"], "search_results": [{"title": "t", "url": "https://x"}]},
        {"delta": {"role": "assistant", "content": ""}},
        usage={"search_context_size": "low", "cost": {"total_cost": 0.1}},
    ),
    "cerebras": _real(
        {"time_info": {"queue_time": 0.1, "created": 1.5}},
        usage={"prompt_tokens_details": {"cached_tokens": 0}},
    ),
    "moonshot": _real(usage={"cached_tokens": 12}),
    "minimax": _real({"base_resp": {"status_code": 0, "status_msg": ""}, "input_sensitive": False}),
}
"""Answers as providers give them."""
