"""Tokens of one model call: as the provider reported them, and the most that can be true."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one answer.

    ``cached_input_tokens`` and ``cache_write_tokens`` are parts of ``input_tokens``;
    ``reasoning_tokens`` is a part of ``output_tokens``. Unknown usage is ``None`` instead of a
    ``TokenUsage``, never zeros.

    Raises:
        ValueError: a count is negative, or a part is larger than its whole.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.cached_input_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cached_input_tokens + cache_write_tokens exceed input_tokens")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning_tokens exceed output_tokens")


_INPUT_SLACK_TOKENS = 500
"""A provider may add a preamble of its own; short prompts would not have room for it."""


def most_input_tokens(counted_tokens: int) -> int:
    """Return the most input tokens that a bill may have for a prompt that we counted."""
    return max(2 * counted_tokens, counted_tokens + _INPUT_SLACK_TOKENS)


def bounded(
    usage: TokenUsage, counted_input: int, max_output: int, allowance: int = 0
) -> tuple[TokenUsage, bool]:
    """Return the part of a usage that the request could have used, and whether that is less.

    No token class of the result has more tokens than the reported one, so it never costs more.

    Args:
        counted_input: our own count of the prompt, in tokens.
        max_output: the limit of output tokens that was sent.
        allowance: reasoning tokens that the provider bills beside that limit, else 0.

    Example:
        >>> bounded(TokenUsage(100, 1_000_000), counted_input=100, max_output=200)
        (TokenUsage(input_tokens=100, output_tokens=200, ...), True)
    """
    input_tokens = min(usage.input_tokens, most_input_tokens(counted_input))
    output_tokens = min(usage.output_tokens, max_output + allowance)
    if (input_tokens, output_tokens) == (usage.input_tokens, usage.output_tokens):
        return usage, False
    written = min(usage.cache_write_tokens, input_tokens)
    cached = min(usage.cached_input_tokens, input_tokens - written)
    reasoning = min(usage.reasoning_tokens, output_tokens)
    return TokenUsage(input_tokens, output_tokens, cached, written, reasoning), True
