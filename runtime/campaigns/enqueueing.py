"""Puts the people of a file, or of a request's body, into a campaign's queue.

Each row is there once, however often it is sent: the queue knows an import by its id, and how many
of its rows it has. What is there already is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from runtime.actions.requests import ExecutionRequest, InvalidRequest
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people_rows import Person
from runtime.queue.entries import MOST_REQUEST_BYTES
from runtime.queue.errors import QueueFull
from runtime.queue.packing import body_of
from runtime.queue.queue import RequestQueue

MOST_ROWS = 250
"""The rows of one batch, which one script adds."""
MOST_BYTES = 256 * 1024
"""A batch ends with the row that reaches this."""

FULL_WAIT_S = 1.0
"""The time between two tries of a queue that is full."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of an import in a row. ``row`` is the number of the first one, from 0."""

    row: int
    requests: list[ExecutionRequest]

    @property
    def end(self) -> int:
        """The number of the first row after it."""
        return self.row + len(self.requests)

    def after(self, row: int) -> Batch:
        """Return what is left of it from this row on."""
        return Batch(row, self.requests[row - self.row :])


def size_of(request: ExecutionRequest) -> int:
    """Return the bytes of a request in the queue.

    Raises:
        InvalidRequest: the queue does not take it; the message holds nothing of it.
    """
    size = len(body_of(request))
    if size > MOST_REQUEST_BYTES:
        raise InvalidRequest(
            f"a person takes {size:,} bytes in the queue, {MOST_REQUEST_BYTES:,} are allowed"
        )
    return size


def batches(campaign: Campaign, people: Iterable[Person], row: int = 0) -> Iterator[Batch]:
    """Yield the requests for people, in batches that a script can add at once.

    Args:
        row: the number of the first of them in its import.

    Raises:
        InvalidRequest, PeopleError: while iterating; the rows before are yielded first.
    """
    requests: list[ExecutionRequest] = []
    size = 0
    try:
        for person in people:
            request = campaign.queued(person)
            size += size_of(request)
            requests.append(request)
            if len(requests) >= MOST_ROWS or size >= MOST_BYTES:
                yield Batch(row, requests)
                row, size, requests = row + len(requests), 0, []
    except Exception:
        if requests:
            yield Batch(row, requests)
        raise
    if requests:
        yield Batch(row, requests)


class ImportBehind(Exception):
    """Rows are missing before the ones that are to be added. ``position`` says from where on."""

    def __init__(self, position: int, row: int) -> None:
        super().__init__(
            f"the import has {position:,} rows so far, so row {row:,} can't follow: send them from "
            f"row {position:,} on"
        )
        self.position = position


class Import:
    """One import into a campaign.

    Args:
        import_id: its name; the same one goes on where it stopped.
        content: what it is made of; another one under the same name is refused.

    ``accepted`` counts the rows that this object added, ``position`` those that the queue has of
    the import.
    """

    def __init__(
        self, queue: RequestQueue, campaign: Campaign, import_id: str, content: str
    ) -> None:
        self.accepted = 0
        self.position = 0
        self._queue = queue
        self._campaign = campaign
        self._id = import_id
        self._content = content

    async def find(self) -> int:
        """Return how many rows of the import the queue has.

        Raises:
            CampaignConflict: the name is that of another import.
            QueueUnavailable: Redis can't be reached.
        """
        # An import of nothing asks the script itself, which refuses what adding would.
        await self._add(Batch(0, []))
        return self.position

    async def add(self, batch: Batch) -> None:
        """Add a batch, or what the queue has not got of it.

        Raises:
            ImportBehind: there are rows before the batch that the queue has not got.
            CampaignConflict, CampaignStopped, QueueFull, RequestTooLarge, QueueUnavailable: as
                ``RequestQueue.add``.
        """
        if batch.end <= self.position:
            return
        if batch.row < self.position:
            batch = batch.after(self.position)
        while batch.requests:
            await self._add(batch)
            if self.position < batch.row:
                raise ImportBehind(self.position, batch.row)
            if self.position >= batch.end:
                return
            batch = batch.after(self.position)  # somebody else adds the same import

    async def _add(self, batch: Batch) -> None:
        campaign = self._campaign
        added = await self._queue.add(
            campaign.account_id,
            campaign.workspace_id,
            campaign.campaign_id,
            batch.requests,
            import_id=self._id,
            content=self._content,
            row=batch.row,
        )
        self.accepted += added.accepted
        self.position = added.position


class Enqueuing:
    """Adds all people of an import, and waits while the queue is full.

    ``stop`` ends it after the batch that is under way. ``is_waiting`` is true while the queue is
    full.
    """

    def __init__(self, target: Import, on_batch: Callable[[], object] = lambda: None) -> None:
        self.is_waiting = False
        self._import = target
        self._on_batch = on_batch
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Add no more."""
        self._stopping.set()

    async def run(self, campaign: Campaign, people: Iterator[Person]) -> None:
        """Add the people, whose first one is the first row of the import.

        Raises:
            PeopleError: a row can't be read; those before it are added.
            CampaignConflict, CampaignStopped, RequestTooLarge, QueueUnavailable: as
                ``RequestQueue.add``.
        """
        known = await self._import.find()
        async for batch in self._taken(campaign, people, known):
            await self._add(batch)
            self._on_batch()

    async def _taken(
        self, campaign: Campaign, people: Iterator[Person], known: int
    ) -> AsyncIterator[Batch]:
        left = known
        while left and not self._stopping.is_set():
            passed = sum(1 for _ in islice(people, min(left, MOST_ROWS)))
            if not passed:
                return
            left -= passed
            await asyncio.sleep(0)
        for batch in batches(campaign, people, known):
            if self._stopping.is_set():
                return
            yield batch
            await asyncio.sleep(0)

    async def _add(self, batch: Batch) -> None:
        while not self._stopping.is_set():
            try:
                await self._import.add(batch)
            except QueueFull as full:
                if not full.may_clear:
                    raise
                self.is_waiting = True
                self._on_batch()
                await self._pause()
            else:
                self.is_waiting = False
                return

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(FULL_WAIT_S):
                await self._stopping.wait()
        except TimeoutError:
            return
