"""The campaigns that ran an action, from the archive's roll-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from runtime.archive.errors import NotArchived
from runtime.archive.rollup import QUARTER_MS
from runtime.archive.snapshot import Snapshot, snapshot_of
from runtime.store.database import Database
from runtime.store.schema import dimensions, totals, usage

MOST_CAMPAIGNS = 1_000


@dataclass(frozen=True, slots=True)
class UsedIn:
    """A campaign that ran an action.

    ``last_run_ms`` is the begin of the quarter of an hour in which the last execution ended.
    """

    workspace_id: str
    campaign_id: str
    executions: int
    charged_mc: int
    last_run_ms: int


async def used_in(database: Database, account_id: str, action_id: str) -> list[UsedIn]:
    """Return the campaigns that ran an action, those that ran it last first.

    Executions count once they are archived; those of previews and tests count too.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    try:
        async with snapshot_of(database, account_id) as snapshot:
            rows = await _by_campaign(snapshot, action_id)
            found = [
                UsedIn(
                    workspace_id=row.workspace,
                    campaign_id=row.campaign,
                    executions=int(row.executions),
                    charged_mc=int(row.charged_mc),
                    last_run_ms=await _last_run_ms(snapshot, action_id, row),
                )
                for row in rows
            ]
    except NotArchived:
        return []
    return sorted(found, key=lambda one: (-one.last_run_ms, one.workspace_id, one.campaign_id))


def _joined(snapshot: Snapshot, action_id: str, table: Any) -> Any:
    return (
        (dimensions.c.account == snapshot.account.no)
        & (dimensions.c.action == action_id)
        & (table.c.account == dimensions.c.account)
        & (table.c.dims == dimensions.c.number)
    )


async def _by_campaign(snapshot: Snapshot, action_id: str) -> list[Any]:
    last_slot = func.max(totals.c.slot)
    query = (
        select(
            dimensions.c.workspace,
            dimensions.c.campaign,
            func.sum(totals.c.executions).label("executions"),
            func.sum(totals.c.charged_mc).label("charged_mc"),
            last_slot.label("last_slot"),
        )
        .join_from(dimensions, totals, _joined(snapshot, action_id, totals))
        .group_by(dimensions.c.workspace, dimensions.c.campaign)
        .order_by(last_slot.desc(), dimensions.c.workspace, dimensions.c.campaign)
        .limit(MOST_CAMPAIGNS)
    )
    return list((await snapshot.connection.execute(query)).all())


async def _last_run_ms(snapshot: Snapshot, action_id: str, row: Any) -> int:
    """Return when a campaign ran an action last, within the last day that has it."""
    query = (
        select(func.max(usage.c.slot))
        .join_from(dimensions, usage, _joined(snapshot, action_id, usage))
        .where(
            dimensions.c.workspace == row.workspace,
            dimensions.c.campaign == row.campaign,
            usage.c.quarters == 1,
            usage.c.slot >= row.last_slot,
        )
    )
    slot = (await snapshot.connection.execute(query)).scalar_one()
    return int(row.last_slot if slot is None else slot) * QUARTER_MS
