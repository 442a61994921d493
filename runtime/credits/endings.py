"""How a reservation ends, in a form that survives on disk while Redis is away."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any

from fallback.reasons import FallbackReason
from runtime.credits.answers import Existing, Released, Settled
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger


@dataclass(frozen=True, slots=True)
class Settlement:
    """An answer to charge for.

    ``cost_mc`` is the real cost, ``tokens`` the journal's column, ``exposure_mc`` what earlier
    calls of the same execution may have cost the operator.
    """

    attempt: ExecutionAttempt
    cost_mc: int
    reserved_mc: int
    reserved_at_ms: int
    tokens: str
    rate_card_version: str
    flags: tuple[str, ...]
    exposure_mc: int
    outcome: bytes

    async def send(self, ledger: CreditLedger) -> Settled | Existing | None:
        """Settle; ``None`` if it is older than the horizon."""
        return await ledger.settle(
            self.attempt,
            cost_mc=self.cost_mc,
            reserved_mc=self.reserved_mc,
            reserved_at_ms=self.reserved_at_ms,
            tokens=self.tokens,
            rate_card_version=self.rate_card_version,
            flags=self.flags,
            exposure_mc=self.exposure_mc,
            outcome=self.outcome,
        )


@dataclass(frozen=True, slots=True)
class Release:
    """No answer to charge for. Without ``outcome`` the id may be asked again."""

    attempt: ExecutionAttempt
    reason: FallbackReason | None
    exposure_mc: int
    outcome: bytes | None

    async def send(self, ledger: CreditLedger) -> Released | Existing:
        """Release."""
        return await ledger.release(
            self.attempt, self.reason, exposure_mc=self.exposure_mc, outcome=self.outcome
        )


Ending = Settlement | Release


def to_json(ending: Ending) -> dict[str, Any]:
    """Return the ending in JSON types."""
    plain = asdict(ending)
    plain["kind"] = type(ending).__name__
    plain["outcome"] = None if ending.outcome is None else b64encode(ending.outcome).decode()
    return plain


def from_json(plain: dict[str, Any]) -> Ending:
    """Return what ``to_json`` was given.

    Raises:
        KeyError, TypeError, ValueError: it is not an ending.
    """
    fields = dict(plain)
    kind = fields.pop("kind")
    attempt = dict(fields.pop("attempt"))
    attempt["dimensions"] = tuple(attempt["dimensions"])
    fields["attempt"] = ExecutionAttempt(**attempt)
    if fields["outcome"] is not None:
        fields["outcome"] = b64decode(fields["outcome"])
    if kind == Settlement.__name__:
        fields["flags"] = tuple(fields["flags"])
        return Settlement(**fields)
    if kind == Release.__name__:
        fields["reason"] = None if fields["reason"] is None else FallbackReason(fields["reason"])
        return Release(**fields)
    raise ValueError(f"unknown kind of ending {kind!r}")
