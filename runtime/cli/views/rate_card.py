"""A rate card as text, as YAML for the config, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pricing.offers import MC_PER_CREDIT
from pricing.rate_card import RateCard, Rates, Tier, TokenRates
from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text

_CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")
_USUAL = {"cached_input": "input", "cache_write": "input", "reasoning": "output"}
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NO_TEXT = {"true", "false", "null"}


def card_json(card: RateCard) -> dict[str, Any]:
    """Return a card in JSON types; rates are millicredits per 1,000,000 tokens."""
    return {
        "version": card.version,
        "effective_from": card.effective_from.isoformat(),
        "rates": {model_id: asdict(rates) for model_id, rates in card.rates.items()},
    }


def card_lines(card: RateCard) -> Iterator[str]:
    """Yield the rates of a card, in credits per 1,000,000 tokens."""
    header = ("model", *(name.replace("_", " ") for name in _CLASSES), "per answer")
    rows = [row for model_id, rates in card.rates.items() for row in _rows(model_id, rates)]
    yield from table([header, *rows], right=range(1, len(header)))


def _rows(model_id: str, rates: Rates) -> Iterator[tuple[str, ...]]:
    per_answer = "free" if rates.free else credits_text(rates.per_request_mc)
    for held in (rates, *rates.tiers):
        name = model_id
        if isinstance(held, Tier):
            name = f"  above {held.above_input_tokens:,} input tokens"
        amounts = [credits_text(getattr(held, f"{one}_mc")) for one in _CLASSES]
        yield (name, *amounts, per_answer)


def card_yaml(card: RateCard, comments: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a card as YAML for the config's ``rate_cards``.

    A rate that equals its default, the rate of input or output, is left out. ``comments`` are
    written above the models.
    """
    yield "rate_cards:"
    yield f'  - version: "{card.version}"'
    yield f"    effective_from: {card.effective_from:%Y-%m-%d}"
    yield "    rates:"
    for model_id, rates in card.rates.items():
        if comment := comments.get(model_id):
            yield f"      # {comment}"
        yield f"      {_key(model_id)}:"
        yield from (f"        {line}" for line in _classes(rates))
        if rates.per_request_mc:
            yield f"        per_request: {_number(rates.per_request_mc)}"
        if rates.tiers:
            yield "        tiers:"
        for tier in rates.tiers:
            yield f"          - above_input_tokens: {tier.above_input_tokens}"
            yield from (f"            {line}" for line in _classes(tier))


def _classes(rates: TokenRates) -> Iterator[str]:
    for name in _CLASSES:
        rate_mc = getattr(rates, f"{name}_mc")
        if rate_mc != getattr(rates, f"{_USUAL.get(name)}_mc", None):
            yield f"{name}: {_number(rate_mc)}"


def _key(model_id: str) -> str:
    plain = _PLAIN_KEY.fullmatch(model_id) and model_id.lower() not in _NO_TEXT
    return model_id if plain else f'"{model_id}"'


def _number(amount_mc: int) -> str:
    whole, rest = divmod(amount_mc, MC_PER_CREDIT)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)
