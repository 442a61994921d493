"""The summary of a run, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from runtime.campaigns.campaign import Campaign, Tally
from runtime.campaigns.column_types import Columns
from runtime.cli.campaign_run import GivenUp, RunReport
from runtime.cli.views.balance import balance_lines
from runtime.cli.views.table import table
from runtime.formats.accounts import balance_json
from runtime.wording.amounts import credits_text
from runtime.wording.reasons import REASONS
from runtime.wording.runs import (
    ENDINGS,
    GAVE_UP,
    MISSED,
    QUOTE_MISSES,
    WITHOUT_RESULT,
    seconds_text,
)


def summary_json(
    campaign: Campaign, columns: Columns, report: RunReport, again: str = ""
) -> dict[str, Any]:
    """Return the summary in JSON types; amounts are millicredits.

    Args:
        again: the command that asks again for those who got no answer.
    """
    tally = report.tally
    return {
        "campaign": campaign.campaign_id,
        "action": campaign.action.id,
        "action_version": campaign.action.version,
        "account": campaign.account_id,
        "source": campaign.source.value,
        "columns": columns.types(),
        "people": tally.people,
        "model": tally.model,
        "mixed": tally.mixed,
        "fallback": tally.fallback,
        "missed": tally.missed,
        "remaining": report.remaining,
        "unfinished": tally.unfinished,
        "replayed": tally.replayed,
        "reasons": {reason.value: count for reason, count in tally.reasons.most_common()},
        "charged_mc": tally.charged_mc,
        "charged_earlier_mc": tally.charged_earlier_mc,
        "alerts": [
            {**asdict(alert), "cap": None if alert.cap is None else str(alert.cap)}
            for alert in report.alerts
        ],
        "seconds": round(report.seconds, 3),
        "people_per_second": round(_rate(report), 1),
        "processes": report.processes,
        "interrupted": report.interrupted,
        **{name: getattr(report.counters, name) for name in QUOTE_MISSES},
        "gave_up": report.gave_up and _gave_up_json(report.gave_up),
        "run_again": again if again and (tally.missed or report.remaining) else None,
        "balance": report.balance and balance_json(report.balance),
    }


def _gave_up_json(found: GivenUp) -> dict[str, Any]:
    return {
        "reason": found.trouble.reason.value,
        "status": found.trouble.status,
        "endpoint": found.endpoint,
        "detail": found.trouble.detail,
        "waited_s": round(found.waited_s, 3),
        "then": found.then.value,
    }


def summary_lines(campaign: Campaign, report: RunReport, again: str = "") -> Iterator[str]:
    """Yield the lines of the summary; ``again`` as for ``summary_json``."""
    tally = report.tally
    yield (
        f"Campaign {campaign.campaign_id}, action {campaign.action.id}: {tally.people:,} people "
        f"in {report.seconds:,.1f} s ({_rate(report):,.0f} a second{_shared(report)})"
    )
    yield from table(
        [
            (f"{getattr(tally, name):,}", text)
            for name, text in ENDINGS.items()
            if getattr(tally, name) or name == "model"
        ],
        right=(0,),
    )
    if tally.reasons:
        yield ""
        yield "Why people got fallback values"
        yield from table(
            [(f"{count:,}", REASONS[reason]) for reason, count in tally.reasons.most_common()],
            right=(0,),
        )
    yield from _missed_lines(report, again)
    yield ""
    yield f"Credits charged: {credits_text(tally.charged_mc)}{_each(tally)}"
    if tally.replayed:
        earlier = credits_text(tally.charged_earlier_mc)
        yield f"Answers from earlier runs cost {earlier} then; they are not charged again."
    for name, text in QUOTE_MISSES.items():
        if count := getattr(report.counters, name):
            yield f"{count:,} {text}"
    yield ""
    if report.balance is None:
        yield "The balance is not known: the credit ledger could not be reached."
    else:
        yield from balance_lines(report.balance)


def _missed_lines(report: RunReport, again: str) -> Iterator[str]:
    """Say who got no answer for now, and how to ask again."""
    missed = report.tally.missed
    if report.gave_up is not None:
        yield ""
        waited = seconds_text(report.gave_up.waited_s)
        yield f"{GAVE_UP[report.gave_up.then]} after {waited}: {report.gave_up.text}."
    elif not missed and not report.remaining:
        return
    else:
        yield ""
    if report.remaining:
        yield f"{report.remaining:,} {_people(report.remaining)} {WITHOUT_RESULT}"
    if missed:
        yield f"{missed:,} {_people(missed)} {MISSED}"
    if again and (missed or report.remaining):
        yield f"To ask for them again:\n  {again}"


def _shared(report: RunReport) -> str:
    return "" if report.processes == 1 else f", in {report.processes} processes"


def _people(count: int) -> str:
    return "person" if count == 1 else "people"


def _each(tally: Tally) -> str:
    answered = tally.model + tally.mixed
    if not answered or tally.replayed or not tally.charged_mc:
        return ""
    return f", {credits_text(round(tally.charged_mc / answered))} for each answer"


def _rate(report: RunReport) -> float:
    return report.tally.people / max(report.seconds, 0.001)
