"""Which models are worth their credits: the costs of one typical run, compared."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from pricing.rate_card import ModelClass

COST_EFFICIENT_PERCENT = 125
"""How much of its class's cheapest cost a model may take and still be cost-efficient."""

TYPICAL_OUTPUT_PERCENT = 40
"""The share of its limit that an answer takes where its real length is not known."""

REFERENCE_INPUT_TOKENS = 1_000
REFERENCE_OUTPUT_TOKENS = 300
"""The run by which models are compared where there is no action."""


def cost_efficient(costs: Mapping[str, tuple[ModelClass, int]]) -> frozenset[str]:
    """Return the models of which nearly the best price of their class is asked.

    Those are the ones that cost at most 1.25 times what the cheapest of the class costs. The
    cheapest always is one of them. Classes are not compared: a `quick` model is not the cheaper way
    to do complex work.

    Args:
        costs: class and cost (mc) of the same typical run, by model; of those that can be called.
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
    """Return how many times the lowest cost that is not zero each cost is.

    What is free is 0 times that.
    """
    lowest_mc = min((cost_mc for cost_mc in costs_mc.values() if cost_mc), default=1)
    return {model: Fraction(cost_mc, lowest_mc) for model, cost_mc in costs_mc.items()}


def typical_answer_tokens(max_output_tokens: int, allowance_tokens: int = 0) -> int:
    """Return how long an answer typically is: a share of what its limit leaves for it.

    Args:
        max_output_tokens: the action's limit.
        allowance_tokens: what the action's own model may think, within the limit.
    """
    return _share(max(max_output_tokens - allowance_tokens, 1))


def typical_thinking_tokens(allowance_tokens: int) -> int:
    """Return how much a model typically thinks: the same share of what it is allowed.

    It comes on top of the answer. So the same answer is compared, and a model that thinks more
    costs more.
    """
    return _share(allowance_tokens)


def _share(tokens: int) -> int:
    return -(-tokens * TYPICAL_OUTPUT_PERCENT // 100)
