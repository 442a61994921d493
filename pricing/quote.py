"""What an execution may cost at most, and what it did cost. All amounts are millicredits."""

from __future__ import annotations

from pricing.rate_card import Rates
from pricing.usage import TokenUsage

_TOKENS_PER_RATE = 1_000_000

UNLIMITED_TOKENS = 2**53 - 1
"""The answer of ``covered_output_tokens`` where output tokens cost nothing."""


def quote_mc(rates: Rates, input_tokens: int, max_output_tokens: int) -> int:
    """Return the most that a call can cost within these token limits.

    Every input token is taken at the dearest input rate, every output token at the dearest
    output rate of the tier that ``input_tokens`` reach, so ``cost_mc`` of any usage within the
    limits is never above it. Usage that reaches a lower tier only is cheaper: ``Rates`` refuses
    tiers that get cheaper.

    Raises:
        ValueError: a limit is negative.
    """
    if input_tokens < 0 or max_output_tokens < 0:
        raise ValueError(
            f"token limits must not be negative, got {input_tokens} and {max_output_tokens}"
        )
    tier = rates.at(input_tokens)
    return _charge_mc(
        rates,
        input_tokens * tier.dearest_input_mc + max_output_tokens * tier.dearest_output_mc,
    )


def cost_mc(rates: Rates, usage: TokenUsage) -> int:
    """Return what an answer with this usage costs, each token class at its own rate.

    The classes are plain, cached and cache-write input, plain and reasoning output; together they
    are all tokens, each counted once. The cost is monotone: usage that has at least as many tokens
    of every class never costs less, not even where it reaches another tier. Tokens that change
    their class with the totals as they are, as input that was found in a cache, may cost less.
    """
    tier = rates.at(usage.input_tokens)
    plain_input_tokens = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return _charge_mc(
        rates,
        plain_input_tokens * tier.input_mc
        + usage.cached_input_tokens * tier.cached_input_mc
        + usage.cache_write_tokens * tier.cache_write_mc
        + (usage.output_tokens - usage.reasoning_tokens) * tier.output_mc
        + usage.reasoning_tokens * tier.reasoning_mc,
    )


def covered_output_tokens(rates: Rates, input_tokens: int, available_mc: int) -> int:
    """Return the largest ``n`` for which ``quote_mc(rates, input_tokens, n) <= available_mc``.

    It is -1 when not even the input is covered, and ``UNLIMITED_TOKENS`` when the input is
    covered and output tokens cost nothing.

    Raises:
        ValueError: ``input_tokens`` is negative.
    """
    if quote_mc(rates, input_tokens, 0) > available_mc:
        return -1
    # Output does not change the tier: that is the input's matter alone.
    tier = rates.at(input_tokens)
    if tier.dearest_output_mc == 0:
        return UNLIMITED_TOKENS
    # Rounding up keeps to a whole number of millicredits exactly when the unrounded sum does.
    left = (available_mc - rates.per_request_mc) * _TOKENS_PER_RATE
    return (left - input_tokens * tier.dearest_input_mc) // tier.dearest_output_mc


def _charge_mc(rates: Rates, tokens_times_rate: int) -> int:
    """Round up, once: the only rounding of money in this project."""
    return -(-tokens_times_rate // _TOKENS_PER_RATE) + rates.per_request_mc
