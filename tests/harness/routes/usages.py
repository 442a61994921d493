"""What providers report as usage, and what none should: for OpenAI's form and its dialects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def named(cases: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return values of any type with their names."""
    return cases.items()


PLAIN: dict[str, Any] = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}

USAGES: dict[str, Any] = {
    "null": None,
    "empty": {},
    "zero": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "no output": {"prompt_tokens": 30, "completion_tokens": 0, "total_tokens": 30},
    "no input": {"prompt_tokens": 0, "completion_tokens": 7, "total_tokens": 7},
    "no total": {"prompt_tokens": 30, "completion_tokens": 7},
    "no completion": {"prompt_tokens": 30, "total_tokens": 37},
    "no prompt": {"completion_tokens": 7, "total_tokens": 37},
    "total alone": {"total_tokens": 37},
    "total too small": {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 3},
    "strings": {"prompt_tokens": "30", "completion_tokens": "7", "total_tokens": "37"},
    "words": {"prompt_tokens": "many", "completion_tokens": "", "total_tokens": " 37"},
    "whole floats": {"prompt_tokens": 30.0, "completion_tokens": 7.0, "total_tokens": 37.0},
    "floats": {"prompt_tokens": 30.5, "completion_tokens": 7.5, "total_tokens": 38.0},
    "1e3": {"prompt_tokens": 1e3, "completion_tokens": 1e300, "total_tokens": 1e3},
    "negative": {"prompt_tokens": -30, "completion_tokens": -7, "total_tokens": -37},
    "negative zero": {"prompt_tokens": -0.0, "completion_tokens": 7, "total_tokens": 7},
    "huge": {"prompt_tokens": 2**53, "completion_tokens": 10**18, "total_tokens": 10**30},
    "huge string": {"prompt_tokens": "9" * 30, "completion_tokens": "9" * 31},
    "booleans": {"prompt_tokens": True, "completion_tokens": True, "total_tokens": False},
    "nulls": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
    "objects": {"prompt_tokens": {"a": 1}, "completion_tokens": [7], "total_tokens": {}},
    "not a number": {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    "a list": [PLAIN],
    "a string": "30",
    "a number": 37,
    "true": True,
    "at the limit": {"prompt_tokens": 30, "completion_tokens": 50, "total_tokens": 80},
    "one below the limit": {"prompt_tokens": 30, "completion_tokens": 49, "total_tokens": 79},
    "unknown fields": PLAIN | {"cost": 0.01, "queue_time": 0.1, "x": {"y": [1]}, "is_byok": False},
    "camel case": {"promptTokens": 30, "completionTokens": 7},
    "of the responses api": {"input_tokens": 30, "output_tokens": 7, "total_tokens": 37},
    "of both": PLAIN | {"input_tokens": 31, "output_tokens": 8},
    # Cached, written, thought: the dialects
    "openai": PLAIN
    | {
        "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 5,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 1,
            "rejected_prediction_tokens": 1,
        },
    },
    "openai, null details": PLAIN
    | {"prompt_tokens_details": None, "completion_tokens_details": None},
    "details of no kind": PLAIN | {"prompt_tokens_details": 7, "completion_tokens_details": "x"},
    "details in a list": PLAIN | {"prompt_tokens_details": [{"cached_tokens": 20}]},
    "details with odd counts": PLAIN
    | {
        "prompt_tokens_details": {"cached_tokens": "20", "cache_write_tokens": 3.0, "x": None},
        "completion_tokens_details": {"reasoning_tokens": -5, "text_tokens": True},
    },
    "text and image tokens": PLAIN
    | {
        "prompt_tokens_details": {"text_tokens": 10, "image_tokens": 15, "audio_tokens": 5},
        "completion_tokens_details": {"text_tokens": 2, "audio_tokens": 3, "image_tokens": 2},
    },
    "cache written, in the details": PLAIN
    | {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 20}},
    "cache created, in the details": PLAIN
    | {"prompt_tokens_details": {"cache_creation_tokens": 20}},
    "cache written by time to live": PLAIN
    | {
        "cache_creation_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 12, "ephemeral_1h_input_tokens": 8},
    },
    "all cached": PLAIN | {"prompt_tokens_details": {"cached_tokens": 30}},
    "cached beside": {
        "prompt_tokens": 30,
        "completion_tokens": 40,
        "total_tokens": 3070,
        "prompt_tokens_details": {"cached_tokens": 3000},
    },
    "cached beside, few": {
        "prompt_tokens": 3000,
        "completion_tokens": 40,
        "total_tokens": 3070,
        "prompt_tokens_details": {"cached_tokens": 30},
    },
    "anthropic's counts": PLAIN
    | {"cache_read_input_tokens": 3000, "cache_creation_input_tokens": 100},
    "anthropic's counts, the first time": PLAIN
    | {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 3000},
    "moonshot": PLAIN | {"cached_tokens": 25},
    "deepseek": PLAIN | {"prompt_cache_hit_tokens": 25, "prompt_cache_miss_tokens": 5},
    "deepseek, odd": PLAIN | {"prompt_cache_hit_tokens": "25", "prompt_cache_miss_tokens": None},
    "xai": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 340,
        "completion_tokens_details": {"reasoning_tokens": 200},
        "prompt_tokens_details": {"cached_tokens": 50},
        "num_sources_used": 0,
    },
    "xai, as many cached as thought": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 190,
        "completion_tokens_details": {"reasoning_tokens": 50},
        "prompt_tokens_details": {"cached_tokens": 50},
    },
    "xai, in the total alone": {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 340},
    "more thought than written": PLAIN | {"completion_tokens_details": {"reasoning_tokens": 100}},
    "reasoning at the top": PLAIN | {"reasoning_tokens": 5},
    "perplexity": PLAIN
    | {
        "search_context_size": "low",
        "citation_tokens": 10,
        "num_search_queries": 2,
        "reasoning_tokens": 9,
        "cost": {"input_tokens_cost": 0.1, "total_cost": 0.2},
    },
    "groq": PLAIN | {"queue_time": 0.03, "prompt_time": 0.01, "total_time": 0.5},
    "openrouter": PLAIN
    | {
        "cost": 0.00014,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": None},
        "prompt_tokens_details": {"cached_tokens": 0},
    },
    "server tool use": PLAIN | {"server_tool_use": {"web_search_requests": 3}},
    "anthropic's own": {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 1_000,
        "output_tokens": 7,
    },
}
