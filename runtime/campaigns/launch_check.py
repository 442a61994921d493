"""The launch check: the cost of all actions of a campaign, and what stands in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from runtime.actions.spec import ActionSpec
from runtime.campaigns.estimate import (
    Cost,
    Covers,
    Estimate,
    Estimator,
    Reach,
    Sample,
    reach_of,
)
from runtime.credits.accounts import Accounts
from runtime.credits.caps import Cap, CapStatus, DefaultCap
from runtime.credits.results import Balance
from runtime.wording.caps import cap_text
from runtime.wording.estimates import (
    cap_text_for,
    expiry_text,
    not_called_text,
    reach_text,
    share_text,
)
from runtime.wording.reasons import REASONS


@dataclass(frozen=True, slots=True)
class Planned:
    """One action of a campaign, and the people who reach it."""

    spec: ActionSpec
    sample: Sample


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """A campaign before it starts.

    Args:
        workspace_id: where it runs; without it, caps of workspaces are not looked at.
        campaign_id: likewise.
        ends_at: the instant by which everybody was there, at an even pace; ``None`` if unknown.
    """

    account_id: str
    actions: Sequence[Planned]
    workspace_id: str | None = None
    campaign_id: str | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CapAhead:
    """A cap that counts the campaign.

    ``begins`` is true for one that the first reservation sets, by the configuration. ``people`` are
    those for whom it is enough within one window. ``reached`` is ``no``, ``possible`` (at the upper
    end of the range) or ``expected``.
    """

    cap: Cap
    limit_mc: int
    left_mc: int
    resets_in_ms: int | None
    begins: bool
    expected_mc: int
    people: int
    reached: str


@dataclass(frozen=True, slots=True)
class Expiring:
    """Credits that expire; ``lost_mc`` would be left unused then, ``None`` without a pace."""

    grant_id: str
    kind: str
    available_mc: int
    expires_at: datetime
    lost_mc: int | None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to look at before the campaign starts."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class LaunchCheck:
    """The cost of a campaign, against what there is to pay it. Amounts are millicredits."""

    people: int
    cost: Cost
    estimates: Sequence[Estimate]
    reach: Reach
    caps: Sequence[CapAhead]
    expiring: Sequence[Expiring]
    warnings: Sequence[Warned]

    def share_percent(self, estimate: Estimate) -> float:
        """Return the share of the expected cost that an action takes, in percent."""
        whole_mc = self.cost.expected_mc
        return round(100 * estimate.cost.expected_mc / whole_mc, 1) if whole_mc else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the check in plain JSON types."""
        return {
            "people": self.people,
            "cost": asdict(self.cost),
            "actions": [
                {**estimate.to_json(), "share_percent": self.share_percent(estimate)}
                for estimate in self.estimates
            ],
            "reach": asdict(self.reach),
            "summary": reach_text(self.reach, self.people),
            "caps": [
                {**asdict(cap), "cap": str(cap.cap), "text": cap_text(cap.cap, cap.limit_mc)}
                for cap in self.caps
            ],
            "expiring": [
                {**asdict(one), "expires_at": one.expires_at.isoformat()} for one in self.expiring
            ],
            "warnings": [asdict(warned) for warned in self.warnings],
        }


async def check_launch(
    plan: LaunchPlan,
    estimator: Estimator,
    accounts: Accounts,
    *,
    warn_percent: int,
    default_caps: Sequence[DefaultCap] = (),
) -> LaunchCheck:
    """Estimate all actions of a campaign, and compare them with balance, caps and expiries.

    The range of the whole adds up those of its actions: they reach the same people, so that what
    makes one dear makes the others dear too.

    Raises:
        ValueError: an argument is not allowed.
        AccountUnknown: there is no such account.
        LedgerUnavailable: Redis can't be reached.
    """
    balance = await accounts.balance(plan.account_id)
    statuses = await accounts.caps(plan.account_id)
    estimates = [await estimator.estimate(one.spec, one.sample) for one in plan.actions]
    people = max(one.sample.total for one in plan.actions)
    cost = _sum([estimate.cost for estimate in estimates])
    expiring = _expiring(balance, cost.expected_mc, plan.ends_at)
    lost_mc = sum(one.lost_mc or 0 for one in expiring)
    reach = reach_of(balance, people, cost, lost_mc=lost_mc)
    ahead = [
        _cap_ahead(status, begins, estimates)
        for status, begins in _caps_ahead(plan, statuses, default_caps)
    ]
    return LaunchCheck(
        people=people,
        cost=cost,
        estimates=estimates,
        reach=reach,
        caps=ahead,
        expiring=expiring,
        warnings=[
            *_warnings_of_credits(reach, people, cost, warn_percent),
            *_warnings_of_actions(estimates),
            *_warnings_of_caps(ahead, people),
            *_warnings_of_expiry(expiring, balance),
        ],
    )


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(
        expected_mc=sum(cost.expected_mc for cost in costs),
        low_mc=sum(cost.low_mc for cost in costs),
        high_mc=sum(cost.high_mc for cost in costs),
        worst_mc=sum(cost.worst_mc for cost in costs),
    )


