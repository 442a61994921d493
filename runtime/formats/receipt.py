"""The receipt of an execution in JSON types; amounts are millicredits."""

from __future__ import annotations

from typing import Any

from runtime.actions.requests import ExecutionResult
from runtime.archive.receipts import Receipt
from runtime.config import Config
from runtime.credits.results import Existing
from runtime.formats.charge import charge_json

_OF_CHARGE = (
    "workspace",
    "campaign",
    "action",
    "action_version",
    "model",
    "source",
    "rate_card",
    "tokens",
    "by_rate_card",
    "reserved_at",
)
_OF_ENTRY = ("seq", "at", "kind", "text", "charged_mc", "overage_mc", "exposure_mc", "free_mc")


def receipt_json(
    receipt: Receipt, config: Config, result: ExecutionResult | None
) -> dict[str, Any]:
    """Return all of a receipt.

    Args:
        result: its outcome as it was read, as long as the ledger keeps it.
    """
    charges = [charge_json(line, config) for line in receipt.lines]
    ending = next(
        (c for c, line in zip(charges, receipt.lines, strict=True) if line.entry is receipt.ending),
        None,
    )
    sums = {
        name: sum(charge[name] for charge in charges)
        for name in ("overage_mc", "exposure_mc", "free_mc")
    }
    return {
        "execution_id": receipt.execution_id,
        "account_id": receipt.account_id,
        "state": receipt.state,
        "charged_mc": receipt.charged_mc,
        "reserved_mc": 0 if ending is None else ending["reserved_mc"],
        **sums,
        "paid_by": [paid for charge in charges for paid in charge["paid_by"]],
        **{name: None if ending is None else ending[name] for name in _OF_CHARGE},
        "reason": _reason(receipt),
        "flags": list(receipt.flags),
        "outcome": None if result is None else _outcome(result.to_json()),
        "entries": [{name: charge[name] for name in _OF_ENTRY} for charge in charges],
    }


def _reason(receipt: Receipt) -> str | None:
    if isinstance(receipt.outcome, Existing) and receipt.outcome.reason is not None:
        return receipt.outcome.reason.value
    ending = receipt.ending
    return None if ending is None or ending.reason is None else ending.reason.value


def _outcome(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("status", "values", "attributes", "origins")}
