"""How a reservation ends, in a form that survives on disk while Redis is away."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any

from fallback.reasons import FallbackReason
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Existing, Released, Settled


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

_FORMAT = 1


class NewerFormat(Exception):
    """A newer release wrote this ending, and will read it."""


def to_json(ending: Ending) -> dict[str, Any]:
    """Return the ending in JSON types."""
    plain = asdict(ending)
    plain["format"] = _FORMAT
    plain["kind"] = type(ending).__name__
    plain["outcome"] = None if ending.outcome is None else b64encode(ending.outcome).decode()
    return plain


def from_json(plain: dict[str, Any]) -> Ending:
    """Return what ``to_json`` was given.

    Raises:
        NewerFormat: see there.
        KeyError, TypeError, ValueError: it is not an ending.
    """
    if plain["format"] > _FORMAT:
        raise NewerFormat
    attempt = _attempt(plain["attempt"])
    outcome = None if plain["outcome"] is None else b64decode(plain["outcome"], validate=True)
    if plain["kind"] == Release.__name__:
        reason = None if plain["reason"] is None else FallbackReason(plain["reason"])
        return Release(attempt, reason, plain["exposure_mc"], outcome)
    if plain["kind"] == Settlement.__name__ and outcome is not None:
        return Settlement(
            attempt=attempt,
            cost_mc=plain["cost_mc"],
            reserved_mc=plain["reserved_mc"],
            reserved_at_ms=plain["reserved_at_ms"],
            tokens=_text(plain["tokens"]),
            rate_card_version=_text(plain["rate_card_version"]),
            flags=tuple(map(_text, plain["flags"])),
            exposure_mc=plain["exposure_mc"],
            outcome=outcome,
        )
    raise ValueError(f"unknown kind of ending {plain['kind']!r}")


def _attempt(plain: dict[str, Any]) -> ExecutionAttempt:
    workspace, campaign, action, version, model, source = map(_text, plain["dimensions"])
    return ExecutionAttempt(
        account_id=_text(plain["account_id"]),
        execution_id=_text(plain["execution_id"]),
        execution_key=_text(plain["execution_key"]),
        attempt_id=_text(plain["attempt_id"]),
        fingerprint=_text(plain["fingerprint"]),
        dimensions=(workspace, campaign, action, version, model, source),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
