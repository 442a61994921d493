"""Tokens of one model call, as the provider reported them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one answer.

    ``cached_input_tokens`` and ``cache_write_tokens`` are parts of ``input_tokens``;
    ``reasoning_tokens`` is a part of ``output_tokens``. Unknown usage is ``None`` in place of a
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
