"""A typical run, by which models are compared, and what it costs on one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pricing.efficiency import (
    REFERENCE_INPUT_TOKENS,
    REFERENCE_OUTPUT_TOKENS,
    typical_answer_tokens,
    typical_thinking_tokens,
)
from pricing.quote import cost_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from runtime.actions.prompts import PromptError
from runtime.actions.spec import ActionSpec
from runtime.catalog.counting import count_prompt
from runtime.catalog.models import Model, Models
from runtime.learning.forecast import Typical

Data = Mapping[str, Mapping[str, Any]]
"""The scopes that templates read, of one person."""

_RAW_TAG = re.compile(r"{%-?\s*(?:end)?raw\s*-?%}")


@dataclass(frozen=True, slots=True)
class TypicalRun:
    """The run by which models are compared.

    Without an action it has 1,000 input and 300 output tokens. With one, the action's prompt is
    counted as for a quote, margin included.

    Args:
        people: the data of some people. The prompt counts with its mean length for those whose
            prompt can be rendered; without any, with the length of its templates.
        answer_tokens: the tokens of an average answer, without thinking. By default what was
            learned from the action's own model, else a share of the limit
            (``pricing.efficiency``).
        learned: what real answers of the action used, by model (``Estimator.learned``). It takes
            precedence over what is estimated here.
    """

    action: ActionSpec | None = None
    people: Sequence[Data] = ()
    answer_tokens: int | None = None
    learned: Mapping[str, Typical] = field(default_factory=dict)

    def costs_mc(
        self, models: Models, rates: Mapping[str, Rates], compliance_prompt: str = ""
    ) -> dict[str, int]:
        """Return what the run costs on each model that has rates, in millicredits."""
        answer_tokens = self._answer_tokens(models)
        return {
            model.id: self._cost_mc(model, rates[model.id], answer_tokens, compliance_prompt)
            for model in models
            if model.id in rates
        }

    def _cost_mc(
        self, model: Model, rates: Rates, answer_tokens: int, compliance_prompt: str
    ) -> int:
        input_tokens = self._input_tokens(model, compliance_prompt)
        if learned := self.learned.get(model.id):
            return math.ceil(learned.cost_mc(rates, input_tokens))
        thinking_tokens = typical_thinking_tokens(model.reasoning_allowance_tokens)
        output_tokens = answer_tokens + thinking_tokens
        usage = TokenUsage(input_tokens, output_tokens, reasoning_tokens=thinking_tokens)
        return cost_mc(rates, usage)

    def _answer_tokens(self, models: Models) -> int:
        """Return the tokens of an average answer; they are the same for all models."""
        if self.answer_tokens is not None:
            return self.answer_tokens
        if self.action is None:
            return REFERENCE_OUTPUT_TOKENS
        if learned := self.learned.get(self.action.model):
            return math.ceil(learned.visible_output_tokens)
        own = models.get(self.action.model)
        allowance_tokens = own.reasoning_allowance_tokens if own else 0
        return typical_answer_tokens(self.action.limits.max_output_tokens, allowance_tokens)

    def _input_tokens(self, model: Model, compliance_prompt: str) -> int:
        if self.action is None:
            return REFERENCE_INPUT_TOKENS
        counts = []
        for data in self.people:
            with suppress(PromptError):
                counts.append(count_prompt(model, self.action, data, compliance_prompt))
        if not counts:
            counts = [count_prompt(model, as_text(self.action), {}, compliance_prompt)]
        return -(-sum(counts) // len(counts))


def as_text(action: ActionSpec) -> ActionSpec:
    """Return an action whose prompts are its templates as they are written."""
    prompts = {
        name: text and f"{{% raw %}}{_RAW_TAG.sub('', text)}{{% endraw %}}"
        for name, text in (("system", action.system), ("user", action.user))
    }
    return action.model_copy(update=prompts)
