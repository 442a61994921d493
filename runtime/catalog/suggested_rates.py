"""Suggested rate cards, from the prices that LiteLLM lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from pricing.price_map import PriceMap, load_price_map
from pricing.rate_card import RateCard, Rates
from pricing.suggested_rates import NotSuggested, suggest_rates
from runtime.config.sections import ModelSection
from runtime.hints import did_you_mean
from runtime.ids import ID_RULE, is_strict_id


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested card, with LiteLLM's names of its models and notes on some of them."""

    card: RateCard
    names: Mapping[str, str]
    notes: Mapping[str, str]


def chosen_models(asked: Sequence[str], configured: Mapping[str, ModelSection]) -> dict[str, str]:
    """Return LiteLLM's names of the models to suggest rates for, by our own ids.

    Args:
        asked: ids of configured models, ``PROVIDER/NAME``, or ``ID=PROVIDER/NAME``.

    Raises:
        ValueError: no model is named, or some cannot be understood; the message has a line for
            each.
    """
    if not asked:
        raise ValueError("there is no model to suggest rates for: the config has no models")
    chosen: dict[str, str] = {}
    mistakes = []
    for one in asked:
        try:
            model_id, name = _chosen(one, configured)
        except ValueError as error:
            mistakes.append(f"{one}: {error}")
            continue
        if chosen.setdefault(model_id, name) != name:
            mistakes.append(f"{one}: {model_id!r} already stands for {chosen[model_id]}")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return chosen


def is_configured(asked: str) -> bool:
    """Return whether an argument is the id of a configured model."""
    return not {"/", "="} & set(asked)


def _chosen(asked: str, configured: Mapping[str, ModelSection]) -> tuple[str, str]:
    """Return our id of a model, and LiteLLM's name."""
    if is_configured(asked):
        if asked in configured:
            return asked, configured[asked].litellm_model
        hint = did_you_mean(asked, configured) or "; name other models like openai/gpt-4.1"
        raise ValueError(f"the config has no such model{hint}")
    model_id, equals, name = asked.rpartition("=")
    if not all(name.partition("/")):
        raise ValueError("must be ID=PROVIDER/NAME, such as writer=openai/gpt-4.1")
    if not equals:
        model_id = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.partition("/")[2])[:64]
    if not is_strict_id(model_id):
        raise ValueError(f"the id {model_id[:80]!r} must be {ID_RULE}")
    return model_id, name


def suggest_card(
    chosen: Mapping[str, str],
    markup: Decimal,
    version: str,
    effective_from: datetime,
    today: date,
) -> Suggestion:
    """Return a rate card for models.

    Args:
        chosen: LiteLLM's names by our own ids.
        effective_from: in UTC.

    Raises:
        ValueError: the version is not an id, or some models are refused; the message has a line
            for each, with the reason and similar names.
    """
    if not is_strict_id(version):
        raise ValueError(f"version: found {version[:80]!r}, must be {ID_RULE}")
    listed = load_price_map()
    rates: dict[str, Rates] = {}
    refused, notes = [], {}
    for model_id, name in chosen.items():
        listing = listed.find(name)
        if listing is None:
            refused.append(f"{name}: LiteLLM lists no such model{_near(listed, name)}")
            continue
        try:
            rates[model_id] = suggest_rates(listing, markup, today)
        except NotSuggested as error:
            refused.append(f"{name}: {error}")
        if listing.deprecated_on is not None:
            notes[model_id] = (
                f"{name} is retired by its provider on {listing.deprecated_on} (set retires_on)"
            )
    if refused:
        raise ValueError("no card was written. Refused models:\n" + "\n".join(refused))
    return Suggestion(RateCard(version, effective_from, rates), chosen, notes)


def _near(listed: PriceMap, name: str) -> str:
    near = listed.near(name)
    return f"; did you mean {' or '.join(near)}?" if near else ""