def _expiring(balance: Balance, expected_mc: int, ends_at: datetime | None) -> list[Expiring]:
    """Return the credits that expire, and what of them an even pace leaves unused.

    Grants are used in burn order, as the balance lists them. What is left of one when it expires
    is lost; what had to be spent by then and was not there goes to nobody.
    """
    ends = [
        grant
        for grant in balance.grants
        if grant.expires_at_ms is not None
        and grant.available_mc > 0
        and grant.expires_at_ms > balance.at_ms
    ]
    ends.sort(key=lambda grant: grant.expires_at_ms or 0)
    lost = _lost(balance, expected_mc, ends_at) if ends_at is not None else None
    return [
        Expiring(
            grant.grant_id,
            str(grant.kind),
            grant.available_mc,
            expires_at,
            None if lost is None else lost.get(grant.grant_id, 0),
        )
        for grant in ends
        if (expires_at := grant.expires_at) is not None
    ]


def _lost(balance: Balance, expected_mc: int, ends_at: datetime) -> dict[str, int]:
    now_ms, end_ms = balance.at_ms, round(ends_at.timestamp() * 1000)
    left = {grant.grant_id: grant.available_mc for grant in balance.grants}
    until = {grant.grant_id: grant.expires_at_ms for grant in balance.grants}
    lost: dict[str, int] = {}
    spent_mc = 0
    for expires_ms in sorted({at for at in until.values() if at is not None and at <= end_ms}):
        passed = max(0, expires_ms - now_ms)
        due_mc = expected_mc * passed // max(1, end_ms - now_ms)
        spend_mc, spent_mc = due_mc - spent_mc, due_mc
        for grant in balance.grants:
            taken = min(left[grant.grant_id], spend_mc)
            left[grant.grant_id] -= taken
            spend_mc -= taken
        for grant_id, at in until.items():
            if at == expires_ms:
                lost[grant_id], left[grant_id] = left[grant_id], 0
    return lost


def _caps_ahead(
    plan: LaunchPlan, statuses: Sequence[CapStatus], default_caps: Sequence[DefaultCap]
) -> list[tuple[CapStatus, bool]]:
    """Return the caps that count the campaign, and whether they begin with it."""
    known = [(status, False) for status in statuses if _counts(status.cap, plan)]
    there = {status.cap for status in statuses}
    names = {"workspace_id": plan.workspace_id, "campaign_id": plan.campaign_id}
    for default in default_caps:
        name = names[default.dimension]
        if name is not None and (cap := default.cap(name)) not in there:
            known.append((CapStatus(cap, default.limit_mc, 0, 0, None), True))
    return known


def _counts(cap: Cap, plan: LaunchPlan) -> bool:
    actions = {one.spec.id for one in plan.actions}
    return (
        cap.workspace_id in (None, plan.workspace_id)
        and cap.campaign_id in (None, plan.campaign_id)
        and (cap.action is None or cap.action in actions)
        and cap.source in (None, "live")
    )


def _cap_ahead(status: CapStatus, begins: bool, estimates: Sequence[Estimate]) -> CapAhead:
    counted = [one for one in estimates if status.cap.action in (None, one.action_id)]
    cost = _sum([one.cost for one in counted])
    people = max(one.people for one in counted)
    left_mc = max(0, status.limit_mc - status.charged_mc - status.reserved_mc)
    is_enough = left_mc >= cost.expected_mc
    reached = "no" if left_mc >= cost.high_mc else "possible" if is_enough else "expected"
    return CapAhead(
        cap=status.cap,
        limit_mc=status.limit_mc,
        left_mc=left_mc,
        resets_in_ms=status.resets_in_ms,
        begins=begins,
        expected_mc=cost.expected_mc,
        people=people if is_enough else people * left_mc // cost.expected_mc,
        reached=reached,
    )


def _warnings_of_credits(reach: Reach, people: int, cost: Cost, warn_percent: int) -> list[Warned]:
    if not reach.usable:
        return [Warned("not_usable", reach_text(reach, people))]
    if not cost.expected_mc:
        return []
    found = []
    if reach.covers is Covers.LESS:
        found.append(Warned("not_enough", reach_text(reach, people)))
    if 100 * cost.expected_mc > warn_percent * reach.available_mc:
        text = share_text(cost.expected_mc, reach.available_mc, warn_percent)
        found.append(Warned("share_of_balance", text))
    return found


def _warnings_of_actions(estimates: Sequence[Estimate]) -> list[Warned]:
    return [
        Warned("no_calls", not_called_text(one.action_id, REASONS[reason]))
        for one in estimates
        for reason, count in one.before_a_call.items()
        if count == one.people
    ]


def _warnings_of_caps(caps: Sequence[CapAhead], people: int) -> list[Warned]:
    return [
        Warned(
            "cap",
            cap_text_for(
                cap_text(one.cap, one.limit_mc), one.left_mc, one.expected_mc, people, one.people
            ),
        )
        for one in caps
        if one.reached == "expected"
    ]


def _warnings_of_expiry(expiring: Sequence[Expiring], balance: Balance) -> list[Warned]:
    zone = ZoneInfo(balance.timezone)
    return [
        Warned(
            "expiring",
            expiry_text(
                one.available_mc, f"{one.expires_at.astimezone(zone):%Y-%m-%d %H:%M}", one.lost_mc
            ),
        )
        for one in expiring
    ]
