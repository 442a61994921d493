"""The estimate before people who fell back are put into their campaign's queue again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fallback.reasons import ReasonGroup
from runtime.actions.spec import ActionSpec
from runtime.campaigns.estimate import Data, Estimator, Sample, reach_of
from runtime.campaigns.launch_check import LaunchCheck, LaunchPlan, Planned, check_launch
from runtime.credits.accounts import Accounts
from runtime.credits.caps import DefaultCap
from runtime.queue.queue import RequestQueue
from runtime.queue.retained import MissedCount

SAMPLE_SIZE = 1_000
"""The requests that are read for an estimate, the oldest ones."""


@dataclass(frozen=True, slots=True)
class MissedSample:
    """The people who may be put back, as far as they are known.

    Args:
        counts: by group of reasons: those with a retained request, and those without.
        requests: the data of some of them, by their actions.
        unreadable: how many of as many as were read are no requests.
    """

    campaign_id: str
    workspace_id: str
    counts: Mapping[ReasonGroup, MissedCount]
    requests: Mapping[str, Sequence[Data]]
    unreadable: int

    @property
    def people(self) -> int:
        """The people with a retained request."""
        return sum(count.kept for count in self.counts.values())

    @property
    def gone(self) -> int:
        """The people without one: they can't be put back."""
        return sum(count.gone for count in self.counts.values())

    def number_of(self, action_id: str) -> int:
        """Return about how many people there are of an action."""
        known = len(self.requests[action_id])
        sampled = self.unreadable + sum(map(len, self.requests.values()))
        return max(known, round(self.people * known / sampled))


@dataclass(frozen=True, slots=True)
class RerunEstimate:
    """The cost of putting people back, against what there is to pay it.

    Args:
        unknown_actions: actions that can't be found now: their people can't be run.
        check: ``None`` if nobody can be put back, or no action is known.
    """

    missed: MissedSample
    unknown_actions: Sequence[str]
    check: LaunchCheck | None

    @property
    def people(self) -> int:
        """The people who would be put back."""
        return self.missed.people

    def to_json(self) -> dict[str, Any]:
        """Return the estimate in plain JSON types."""
        missed = self.missed
        return {
            "campaign_id": missed.campaign_id,
            "workspace_id": missed.workspace_id,
            "groups": {
                str(group): {"people": count.kept, "without_request": count.gone}
                for group, count in missed.counts.items()
            },
            "people": missed.people,
            "without_request": missed.gone,
            "unknown_actions": list(self.unknown_actions),
            "estimate": None if self.check is None else self.check.to_json(),
        }


def groups_of(names: Iterable[str]) -> tuple[ReasonGroup, ...]:
    """Return the groups of these names; of none, all.

    Raises:
        ValueError: a name is of none.
    """
    return tuple(dict.fromkeys(ReasonGroup(name) for name in names)) or tuple(ReasonGroup)


async def sample_missed(
    queue: RequestQueue, account_id: str, campaign_id: str, groups: Collection[ReasonGroup]
) -> MissedSample:
    """Count the people who may be put back, and read some of their requests.

    Raises:
        CampaignUnknown: the account has no such campaign.
        QueueUnavailable: Redis can't be reached.
    """
    status = await queue.status(account_id, campaign_id)
    counts = await queue.missed_counts(account_id, campaign_id)
    found = await queue.missed(account_id, campaign_id, groups, count=SAMPLE_SIZE)
    requests: dict[str, list[Data]] = {}
    for missed in found:
        if missed.request is not None:
            requests.setdefault(str(missed.request.action), []).append(missed.request.data)
    return MissedSample(
        campaign_id=campaign_id,
        workspace_id=status.workspace_id,
        counts={group: count for group, count in counts.items() if group in groups},
        requests=requests,
        unreadable=sum(missed.request is None for missed in found),
    )


async def estimate_rerun(
    missed: MissedSample,
    actions: Mapping[str, ActionSpec],
    account_id: str,
    estimator: Estimator,
    accounts: Accounts,
    *,
    warn_percent: int,
    default_caps: Sequence[DefaultCap] = (),
) -> RerunEstimate:
    """Estimate what it costs if everybody who may be put back gets a new answer.

    Args:
        actions: those of the sample's that are known.

    Raises:
        AccountUnknown, LedgerUnavailable: as ``check_launch``.
    """
    planned = [
        Planned(actions[name], Sample.counting(missed.number_of(name), data))
        for name, data in missed.requests.items()
        if name in actions
    ]
    unknown = sorted(missed.requests.keys() - actions.keys())
    if not planned or not missed.people:
        return RerunEstimate(missed, unknown, None)
    plan = LaunchPlan(
        account_id=account_id,
        actions=planned,
        workspace_id=missed.workspace_id,
        campaign_id=missed.campaign_id,
    )
    check = await check_launch(
        plan, estimator, accounts, warn_percent=warn_percent, default_caps=default_caps
    )
    # A launch sends the same people through all actions; here each is in one of them.
    people = sum(one.sample.total for one in planned)
    reach = reach_of(await accounts.balance(account_id), people, check.cost)
    return RerunEstimate(missed, unknown, replace(check, people=people, reach=reach))
