"""A rerun from the command line: the estimate, and putting people back."""

from __future__ import annotations

from collections.abc import Collection

from fallback.reasons import ReasonGroup
from runtime.actions.spec import ActionSpec
from runtime.bootstrap import build_estimator
from runtime.campaigns.rerun import MissedSample, RerunEstimate, estimate_rerun, sample_missed
from runtime.cli.config_file import find_action
from runtime.cli.ledger import run_async
from runtime.cli.options import BadInput
from runtime.cli.queue import OpenQueue, opened_queue, with_queue
from runtime.config import Config
from runtime.executions.long_counts import LongCounts
from runtime.ledger_opening import default_caps
from runtime.queue.retained import Rerun


def rerun_estimate(
    config: Config, account_id: str, campaign_id: str, groups: Collection[ReasonGroup]
) -> RerunEstimate:
    """Estimate what it costs to put a campaign's people back.

    Raises:
        AccountUnknown, CampaignUnknown, LedgerUnavailable, QueueUnavailable: as their parts.
    """

    async def read(opened: OpenQueue) -> MissedSample:
        await opened.accounts.balance(account_id)
        return await sample_missed(opened.queue, account_id, campaign_id, groups)

    missed = with_queue(config, read)
    actions = _known(config, missed, account_id)
    return run_async(_estimate(config, missed, actions, account_id))


def put_back(
    config: Config, account_id: str, campaign_id: str, groups: Collection[ReasonGroup]
) -> Rerun:
    """Put the people back; asked again after an error, it goes on.

    Raises:
        CampaignUnknown, CampaignStopped, QueueUnavailable: as ``RequestQueue.rerun``.
    """
    return with_queue(
        config, lambda opened: opened.queue.rerun(account_id, campaign_id, tuple(groups))
    )


def _known(config: Config, missed: MissedSample, account_id: str) -> dict[str, ActionSpec]:
    found = {}
    for action_id in missed.requests:
        try:
            found[action_id] = find_action(config, action_id, account_id)
        except BadInput:
            continue  # the estimate names it
    return found


async def _estimate(
    config: Config, missed: MissedSample, actions: dict[str, ActionSpec], account_id: str
) -> RerunEstimate:
    async with opened_queue(config) as opened:
        counts = LongCounts()
        try:
            estimator = build_estimator(
                config, ledger=opened.ledger, client=opened.client, counts=counts
            )
            return await estimate_rerun(
                missed,
                actions,
                account_id,
                estimator,
                opened.accounts,
                warn_percent=config.launch_check.warn_percent,
                default_caps=default_caps(config),
            )
        finally:
            counts.close()
