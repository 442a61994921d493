"""The choice of a model: what each costs for a typical run, what it can do, how long it stays."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from pricing.efficiency import (
    REFERENCE_INPUT_TOKENS,
    REFERENCE_OUTPUT_TOKENS,
    cost_efficient,
    relative_costs,
    typical_answer_tokens,
    typical_thinking_tokens,
)
from pricing.price_map import load_price_map
from pricing.quote import cost_mc
from pricing.rate_card import ModelClass, Rates
from pricing.usage import TokenUsage
from runtime.actions.prompts import PromptError
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model, build_models
from runtime.config import Config
from runtime.learning.forecast import Typical

Data = Mapping[str, Mapping[str, Any]]

_RAW_TAG = re.compile(r"{%-?\s*(?:end)?raw\s*-?%}")


@dataclass(frozen=True, slots=True)
class TypicalRun:
    """The run by which models are compared.

    Without an action it is one of 1,000 input and 300 output tokens. Of an action, the prompt is
    counted as it is quoted, margin included.

    Args:
        people: what is known of some people; the prompt's mean length for those of them whose
            prompt can be rendered. Without any it is the length of the templates.
        answer_tokens: what an answer takes on average, thinking aside; without, what it takes on
            the action's own model where that was learned, else a share of the limit
            (``pricing.efficiency``).
        learned: what real answers of the action used, by model (``Estimator.learned``); it comes
            before what is estimated here.
    """

    action: ActionSpec | None = None
    people: Sequence[Data] = ()
    answer_tokens: int | None = None
    learned: Mapping[str, Typical] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What one model means for whoever chooses.

    ``typical_mc`` is what a typical run costs (millicredits), ``relative_cost`` how many times the
    cheapest of those that can be called; they are ``None`` where the model has no rate, the latter
    also where it has retired. ``learned`` says that real runs told the cost. ``cost_efficient``
    follows ``pricing.efficiency.cost_efficient``. ``json_schema`` is the config's word and
    ``listed_json_schema`` LiteLLM's, ``None`` if it says nothing.
    ``context_tokens`` is the config's, else what LiteLLM lists as the most input tokens; this and
    ``max_output_tokens`` are ``None`` where nobody says, ``healthy`` where nobody knows.
    ``given_up_on`` is the day on which the provider gives the model up, as LiteLLM lists it.
    ``called`` is the model that is called for this one today, ``None`` if none is.
    """

    id: str
    litellm_model: str
    model_class: ModelClass
    endpoint: str
    typical_mc: int | None
    learned: bool
    relative_cost: Fraction | None
    cost_efficient: bool
    json_schema: bool
    listed_json_schema: bool | None
    context_tokens: int | None
    max_output_tokens: int | None
    healthy: bool | None
    retires_on: date | None
    replaced_by: str | None
    given_up_on: date | None
    called: str | None

    @property
    def priced(self) -> bool:
        """Whether the rate card in force has a rate for it: without one it is not called."""
        return self.typical_mc is not None


