"""Suggested rates: a provider's prices times a markup."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import ceil

from pricing.errors import CreditgateError
from pricing.offers import MC_PER_CREDIT
from pricing.price_map import Listing, Prices
from pricing.rate_card import Rates, Tier, TokenRates

CREDITS_PER_USD = 10_000
"""A credit is $0.0001."""

_TOKENS_PER_RATE = 1_000_000


class NotSuggested(CreditgateError, ValueError):
    """No rates can be derived for a model; the message says why and follows the model's name."""


def suggest_rates(listing: Listing, markup: Decimal, today: date) -> Rates:
    """Return the prices of a model times the markup, each rounded up to a whole millicredit.

    A token class without a price, or with a price of zero, costs as much as input or output does:
    an unknown price never becomes a free token. If a longer request would be cheaper, the rate of
    shorter ones stays, since ``Rates`` never get cheaper.

    Raises:
        NotSuggested: it is not a chat model, is no longer offered, has no price or a price of
            zero, or bills something that a rate card cannot hold.
    """
    if listing.mode != "chat":
        mode = listing.mode or "unknown"
        raise NotSuggested(f"has the mode {mode!r}; only chat models can be called")
    if listing.deprecated_on is not None and listing.deprecated_on <= today:
        raise NotSuggested(f"is deprecated: its provider retired it on {listing.deprecated_on}")
    if listing.bills_searches:
        raise NotSuggested("bills searches in addition to tokens, which a rate card cannot hold")
    usual, *longer = listing.prices
    for name, price in (("input", usual.input_usd), ("output", usual.output_usd)):
        if price is None:
            raise NotSuggested(f"has no price for {name} tokens")
        if price == 0:
            raise NotSuggested(f"has a price of zero for {name} tokens")
    before, tiers = TokenRates(**_by_class(usual, markup)), []
    rates = before
    for prices in longer:
        by_class = _by_class(prices, markup, at_least=before)
        before = Tier(**by_class, above_input_tokens=prices.above_input_tokens)
        tiers.append(before)
    return Rates(
        **asdict(rates),
        per_request_mc=ceil(_mc(listing.per_request_usd, markup)),
        tiers=tuple(tiers),
        free=False,
    )


def _by_class(
    prices: Prices, markup: Decimal, at_least: TokenRates | None = None
) -> dict[str, int]:
    input_usd, output_usd = prices.input_usd, prices.output_usd
    by_class = {
        "input_mc": input_usd,
        "output_mc": output_usd,
        "cached_input_mc": prices.cached_input_usd or input_usd,
        "cache_write_mc": prices.cache_write_usd or input_usd,
        "reasoning_mc": prices.reasoning_usd or output_usd,
    }
    return {
        name: max(
            ceil(_mc(price_usd, markup) * _TOKENS_PER_RATE),
            getattr(at_least, name) if at_least else 0,
        )
        for name, price_usd in by_class.items()
    }


def _mc(price_usd: Decimal | None, markup: Decimal) -> Fraction:
    """Return a price in millicredits, not rounded yet; 0 if there is none."""
    return Fraction(price_usd or 0) * Fraction(markup) * CREDITS_PER_USD * MC_PER_CREDIT
