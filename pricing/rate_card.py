"""Rate cards: dated rates by model and token class."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

MAX_RATE_MC = 10**12
"""The highest rate, 1,000 credits per token: no possible call can cost 2^53 mc."""


class ModelClass(StrEnum):
    """The purpose of a model: complex work at more credits a run, or speed at fewer."""

    REASONING = "reasoning"
    QUICK = "quick"


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Millicredits per 1,000,000 tokens, by token class.

    Raises:
        ValueError: a rate is not an integer from 0 to ``MAX_RATE_MC``.
    """

    input_mc: int
    output_mc: int
    cached_input_mc: int
    cache_write_mc: int
    reasoning_mc: int

    def __post_init__(self) -> None:
        for name, rate in self._rates():
            if type(rate) is not int or not 0 <= rate <= MAX_RATE_MC:
                raise ValueError(
                    f"{name}: found {rate!r}, allowed is an integer from 0 to {MAX_RATE_MC:,}"
                )

    @property
    def dearest_input_mc(self) -> int:
        """The most that an input token can cost, whatever its class."""
        return max(self.input_mc, self.cached_input_mc, self.cache_write_mc)

    @property
    def dearest_output_mc(self) -> int:
        """The most that an output token can cost, reasoning or not."""
        return max(self.output_mc, self.reasoning_mc)

    def _rates(self) -> list[tuple[str, int]]:
        names = [field.name for field in fields(self) if field.name.endswith("_mc")]
        return [(name, getattr(self, name)) for name in names]


@dataclass(frozen=True, slots=True)
class Tier(TokenRates):
    """The rates of requests with more than ``above_input_tokens`` of input, for all their tokens.

    Providers bill long contexts like this: the whole request, not only the tokens above.
    Sources: https://ai.google.dev/gemini-api/docs/pricing ("prompts > 200k tokens") and
    LiteLLM's ``input_cost_per_token_above_200k_tokens``.

    Raises:
        ValueError: as ``TokenRates``, or ``above_input_tokens`` is not an integer above zero.
    """

    above_input_tokens: int

    def __post_init__(self) -> None:
        TokenRates.__post_init__(self)
        above = self.above_input_tokens
        if type(above) is not int or above < 1:
            raise ValueError(f"above_input_tokens: found {above!r}, allowed is an integer above 0")


@dataclass(frozen=True, slots=True)
class Rates(TokenRates):
    """The rates of one model: millicredits per 1,000,000 tokens, by token class.

    ``per_request_mc`` is millicredits per answer. ``tiers`` are the rates of long requests, from
    the shortest to the longest; no token class is cheaper in a tier than in the one before, so one
    token more never makes a request cheaper. ``free`` states that zero rates are meant: a model
    whose rates are all zero counts as unpriced without it.

    Raises:
        ValueError: a rate is not an integer from 0 to ``MAX_RATE_MC``; all rates are zero without
            ``free``; ``free`` with a rate above zero or with tiers; tiers in another order, or
            one that is cheaper than the one before.
    """

    per_request_mc: int = 0
    free: bool = False
    tiers: tuple[Tier, ...] = ()

    def __post_init__(self) -> None:
        TokenRates.__post_init__(self)
        costs_nothing = not any(rate for _, rate in self._rates())
        if costs_nothing and not self.free:
            raise ValueError("all rates are zero: set the rates, or free: true")
        if self.free and (self.tiers or not costs_nothing):
            raise ValueError("free: true contradicts rates that are not zero")
        before: TokenRates = self
        for tier in self.tiers:
            if isinstance(before, Tier) and tier.above_input_tokens <= before.above_input_tokens:
                raise ValueError("tiers: above_input_tokens must rise from one to the next")
            for field in fields(TokenRates):
                if getattr(tier, field.name) < getattr(before, field.name):
                    raise ValueError(
                        f"tiers: above {tier.above_input_tokens:,} input tokens "
                        f"{field.name.removesuffix('_mc')} costs less than up to there; "
                        "a longer request must not be cheaper"
                    )
            before = tier

    def at(self, input_tokens: int) -> TokenRates:
        """Return the rates for all tokens of a request with this many input tokens."""
        for tier in reversed(self.tiers):
            if input_tokens > tier.above_input_tokens:
                return tier
        return self


@dataclass(frozen=True)
class RateCard:
    """The rates that are in force from one instant on, by our model id.

    Raises:
        ValueError: no version, or ``effective_from`` is not in UTC.
    """

    version: str
    effective_from: datetime
    rates: Mapping[str, Rates]

    def __post_init__(self) -> None:
        if not self.version:
            raise ValueError("version: a rate card must have one")
        _check_utc(self.effective_from, "effective_from")
        # An immutable copy: receipts name the version and rely on it.
        object.__setattr__(self, "rates", MappingProxyType(dict(self.rates)))


class RateCards:
    """All rate cards, past and future; each is in force until the next one begins.

    Raises:
        ValueError: two cards share a version or an ``effective_from``.
    """

    def __init__(self, cards: Sequence[RateCard]) -> None:
        self._cards = sorted(cards, key=lambda card: card.effective_from)
        self._starts = [card.effective_from for card in self._cards]
        if len(set(self._starts)) < len(cards):
            raise ValueError("effective_from: two rate cards begin at the same instant")
        if len({card.version for card in cards}) < len(cards):
            raise ValueError("version: two rate cards have the same one")

    def at(self, instant: datetime) -> RateCard | None:
        """Return the card in force at an instant in UTC, or ``None`` before the first one.

        Raises:
            ValueError: the instant is not in UTC.
        """
        _check_utc(instant, "instant")
        index = bisect_right(self._starts, instant)
        return self._cards[index - 1] if index else None

    def after(self, instant: datetime) -> list[RateCard]:
        """Return the cards that come into force after an instant in UTC, the next one first.

        Raises:
            ValueError: the instant is not in UTC.
        """
        _check_utc(instant, "instant")
        return self._cards[bisect_right(self._starts, instant) :]


def _check_utc(instant: datetime, field: str) -> None:
    if instant.utcoffset() != timedelta(0):
        raise ValueError(f"{field}: found {instant.isoformat()}, allowed is an instant in UTC")
