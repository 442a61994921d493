"""One import of a people file into a campaign's queue, from the command line."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.campaigns.campaign import Campaign
from runtime.campaigns.column_types import Columns
from runtime.campaigns.enqueueing import Enqueuing, Import
from runtime.campaigns.people import PeopleFile, PeopleSummary
from runtime.campaigns.people_format import PeopleFormat
from runtime.cli.interruption import Interruption
from runtime.cli.queue import opened_queue
from runtime.cli.views.enqueueing import EnqueueDisplay
from runtime.cli.views.progress import UPDATE_EVERY_S
from runtime.config import Config

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnqueueSettings:
    """Settings of one import. ``people`` has been checked."""

    campaign: Campaign
    people: PeopleFile
    summary: PeopleSummary
    content: str
    import_id: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class EnqueueReport:
    """The end of an import.

    Args:
        people: of the file.
        accepted: rows that were added now.
        position: rows of the import that are in the queue, or were.
    """

    account_id: str
    campaign_id: str
    import_id: str
    people: int
    accepted: int
    position: int
    dry_run: bool
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report in plain JSON types."""
        return asdict(self)


def content_of(
    path: Path, campaign: Campaign, people_format: PeopleFormat, columns: Columns
) -> str:
    """Return what tells this import from others: a hash of the file, and of how it is read."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            found.update(piece)
    how = [
        campaign.action.id,
        str(campaign.source),
        *(people_format.delimiter, people_format.encoding, people_format.id_column),
        columns.types(),
    ]
    found.update(b"\0" + json.dumps(how).encode())
    return found.hexdigest()


async def enqueue_people(config: Config, settings: EnqueueSettings) -> EnqueueReport:
    """Add the people to the queue, with progress on stderr.

    Raises:
        AccountUnknown: before anybody is added.
        CampaignConflict, CampaignStopped, QueueFull, RequestTooLarge, QueueUnavailable: as
            ``RequestQueue.add``; the same import goes on where it stopped.
    """
    campaign = settings.campaign
    async with opened_queue(config) as opened:
        await opened.accounts.balance(campaign.account_id)
        target = Import(opened.queue, campaign, settings.import_id, settings.content)
        interrupted = False
        if settings.dry_run:
            target.position = await opened.queue.import_position(
                campaign.account_id, campaign.campaign_id, settings.import_id
            )
        else:
            with EnqueueDisplay(settings.summary.people) as display, Interruption() as interruption:
                await _add(settings, target, display, interruption)
                interrupted = interruption.happened
    people = settings.summary.people
    return EnqueueReport(
        account_id=campaign.account_id,
        campaign_id=campaign.campaign_id,
        import_id=settings.import_id,
        people=people,
        accepted=target.accepted,
        position=target.position,
        dry_run=settings.dry_run,
        interrupted=interrupted and target.position < people,
    )


async def _add(
    settings: EnqueueSettings, target: Import, display: EnqueueDisplay, interruption: Interruption
) -> None:
    adding = Enqueuing(target)

    async def show() -> None:
        while True:
            display.update(target.position, target.accepted, is_full=adding.is_waiting)
            await asyncio.sleep(UPDATE_EVERY_S)

    def stop() -> None:
        adding.stop()
        display.say("Stopping after the rows under way ...")

    # A second signal cancels, where Redis lets the first one wait.
    interruption.steps.insert(0, stop)
    showing = asyncio.create_task(show())
    try:
        found = settings.summary
        people = settings.people.read(limit=found.people, columns=found.columns)
        await adding.run(settings.campaign, people)
    finally:
        showing.cancel()
        display.update(target.position, target.accepted, is_full=False)
