"""Cost-efficient models: the costs of one typical run, compared."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from pricing.rate_card import ModelClass

COST_EFFICIENT_PERCENT = 125
"""The most that a cost-efficient model may cost, in percent of the cheapest of its class."""

TYPICAL_OUTPUT_PERCENT = 40
"""The share of its limit that an answer is assumed to take while real lengths are unknown."""

REFERENCE_INPUT_TOKENS = 1_000
REFERENCE_OUTPUT_TOKENS = 300
"""The run that models are compared by when there is no action."""


def cost_efficient(costs: Mapping[str, tuple[ModelClass, int]]) -> frozenset[str]:
    """Return the models that cost at most 1.25 times as much as the cheapest of their class.

    The cheapest is always one of them. Classes are not compared with each other: a `quick` model
    is not a cheaper way to do complex work.

    Args:
        costs: the class of each model that can be called, and its cost (mc) of the same typical
            run.
    """
    cheapest: dict[ModelClass, int] = {}
    for model_class, cost_mc in costs.values():
        cheapest[model_class] = min(cost_mc, cheapest.get(model_class, cost_mc))
    return frozenset(
        model
        for model, (model_class, cost_mc) in costs.items()
        if cost_mc * 100 <= cheapest[model_class] * COST_EFFICIENT_PERCENT
    )


def relative_costs(costs_mc: Mapping[str, int]) -> dict[str, Fraction]:
    """Return each cost as a multiple of the lowest cost above zero; a free model's is 0."""
    lowest_mc = min((cost_mc for cost_mc in costs_mc.values() if cost_mc), default=1)
    return {model: Fraction(cost_mc, lowest_mc) for model, cost_mc in costs_mc.items()}


def typical_answer_tokens(max_output_tokens: int, allowance_tokens: int = 0) -> int:
    """Return the typical length of an answer: a share of what its limit leaves for it.

    Args:
        max_output_tokens: the action's limit.
        allowance_tokens: the part of the limit that the action's own model may spend on reasoning.
    """
    return _share(max(max_output_tokens - allowance_tokens, 1))


def typical_thinking_tokens(allowance_tokens: int) -> int:
    """Return the typical number of reasoning tokens: the same share of the allowance.

    They are added to the answer, so that models are compared by the same answer, and one that
    reasons more costs more.
    """
    return _share(allowance_tokens)


def _share(tokens: int) -> int:
    return -(-tokens * TYPICAL_OUTPUT_PERCENT // 100)
