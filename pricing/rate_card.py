"""What models cost: dated rates by model and token class."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

MAX_RATE_MC = 10**12
"""The highest rate: 1,000 credits a token. With it no possible call can cost 2^53 mc."""


class ModelClass(StrEnum):
    """What a model is for: complex work at more credits a run, or speed at fewer."""

    REASONING = "reasoning"
    QUICK = "quick"


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs: millicredits per 1,000,000 tokens, by token class.

    ``per_request_mc`` is millicredits per answer. ``free`` says that zero rates are meant:
    without it a model whose rates are all zero counts as unpriced.

    Raises:
        ValueError: a rate is no integer, negative or above ``MAX_RATE_MC``; all rates are
            zero without ``free``; ``free`` with a rate that is not zero.
    """

    input_mc: int
    output_mc: int
    cached_input_mc: int
    cache_write_mc: int
    reasoning_mc: int
    per_request_mc: int = 0
    free: bool = False

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self) if field.name.endswith("_mc")]
        for name in names:
            rate = getattr(self, name)
            if type(rate) is not int or not 0 <= rate <= MAX_RATE_MC:
                raise ValueError(
                    f"{name}: found {rate!r}, allowed is an integer from 0 to {MAX_RATE_MC:,}"
                )
        costs_nothing = not any(getattr(self, name) for name in names)
        if costs_nothing and not self.free:
            raise ValueError("all rates are zero: give the rates, or say free: true")
        if self.free and not costs_nothing:
            raise ValueError("free: true contradicts rates that are not zero")

    @property
    def dearest_input_mc(self) -> int:
        """The most that an input token can cost, whatever class it turns out to be."""
        return max(self.input_mc, self.cached_input_mc, self.cache_write_mc)

    @property
    def dearest_output_mc(self) -> int:
        """The most that an output token can cost, reasoning or not."""
        return max(self.output_mc, self.reasoning_mc)


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
            raise ValueError("version: a rate card needs one")
        _check_utc(self.effective_from, "effective_from")
        # A copy that nobody can change: receipts name the version and rely on it.
        object.__setattr__(self, "rates", MappingProxyType(dict(self.rates)))


class RateCards:
    """All rate cards, past and to come; each is in force until the next one begins.

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


def _check_utc(instant: datetime, field: str) -> None:
    if instant.utcoffset() != timedelta(0):
        raise ValueError(f"{field}: found {instant.isoformat()}, allowed is an instant in UTC")
