"""The quote of an execution, and its cost. All amounts are millicredits."""

from __future__ import annotations

from pricing.rate_card import Rates
from pricing.usage import TokenUsage

_TOKENS_PER_RATE = 1_000_000

UNLIMITED_TOKENS = 2**53 - 1
"""The result of ``covered_output_tokens`` if output tokens cost nothing."""


def quote_mc(rates: Rates, input_tokens: int, max_output_tokens: int) -> int:
    """Return the most that a call can cost within these token limits.

    Every input token counts at the dearest input rate of the tier that ``input_tokens`` reach,
    every output token at its dearest output rate. So ``cost_mc`` of any usage within the limits is
    never higher: a lower tier is never dearer, as ``Rates`` refuses tiers that get cheaper.

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
    """Return the cost of an answer with this usage, each token class at its own rate.

    The classes are plain, cached and cache-write input, and plain and reasoning output; every token
    is in exactly one of them. The cost is monotone: usage with at least as many tokens of every
    class never costs less, even in another tier. Tokens that move to another class while the
    totals stay the same, such as input found in a cache, may cost less.
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

    It is -1 if not even the input is covered, and ``UNLIMITED_TOKENS`` if the input is covered and
    output tokens cost nothing.

    Raises:
        ValueError: ``input_tokens`` is negative.
    """
    if quote_mc(rates, input_tokens, 0) > available_mc:
        return -1
    # The input alone decides the tier.
    tier = rates.at(input_tokens)
    if tier.dearest_output_mc == 0:
        return UNLIMITED_TOKENS
    # A sum rounded up is within a whole number exactly if the unrounded sum is.
    left = (available_mc - rates.per_request_mc) * _TOKENS_PER_RATE
    return (left - input_tokens * tier.dearest_input_mc) // tier.dearest_output_mc


def _charge_mc(rates: Rates, tokens_times_rate: int) -> int:
    """Return the charge, rounded up: the only rounding of money in this project."""
    return -(-tokens_times_rate // _TOKENS_PER_RATE) + rates.per_request_mc
