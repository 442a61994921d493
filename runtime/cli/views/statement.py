"""Lines of a statement, as a table, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pricing.offers import MC_PER_CREDIT
from runtime.archive.lines import StatementKind, StatementLine
from runtime.archive.statement import ArchivedAccount
from runtime.cli.views.table import table
from runtime.wording.statement import archived_text, entry_text


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
