"""The choice of a model: what each costs for a typical run, what it supports, when it retires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Literal

from pricing.efficiency import cost_efficient, relative_costs
from pricing.price_map import Listing, load_price_map
from pricing.rate_card import ModelClass
from providers.direct.routes import route_of
from providers.litellm.routes import OF_THE_HOST, provider_of
from runtime.catalog.models import Model, Models, build_models
from runtime.catalog.typical_run import TypicalRun
from runtime.config import Config

__all__ = ["ModelChoice", "TypicalRun", "model_choices"]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model, with what somebody needs to know to choose it.

    Args:
        typical_mc: the cost of a typical run in millicredits; ``None`` if the model has no rate.
        learned: the cost comes from real runs.
        relative_cost: the cost as a multiple of the cheapest model that can be called; ``None``
            if the model has no rate or has retired.
        cost_efficient: see ``pricing.efficiency.cost_efficient``.
        json_schema: support for JSON Schema by the config (``json_object``: for JSON alone),
            ``listed_json_schema`` by LiteLLM's
            list, ``None`` if it does not say.
        route: the way on which it is called: ``direct``, by ``acompletion``, or, if only a
            provider of the host's own can call it, ``custom``.
        route_reason: the reason if it is not called directly.
        context_tokens: from the config, else the most input tokens by LiteLLM's list. This and
            ``max_output_tokens`` are ``None`` if unknown.
        healthy: the model is called at present; ``None`` if unknown.
        given_up_on: the day on which its provider retires the model, by LiteLLM's list.
        called: the id of the model that is called for this one today, ``None`` if none is.
    """

    id: str
    litellm_model: str
    model_class: ModelClass
    endpoint: str
    typical_mc: int | None
    learned: bool
    relative_cost: Fraction | None
    cost_efficient: bool
    json_schema: bool | Literal["json_object"]
    listed_json_schema: bool | None
    route: Literal["direct", "acompletion", "custom"]
    route_reason: str | None
    context_tokens: int | None
    max_output_tokens: int | None
    healthy: bool | None
    retires_on: date | None
    replaced_by: str | None
    given_up_on: date | None
    called: str | None

    @property
    def priced(self) -> bool:
        """True if the rate card in force has a rate for it; without one it is not called."""
        return self.typical_mc is not None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The costs of a typical run on all models that have a rate."""

    costs_mc: Mapping[str, int]
    relative: Mapping[str, Fraction]
    efficient: frozenset[str]


def model_choices(
    config: Config,
    run: TypicalRun | None = None,
    *,
    is_healthy: Callable[[str], bool | None] = lambda model_id: None,
    now: datetime | None = None,
) -> list[ModelChoice]:
    """Return all models of a config, the cheapest first, those without a rate last.

    Args:
        run: the run by which they are compared.
        is_healthy: returns whether a model is called at present (its circuit is closed), ``None``
            if unknown.
        now: the time (UTC) by which rate cards are in force and models retire; the current time
            by default.

    Raises:
        PriceMapMissing: the installed LiteLLM has no price map.
    """
    run, now = run or TypicalRun(), now or datetime.now(UTC)
    models = build_models(config)
    card = config.build_rate_cards().at(now)
    costs_mc = run.costs_mc(models, card.rates if card else {}, config.compliance_prompt)
    called = _called(models, run, now.date())
    comparison = _compare(models, costs_mc, called)
    price_map = load_price_map()
    choices = [
        _choice(
            model,
            price_map.find(model.litellm_model),
            comparison,
            called=called[model.id],
            learned=model.id in run.learned,
            healthy=is_healthy(model.id),
        )
        for model in models
    ]
    return sorted(choices, key=lambda one: (not one.priced, one.typical_mc or 0, one.id))


def _called(models: Models, run: TypicalRun, today: date) -> dict[str, str | None]:
    """Return, for each model, the id of the one that is called for it today."""
    allowed = run.action is None or run.action.allow_replacement_model
    found = {
        model.id: models.usable(model.id, today, allow_replacement=allowed) for model in models
    }
    return {model_id: model.id if model else None for model_id, model in found.items()}


def _compare(
    models: Models, costs_mc: Mapping[str, int], called: Mapping[str, str | None]
) -> _Comparison:
    """Compare the costs of those models that have a rate and have not retired."""
    compared = {
        model.id: (model.model_class, costs_mc[model.id])
        for model in models
        if model.id in costs_mc and called[model.id] == model.id
    }
    relative = relative_costs({model_id: cost_mc for model_id, (_, cost_mc) in compared.items()})
    return _Comparison(costs_mc, relative, frozenset(cost_efficient(compared)))


def _choice(
    model: Model,
    listing: Listing | None,
    comparison: _Comparison,
    *,
    called: str | None,
    learned: bool,
    healthy: bool | None,
) -> ModelChoice:
    typical_mc = comparison.costs_mc.get(model.id)
    route, route_reason = _route(model, listing)
    return ModelChoice(
        id=model.id,
        litellm_model=model.litellm_model,
        model_class=model.model_class,
        endpoint=model.endpoint.name,
        typical_mc=typical_mc,
        learned=learned and typical_mc is not None,
        relative_cost=comparison.relative.get(model.id),
        cost_efficient=model.id in comparison.efficient,
        json_schema=model.json_schema,
        listed_json_schema=listing.json_schema if listing else None,
        route=route,
        route_reason=route_reason,
        context_tokens=model.context_tokens or (listing.max_input_tokens if listing else None),
        max_output_tokens=listing.max_output_tokens if listing else None,
        healthy=healthy,
        retires_on=model.retires_on,
        replaced_by=model.replaced_by,
        given_up_on=listing.deprecated_on if listing else None,
        called=called,
    )


def _route(
    model: Model, listing: Listing | None
) -> tuple[Literal["direct", "acompletion", "custom"], str | None]:
    """Return the way on which a model is called, and the reason if that is not the direct one."""
    if provider_of(model.litellm_model) == OF_THE_HOST:
        return "custom", "a provider of the host's own calls it"
    is_direct, reason = route_of(
        model.litellm_model, model.route, listing.mode if listing else None
    )
    return ("direct", None) if is_direct else ("acompletion", reason)
