"""Lines of a statement, as a table, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pricing.offers import MC_PER_CREDIT
from runtime.archive.lines import GrantPayment, StatementKind, StatementLine
from runtime.archive.statement import ArchivedAccount
from runtime.cli.views.table import table
from runtime.credits.identity import Dimensions
from runtime.wording.statement import archived_text, entry_text

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


def statement_lines(
    account: ArchivedAccount, lines: Sequence[StatementLine], zone: ZoneInfo
) -> Iterator[str]:
    """Yield a page as a table; amounts are credits, times are in ``zone``."""
    yield f"Account {account.account_id} (times in {zone.key}; amounts in credits)"
    if lines:
        header = ("entry", "time", "what", "change", "balance")
        rows = [
            (
                str(line.seq),
                shown_time(line.at, zone),
                f"{_explained(line, zone)}",
                amount_text(line.change_mc, signed=True) if line.change_mc else "",
                amount_text(line.left_mc),
            )
            for line in lines
        ]
        yield from table([header, *rows], right=(0, 3, 4))
    else:
        yield "  no entries in this time"
    yield archived_text(account.seq, account.state == "forked")


def amount_text(amount_mc: int, *, signed: bool = False) -> str:
    """Return an amount in credits, with three decimals.

    >>> amount_text(-2_500_500, signed=True)
    '-2,500.500'
    """
    whole, rest = divmod(abs(amount_mc), MC_PER_CREDIT)
    sign = "-" if amount_mc < 0 else "+" if signed and amount_mc else ""
    return f"{sign}{whole:,}.{rest:03d}"


def shown_time(instant: datetime, zone: ZoneInfo) -> str:
    """Return an instant to the second, by the clocks of a time zone."""
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _explained(line: StatementLine, zone: ZoneInfo) -> str:
    entry = line.entry
    said = [entry_text(entry)]
    if entry.tokens is not None:
        used = f"{entry.tokens.input_tokens:,} + {entry.tokens.output_tokens:,} tokens"
        model = "" if entry.dimensions is None else f"{entry.dimensions.model}, "
        said.append(f"{model}{used}, card {entry.rate_card_version}")
    if line.payments:
        paid = (payment.grant_id for payment in line.payments)
        said.append(f"paid by {', '.join(paid)}")
    if entry.effective_at_ms != entry.at_ms:
        said.append(f"as of {shown_time(line.effective_at, zone)}")
    if entry.actor:
        by = f"by {entry.actor}"
        said.append(f"{by}, reference {entry.reference}" if entry.reference else by)
    if line.what is StatementKind.EXECUTION and entry.flags:
        said.append(", ".join(entry.flags))
    return "; ".join(said)
