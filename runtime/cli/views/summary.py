"""The summary of a run, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from runtime.campaigns.campaign import Campaign, Tally
from runtime.cli.campaign_run import RunReport
from runtime.cli.views.balance import balance_json, balance_lines
from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text
from runtime.wording.reasons import REASONS
from runtime.wording.runs import ENDINGS, QUOTE_MISSES


def summary_json(campaign: Campaign, report: RunReport) -> dict[str, Any]:
    """Return the summary in JSON types; amounts are millicredits."""
    tally = report.tally
    return {
        "campaign": campaign.campaign_id,
        "action": campaign.action.id,
        "action_version": campaign.action.version,
        "account": campaign.account_id,
        "source": campaign.source.value,
        "people": tally.people,
        "model": tally.model,
        "mixed": tally.mixed,
        "fallback": tally.fallback,
        "unfinished": tally.unfinished,
        "replayed": tally.replayed,
        "reasons": {reason.value: count for reason, count in tally.reasons.most_common()},
        "charged_mc": tally.charged_mc,
        "charged_earlier_mc": tally.charged_earlier_mc,
        "alerts": [asdict(alert) for alert in report.alerts],
        "seconds": round(report.seconds, 3),
        "people_per_second": round(_rate(report), 1),
        "interrupted": report.interrupted,
        **{name: getattr(report.counters, name) for name in QUOTE_MISSES},
        "balance": balance_json(report.balance),
    }


def summary_lines(campaign: Campaign, report: RunReport) -> Iterator[str]:
    """Yield the lines of the summary."""
    tally = report.tally
    yield (
        f"Campaign {campaign.campaign_id}, action {campaign.action.id}: {tally.people:,} people "
        f"in {report.seconds:,.1f} s ({_rate(report):,.0f} a second)"
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
    yield ""
    yield f"Credits charged: {credits_text(tally.charged_mc)}{_each(tally)}"
    if tally.replayed:
        earlier = credits_text(tally.charged_earlier_mc)
        yield f"Answers from earlier runs cost {earlier} then; they are not charged again."
    for name, text in QUOTE_MISSES.items():
        if count := getattr(report.counters, name):
            yield f"{count:,} {text}"
    yield ""
    yield from balance_lines(report.balance)


def _each(tally: Tally) -> str:
    answered = tally.model + tally.mixed
    if not answered or tally.replayed or not tally.charged_mc:
        return ""
    return f", {credits_text(round(tally.charged_mc / answered))} for each answer"


def _rate(report: RunReport) -> float:
    return report.tally.people / max(report.seconds, 0.001)
