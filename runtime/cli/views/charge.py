"""One entry of a statement opened: all that the journal knows, and what its tokens cost."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from zoneinfo import ZoneInfo

from pricing.quote import cost_mc
from pricing.usage import TokenUsage
from runtime.archive.lines import StatementLine
from runtime.cli.views.statement import amount_text, shown_time
from runtime.cli.views.table import table
from runtime.config import Config
from runtime.formats.charge import billed_classes, choices_of, rates_of
from runtime.wording.reasons import REASONS
from runtime.wording.runs import TOKEN_CLASSES
from runtime.wording.statement import FLAGS, entry_text

_PER_TOKENS = 1_000_000


def charge_lines(line: StatementLine, config: Config, zone: ZoneInfo) -> Iterator[str]:
    """Yield an entry: what it was, when, who paid, what it cost, its flags, its place."""
    entry = line.entry
    yield f"Entry {line.seq} of account {line.account_id}: {entry_text(entry)}"
    yield from table([*_facts(line, zone)])
    if line.payments:
        yield ""
        yield "Paid by"
        yield from table(
            [
                (payment.grant_id, payment.kind, payment.reference, amount_text(payment.amount_mc))
                for payment in line.payments
            ],
            right=(3,),
        )
    if line.tokens is not None:
        yield ""
        yield from _bill(line, line.tokens, config)
    if choices := choices_of(line, config):
        yield ""
        yield "Options chosen by the model"
        yield from table([(str(chosen["output"]), str(chosen["option"])) for chosen in choices])
    for flag in entry.flags:
        yield f"  {flag}: {FLAGS.get(flag, 'a flag of a newer release')}"


def _facts(line: StatementLine, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    entry = line.entry
    if line.reserved_at is not None:
        yield "reserved", f"{shown_time(line.reserved_at, zone)} ({zone.key})"
    yield "written", f"{shown_time(line.at, zone)} ({zone.key})"
    if entry.effective_at_ms != entry.at_ms:
        yield "took effect", f"{shown_time(line.effective_at, zone)} ({zone.key})"
    if line.entry.dimensions is not None:
        for name, value in line.entry.dimensions._asdict().items():
            if value:
                yield name.replace("_", " "), value
    if line.reserved_mc:
        slices = ", ".join(f"{id_} {amount_text(mc)}" for id_, mc in entry.slices.items())
        yield "reserved at most", f"{amount_text(line.reserved_mc)} credits ({slices})"
    for name, amount_mc in (
        ("charged", line.charged_mc),
        ("free, else", entry.free_mc),
        ("overage", entry.overage_mc),
        ("exposure", entry.exposure_mc),
    ):
        if amount_mc:
            yield name, f"{amount_text(amount_mc)} credits"
    yield "change", f"{amount_text(line.change_mc, signed=True)} credits"
    yield "balance after it", f"{amount_text(line.left_mc)} credits"
    if entry.reason is not None:
        yield "fallback", REASONS[entry.reason]
    for name, text in (
        ("actor", entry.actor),
        ("reference", entry.reference),
        ("execution key", entry.execution_key),
        ("epoch", entry.epoch),
        ("chain", entry.chain),
    ):
        if text:
            yield name, text


def _bill(line: StatementLine, tokens: TokenUsage, config: Config) -> Iterator[str]:
    version = line.entry.rate_card_version
    rates = rates_of(line, config)
    if rates is None:
        yield f"Tokens (the config has no rates of rate card {version!r} for this model any more)"
        counts = [(name, getattr(tokens, name)) for name in TOKEN_CLASSES]
        yield from table([(TOKEN_CLASSES[n], f"{count:,}") for n, count in counts], right=(1,))
        return
    yield f"Tokens by rate card {version}, credits per 1,000,000"
    rows = [
        (name, f"{count:,}", amount_text(rate_mc), _exact(Fraction(count * rate_mc, _PER_TOKENS)))
        for name, count, rate_mc in billed_classes(rates, tokens)
        if count
    ]
    if rates.per_request_mc:
        rows.append(("each answer", "", "", _exact(Fraction(rates.per_request_mc))))
    total_mc = cost_mc(rates, tokens)
    rows.append(("together, rounded up", "", "", _exact(Fraction(total_mc))))
    yield from table(rows, right=(1, 2, 3))
    booked_mc = line.charged_mc + line.entry.overage_mc + line.entry.free_mc
    if total_mc == booked_mc:
        yield "  That is what was booked: charged, overage and free together."
    else:
        yield f"  Booked were {amount_text(booked_mc)} credits: charged, overage and free together."


def _exact(amount_mc: Fraction) -> str:
    """Return credits with as many decimals as the sum before rounding may need."""
    billionths = amount_mc * _PER_TOKENS
    whole, rest = divmod(int(billionths), 1_000 * _PER_TOKENS)
    decimals = f"{rest:09d}".rstrip("0").ljust(3, "0")
    return f"{whole:,}.{decimals}"
