"""LiteLLM's price map, read from the file in its package: no network is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pricing.errors import CreditgateError

_FILE = "model_prices_and_context_window_backup.json"
_CLASSES = {
    "input_usd": "input_cost_per_token",
    "output_usd": "output_cost_per_token",
    "cached_input_usd": "cache_read_input_token_cost",
    "cache_write_usd": "cache_creation_input_token_cost",
    "reasoning_usd": "output_cost_per_reasoning_token",
}
_ABOVE = re.compile(rf"(?:{'|'.join(_CLASSES.values())})_above_(?P<count>\d+)(?P<k>k?)_tokens")
_FROM_THRESHOLD_ON = ("xai",)
"""Providers whose higher prices begin at the threshold, not above it, as LiteLLM has it too."""

_FAMILIES = ("vertex_ai", "bedrock", "fireworks_ai")
"""Providers that the map splits into several, such as ``vertex_ai-anthropic_models``."""


class PriceMapMissing(CreditgateError):
    """The installed litellm package has no price map, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per token, by token class; ``None`` where the map gives no price."""

    above_input_tokens: int
    input_usd: Decimal | None
    output_usd: Decimal | None
    cached_input_usd: Decimal | None
    cache_write_usd: Decimal | None
    reasoning_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The map's entry for one model.

    ``prices`` begin with the ordinary ones; those of longer requests follow, by length.
    ``bills_searches`` marks models that search the web by themselves and bill the searches in
    addition to tokens, ``reasons`` those that can think before they answer. A field that the map
    does not give is ``None``.
    """

    name: str
    provider: str
    mode: str | None
    prices: tuple[Prices, ...]
    per_request_usd: Decimal | None
    bills_searches: bool
    json_schema: bool | None
    reasons: bool
    max_input_tokens: int | None
    max_output_tokens: int | None
    deprecated_on: date | None


class PriceMap:
    """The models that LiteLLM lists, under its own names, such as ``openai/gpt-4.1``."""

    def __init__(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self._entries = entries

    def find(self, litellm_model: str) -> Listing | None:
        """Return the listing of a model, named ``PROVIDER/NAME``, or ``None``.

        Some entries have the provider in their name. Others are found without it, if they belong
        to the same provider.
        """
        provider, _, rest = litellm_model.partition("/")
        if litellm_model in self._entries:
            return _listing(litellm_model, provider, self._entries[litellm_model])
        entry = self._entries.get(rest)
        if entry is None or _provider(entry) != provider:
            return None
        return _listing(litellm_model, provider, entry)

    def near(self, litellm_model: str) -> list[str]:
        """Return up to three names of chat models with a similar spelling."""
        return get_close_matches(litellm_model, set(self._chat_models()), n=3, cutoff=0.7)

    def _chat_models(self) -> Iterator[str]:
        for name, entry in self._entries.items():
            if entry.get("mode") == "chat":
                provider = _provider(entry)
                yield name if name.startswith(f"{provider}/") else f"{provider}/{name}"


@cache
def load_price_map() -> PriceMap:
    """Return the map of the installed LiteLLM, without importing it and without the network.

    Raises:
        PriceMapMissing: the file is missing or damaged.
    """
    spec = find_spec("litellm")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, _FILE)
        if path.is_file():
            try:
                # Exact: a price like 0.00000125 has no binary form.
                entries = json.loads(path.read_bytes(), parse_float=Decimal)
            except ValueError:
                raise PriceMapMissing(
                    f"the price map in {path} is damaged: reinstall litellm"
                ) from None
            return PriceMap(entries)
    raise PriceMapMissing("the installed litellm has no price map: reinstall litellm")


def _provider(entry: Mapping[str, Any]) -> str:
    provider = str(entry.get("litellm_provider"))
    return next((family for family in _FAMILIES if provider.startswith(family)), provider)


def _listing(name: str, provider: str, entry: Mapping[str, Any]) -> Listing:
    mode, schema = entry.get("mode"), entry.get("supports_response_schema")
    return Listing(
        name=name,
        provider=provider,
        mode=mode if isinstance(mode, str) else None,
        prices=tuple(_prices(provider, entry)),
        per_request_usd=_number(entry.get("input_cost_per_request")),
        bills_searches=provider == "perplexity"
        and not entry.keys().isdisjoint(
            {"search_context_cost_per_query", "citation_cost_per_token"}
        ),
        json_schema=schema if isinstance(schema, bool) else None,
        reasons=entry.get("supports_reasoning") is True,
        max_input_tokens=_count(entry.get("max_input_tokens")),
        max_output_tokens=_count(entry.get("max_output_tokens")),
        deprecated_on=_day(entry.get("deprecation_date")),
    )


def _prices(provider: str, entry: Mapping[str, Any]) -> Iterator[Prices]:
    """Yield the prices of ordinary requests, then those of longer ones."""
    if "input_cost_per_token" not in entry and (ranges := _ranges(entry)):
        for first_token, tier in ranges:
            yield _by_class(tier, first_token)
        return
    yield _by_class(entry, 0)
    thresholds = {
        int(found["count"])
        * (1_000 if found["k"] else 1): f"_above_{found['count']}{found['k']}_tokens"
        for key in entry
        if (found := _ABOVE.fullmatch(key))
    }
    for threshold, suffix in sorted(thresholds.items()):
        above = threshold - 1 if provider in _FROM_THRESHOLD_ON else threshold
        yield _by_class(entry, above, suffix)


def _ranges(entry: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the prices that are listed by ranges of input tokens, each with its lower end."""
    try:
        found = [(int(tier["range"][0]), tier) for tier in entry.get("tiered_pricing", ())]
    except (TypeError, KeyError, IndexError, ValueError):
        return []
    return sorted(found, key=lambda tier: tier[0])


def _by_class(entry: Mapping[str, Any], above_input_tokens: int, suffix: str = "") -> Prices:
    found = {name: _number(entry.get(key + suffix)) for name, key in _CLASSES.items()}
    return Prices(above_input_tokens=above_input_tokens, **found)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() and number >= 0 else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number else None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
