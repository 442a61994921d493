"""Reads the usage of an answer, in the dialects that providers speak and LiteLLM passes on.

Providers disagree about what is part of what. ``prompt_tokens`` mostly includes what was read from
and written to a cache, and ``completion_tokens`` includes reasoning; some count them beside:

- cached tokens beside the prompt: Anthropic's own counts on OpenAI-like endpoints;
- ``cached_tokens`` at the top: Moonshot; ``prompt_cache_hit_tokens``: DeepSeek;
- reasoning in ``total_tokens`` alone, or beside ``completion_tokens``: xAI.

So a part that does not fit into its whole, or that explains the total, is beside it.
"""

from __future__ import annotations

from typing import Any

from pricing.usage import TokenUsage

_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    (None, "cached_tokens"),
    (None, "cache_read_input_tokens"),
    (None, "prompt_cache_hit_tokens"),
)
_WRITTEN = (
    ("prompt_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_tokens"),
    (None, "cache_creation_input_tokens"),
)


def read_usage(usage: Any, *, answered: bool) -> tuple[TokenUsage | None, bool]:
    """Return the usage, and whether reasoning is billed beside the answer.

    It is ``None`` where it is unknown. LiteLLM turns counts that are missing into zeros, and no
    prompt and no text has 0 tokens.

    Args:
        usage: LiteLLM's object, which keeps the fields that it does not know, or a dict like it.
        answered: true if there is a text.
    """
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    total = _count(usage, "total_tokens")
    cached, written = _most(usage, _CACHED), _most(usage, _WRITTEN)
    reasoning = _count(_part(usage, "completion_tokens_details"), "reasoning_tokens")
    explains_total = (
        cached > 0
        and total == prompt + cached + written + completion
        and total != prompt + completion + reasoning
    )
    if cached + written > prompt or explains_total:
        prompt += cached + written
    output = max(completion, total - prompt)
    if reasoning > output:
        output += reasoning
    if prompt == 0 or (answered and output == 0):
        return None, False
    return TokenUsage(prompt, output, cached, written, reasoning), output > completion


def _most(usage: Any, places: tuple[tuple[str | None, str], ...]) -> int:
    """Return the highest of the counts in these places: the same one, or zeros."""
    return max(_count(usage if part is None else _part(usage, part), name) for part, name in places)


def _part(whole: Any, name: str) -> Any:
    return whole.get(name) if isinstance(whole, dict) else getattr(whole, name, None)


def _count(counts: Any, name: str) -> int:
    """Return a count of tokens; 0 where there is none or it is not a positive integer."""
    value = _part(counts, name)
    return value if isinstance(value, int) and value > 0 else 0
