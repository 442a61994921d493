"""Removes a person's requests and results from the request queue."""

from __future__ import annotations

from runtime.credits.erasure import Forgetting
from runtime.credits.results import LedgerUnavailable
from runtime.queue.errors import QueueUnavailable
from runtime.queue.queue import RequestQueue


class QueuedValues:
    """Values of one person in the queue, its missed requests, dead letters and results.

    A place that is erased. The queue names people by their ids, and the ledger by keyed hashes, so
    it is made for the person who is forgotten.
    """

    name = "queue"

    def __init__(self, queue: RequestQueue, person_id: str) -> None:
        self._queue = queue
        self._person_id = person_id

    async def erase(self, forgetting: Forgetting) -> int:
        """Remove the person's entries; return how many.

        Raises:
            LedgerUnavailable: Redis can't be reached; asked again, it goes on.
        """
        try:
            return await self._queue.forget(forgetting.person.account_id, self._person_id)
        except QueueUnavailable as error:
            raise LedgerUnavailable(str(error)) from error