def model_choices(
    config: Config,
    run: TypicalRun | None = None,
    *,
    is_healthy: Callable[[str], bool | None] = lambda model_id: None,
    now: datetime | None = None,
) -> list[ModelChoice]:
    """Return all models of a config, the cheapest first, those without a price last.

    Args:
        run: by which they are compared.
        is_healthy: says of a model whether it is called at present (its circuit is closed), or
            ``None`` if that is not known.
        now: stands for the current time (UTC), by which rate cards are in force and models retire.

    Raises:
        PriceMapMissing: the installed LiteLLM has no price map.
    """
    run, now = run or TypicalRun(), now or datetime.now(UTC)
    models = build_models(config)
    card = config.build_rate_cards().at(now)
    own = config.models.get(run.action.model) if run.action else None
    usages = _Usages(run, own.reasoning_allowance_tokens if own else 0, config.compliance_prompt)
    allowed = run.action is None or run.action.allow_replacement_model
    costs_mc: dict[str, int] = {}
    called: dict[str, Model | None] = {}
    for model in models:
        called[model.id] = models.usable(model.id, now.date(), allow_replacement=allowed)
        if card is not None and model.id in card.rates:
            costs_mc[model.id] = usages.cost_mc(model, card.rates[model.id])
    compared = {
        model.id: (model.model_class, costs_mc[model.id])
        for model in models
        if model.id in costs_mc and called[model.id] is model
    }
    efficient = cost_efficient(compared)
    relative = relative_costs({model_id: cost_mc for model_id, (_, cost_mc) in compared.items()})
    choices = []
    for model in models:
        listing, today = load_price_map().find(model.litellm_model), called[model.id]
        choices.append(
            ModelChoice(
                id=model.id,
                litellm_model=model.litellm_model,
                model_class=model.model_class,
                endpoint=model.endpoint.name,
                typical_mc=costs_mc.get(model.id),
                learned=model.id in costs_mc and model.id in run.learned,
                relative_cost=relative.get(model.id),
                cost_efficient=model.id in efficient,
                json_schema=model.json_schema,
                listed_json_schema=listing.json_schema if listing else None,
                context_tokens=model.context_tokens
                or (listing.max_input_tokens if listing else None),
                max_output_tokens=listing.max_output_tokens if listing else None,
                healthy=is_healthy(model.id),
                retires_on=model.retires_on,
                replaced_by=model.replaced_by,
                given_up_on=listing.deprecated_on if listing else None,
                called=today.id if today else None,
            )
        )
    return sorted(choices, key=lambda one: (not one.priced, one.typical_mc or 0, one.id))


class _Usages:
    """What models use in a typical run.

    Args:
        own_allowance_tokens: what the action's own model may think.
    """

    def __init__(self, run: TypicalRun, own_allowance_tokens: int, prepend: str) -> None:
        self._run = run
        self._prepend = prepend
        self._answer_tokens = REFERENCE_OUTPUT_TOKENS
        if run.action is not None:
            limit = run.action.limits.max_output_tokens
            self._answer_tokens = typical_answer_tokens(limit, own_allowance_tokens)
            if learned := run.learned.get(run.action.model):
                self._answer_tokens = math.ceil(learned.visible_output_tokens)
        if run.answer_tokens is not None:
            self._answer_tokens = run.answer_tokens

    def cost_mc(self, model: Model, rates: Rates) -> int:
        """Return what a typical run costs: as learned, else as it is estimated."""
        action = self._run.action
        input_tokens = self._input_tokens(model, action) if action else REFERENCE_INPUT_TOKENS
        learned = self._run.learned.get(model.id)
        if learned is not None:
            return math.ceil(learned.cost_mc(rates, input_tokens))
        thinking_tokens = typical_thinking_tokens(model.reasoning_allowance_tokens)
        output_tokens = self._answer_tokens + thinking_tokens
        usage = TokenUsage(input_tokens, output_tokens, reasoning_tokens=thinking_tokens)
        return cost_mc(rates, usage)

    def _input_tokens(self, model: Model, action: ActionSpec) -> int:
        counts = []
        for data in self._run.people:
            with suppress(PromptError):
                counts.append(self._count(model, action, action, data))
        if not counts:
            counts = [self._count(model, action, _as_text(action), {})]
        return -(-sum(counts) // len(counts))

    def _count(self, model: Model, action: ActionSpec, rendered: ActionSpec, data: Data) -> int:
        messages = rendered.render(
            data, with_instruction=not model.json_schema, prepend=self._prepend
        )
        schema = action.json_schema if model.json_schema else None
        return model.counter.count_messages(messages, schema)


def _as_text(action: ActionSpec) -> ActionSpec:
    """Return an action whose prompts are its templates as they are written."""
    prompts = {
        name: text and f"{{% raw %}}{_RAW_TAG.sub('', text)}{{% endraw %}}"
        for name, text in (("system", action.system), ("user", action.user))
    }
    return action.model_copy(update=prompts)
