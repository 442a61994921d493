"""Lines of a statement in JSON types and as CSV; amounts are millicredits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from runtime.archive.lines import GrantPayment, StatementLine
from runtime.archive.statement import ArchivedAccount
from runtime.credits.identity import Dimensions
from runtime.wording.statement import entry_text

TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)


_PAYMENT = tuple(field.name for field in fields(GrantPayment))


CSV_HEADER = (
    "seq",
    "at",
    "effective_at",
    "what",
    "text",
    *Dimensions._fields,
    *TOKENS,
    "rate_card",
    "paid_by",
    "actor",
    "reference",
    "reason",
    "flags",
    "change_mc",
    "charged_mc",
    "overage_mc",
    "exposure_mc",
    "left_mc",
    "execution_key",
    "epoch",
    "chain",
)


def line_json(line: StatementLine) -> dict[str, Any]:
    """Return a line in JSON types; amounts are millicredits."""
    entry = line.entry
    return {
        "seq": line.seq,
        "at": line.at.isoformat(),
        "effective_at": line.effective_at.isoformat(),
        "what": line.what.value,
        "kind": entry.kind.value,
        "text": entry_text(entry),
        **dict.fromkeys(Dimensions._fields),
        **({} if entry.dimensions is None else entry.dimensions._asdict()),
        "tokens": entry.tokens and {name: getattr(entry.tokens, name) for name in TOKENS},
        "rate_card": entry.rate_card_version or None,
        "paid_by": [
            {name: getattr(payment, name) for name in _PAYMENT} for payment in line.payments
        ],
        "actor": entry.actor or None,
        "reference": entry.reference or None,
        "reason": entry.reason and entry.reason.value,
        "flags": list(entry.flags),
        "change_mc": line.change_mc,
        "charged_mc": line.charged_mc,
        "overage_mc": entry.overage_mc,
        "exposure_mc": entry.exposure_mc,
        "free_mc": entry.free_mc,
        "left_mc": line.left_mc,
        "execution_key": entry.execution_key or None,
        "epoch": entry.epoch,
        "chain": entry.chain,
    }


def account_json(account: ArchivedAccount) -> dict[str, Any]:
    """Return how far an account is archived, in JSON types."""
    return {
        "account_id": account.account_id,
        "timezone": account.timezone,
        "state": account.state,
        "archived_seq": account.seq,
        "left_mc": account.left_mc,
    }


def csv_row(line: StatementLine) -> Sequence[str | int | None]:
    """Return a line as cells of CSV, in the order of ``CSV_HEADER``."""
    found = line_json(line)
    tokens = found["tokens"] or {}
    found |= {name: tokens.get(name) for name in TOKENS}
    found["paid_by"] = ";".join(f"{paid.grant_id}:{paid.amount_mc}" for paid in line.payments)
    found["flags"] = ",".join(line.entry.flags)
    return [found[name] for name in CSV_HEADER]
