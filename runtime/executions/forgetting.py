"""Forgets a person: removes what models wrote for them from every place, and keeps the charges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtime.credits.erasure import Erasure, Forgetting, Progress


class Place(Protocol):
    """A place that keeps values of people, beside the ledger's outcomes."""

    name: str

    async def erase(self, forgetting: Forgetting) -> int:
        """Remove the person's values; return how many. Asked again, remove what is left."""


async def forget(
    erasure: Erasure,
    places: Sequence[Place],
    *,
    account_id: str,
    person_id: str,
    reference: str,
    reason: str,
    actor: str,
    on_progress: Progress = lambda looked_at, total: None,
) -> Forgetting:
    """Remove a person's values from the places and from the ledger, and record that in the journal.

    What was done under the reference is returned and not done again. What was begun goes on.

    Raises:
        ValueError: an argument is not allowed; the message names it.
        AccountUnknown, ReferenceConflict: as ``Erasure.begin``.
        LedgerUnavailable: Redis can't be reached; asked again, it goes on.
        OSError: a file can't be read or written.
    """
    forgetting = await erasure.begin(account_id, person_id, reference)
    if forgetting.done:
        return forgetting
    for place in places:
        await erasure.note(forgetting, place.name, await place.erase(forgetting))
    await erasure.erase_outcomes(forgetting, on_progress)
    return await erasure.finish(forgetting, reason=reason, actor=actor)
