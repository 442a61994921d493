"""Forgets a person in the queue: what waits, what was missed, dead letters and results."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic_core import to_json

from runtime.ids import is_id_text
from runtime.queue.access import QueueAccess, check_ids, text_of

_BEGIN = "-"
_MOST_ROUNDS = 100
_CLOCKS_MS = 60_000


async def forget(
    access: QueueAccess, account_id: str, person_id: str, campaigns: Sequence[str]
) -> int:
    """Remove a person's entries from all of an account's streams; return how many.

    While this runs, entries may move from one stream to another, where they are new. So what is new
    is looked at again until nothing of the person is found.

    Args:
        campaigns: all of the account.

    Raises:
        ValueError: an id is not allowed.
        QueueUnavailable: Redis can't be reached; asked again, it goes on.
    """
    check_ids(account_id)
    if is_id_text(person_id) is None:
        raise ValueError("person_id: is not an id")
    after, removed = _BEGIN, 0
    for _ in range(_MOST_ROUNDS):
        # Servers' clocks may be behind ours by as much as the ledger allows.
        since = f"{int(time.time() * 1000) - _CLOCKS_MS}-0"
        found = 0
        for name in campaigns:
            for kind in ("queue", "missed"):
                found += await _forget_in(access, account_id, person_id, after, kind, name)
        for kind in ("results", "dead"):
            found += await _forget_in(access, account_id, person_id, after, kind, "")
        removed += found
        if not found and after != _BEGIN:
            break
        after = since
    return removed


async def _forget_in(
    access: QueueAccess, account_id: str, person_id: str, after: str, kind: str, name: str
) -> int:
    if name:
        parts = (kind, "campaign", "taken", "held")
        keys = (
            *access.of_campaign(account_id, name, *parts),
            *access.of_account(account_id, "queues"),
        )
    else:
        keys = access.of_account(account_id, kind)
    written = b'"person_id":' + to_json(person_id)
    removed, more = 0, 1
    while more:
        arguments = (kind if name else "other", name, after, person_id, written)
        seen, more, number = await access.run("forget", account_id, keys, arguments, again=True)
        after, removed = text_of(seen), removed + int(number)
    return removed
