"""Takes slices of requests out of the queue, and ends them or gives them back."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from runtime.actions.request_body import read_request
from runtime.actions.requests import InvalidRequest
from runtime.queue.access import QueueAccess, bytes_of, check_ids, text_of
from runtime.queue.entries import (
    MOST_AT_ONCE,
    MOST_BYTES_AT_ONCE,
    MOST_REQUEST_BYTES,
    DeadReason,
    Entry,
    QueueSettings,
    Slice,
)
from runtime.queue.marks import WorkMarks
from runtime.queue.packing import Packed, in_bounds, packed_dead

_log = logging.getLogger("creditgate.queue")

_CANDIDATES = 16
_MOST_ROUNDS = 64
_TOKEN_BYTES = 9


class Taking:
    """Taking, ending and giving back, as ``RequestQueue`` describes them."""

    def __init__(self, access: QueueAccess, marks: WorkMarks, settings: QueueSettings) -> None:
        self._access = access
        self._marks = marks
        self._settings = settings

    async def take(self, account_id: str, consumer: str, count: int, idle_ms: int) -> Slice | None:
        """Take a slice, as ``RequestQueue.take``."""
        check_ids(account_id)
        access = self._access
        [queues] = access.of_account(account_id, "queues")
        for round_ in range(_MOST_ROUNDS):
            names = await access.plain(queues, access.client.zrange(queues, 0, _CANDIDATES - 1))
            if not names:
                await self._marks.remove_if_empty(account_id)
                return None
            candidates = [text_of(name) for name in names]
            chosen, taken = await self._take(account_id, candidates, consumer, count, idle_ms)
            if taken is not None:
                return taken
            if not chosen and len(names) < _CANDIDATES:
                return None
            if not chosen:
                size = await access.plain(queues, access.client.zcard(queues))
                if (round_ + 1) * _CANDIDATES >= size:
                    return None
        return None

    async def move_stopped(self, account_id: str, campaign_id: str) -> bool:
        """Move some of what waits for a stopped campaign; return whether there was any."""
        moved, _ = await self._take(account_id, [campaign_id], "stop", 0, 0)
        return moved

    async def _take(
        self, account_id: str, candidates: Sequence[str], consumer: str, count: int, idle_ms: int
    ) -> tuple[bool, Slice | None]:
        """Return whether a campaign was served, and what was taken of it that can be run."""
        access, settings = self._access, self._settings
        keys = list(access.of_account(account_id, "limits", "queues", "dead"))
        for name in candidates:
            keys += access.of_campaign(
                account_id, name, "campaign", "queue", "taken", "held", "missed"
            )
        token = f"{consumer[:64]}:{secrets.token_urlsafe(_TOKEN_BYTES)}".replace("\t", " ")
        number, more, found, damaged, _ = await access.run(
            "take",
            account_id,
            keys,
            [
                *(min(count, MOST_AT_ONCE), MOST_BYTES_AT_ONCE, idle_ms, settings.max_deliveries),
                *(token, settings.missed_ms, settings.dead_ms, MOST_REQUEST_BYTES),
                *candidates,
            ],
        )
        _tell_damaged(account_id, damaged)
        if not number:
            return False, None
        campaign_id = candidates[number - 1]
        entries, dead = read_entries(account_id, campaign_id, found)
        if dead:
            await self.finish(account_id, campaign_id, dead)
        if not entries:
            return True, None
        return True, Slice(account_id, campaign_id, tuple(entries), bool(more), token)

    async def finish(self, account_id: str, campaign_id: str, ended: Sequence[Packed]) -> int:
        """End entries; return how many nobody else had ended."""
        access, settings = self._access, self._settings
        keys = (
            *access.of_campaign(
                account_id, campaign_id, "campaign", "queue", "taken", "held", "missed"
            ),
            *access.of_account(account_id, "results", "dead", "queues"),
        )
        kept = (settings.missed_ms, settings.dead_ms, settings.results_ms, settings.results_most)
        counted = 0
        for arguments in in_bounds(ended):
            answer = await access.run(
                "finish", account_id, keys, (campaign_id, *kept, *arguments), again=True
            )
            counted += int(answer[0])
        return counted

    async def change(
        self,
        taken: Slice,
        entries: Sequence[Entry],
        after_ms: int,
        *,
        counts: bool,
        keeps: bool = False,
        reason: DeadReason | None = None,
    ) -> int:
        """Give back or keep entries of a taking; return how many others had not taken."""
        keys = self._access.of_campaign(taken.account_id, taken.campaign_id, "taken", "held")
        changed = 0
        for first in range(0, len(entries), MOST_AT_ONCE):
            ids = [each.entry_id for each in entries[first : first + MOST_AT_ONCE]]
            arguments: list[str | bytes | int] = [taken.token, after_ms, int(counts), int(keeps)]
            arguments += [reason or "", *ids]
            answer = await self._access.run(
                "give_back", taken.account_id, keys, arguments, again=True
            )
            changed += int(answer[0])
        return changed


def read_entries(
    account_id: str, campaign_id: str, found: Sequence[Sequence[Any]]
) -> tuple[list[Entry], list[Packed]]:
    """Return the entries that can be run, and the ends of those that can't be."""
    entries: list[Entry] = []
    dead: list[Packed] = []
    for entry_id, body, times in found:
        name, raw = text_of(entry_id), bytes_of(body)
        try:
            request = read_request(raw, account_id)
        except InvalidRequest as exc:
            dead.append(packed_dead(name, DeadReason.INVALID_REQUEST, str(exc)))
            continue
        if request.campaign_id != campaign_id:
            detail = "campaign_id: is another campaign's"
            dead.append(packed_dead(name, DeadReason.INVALID_REQUEST, detail))
            continue
        entries.append(Entry(name, request, int(times)))
    return entries, dead


def _tell_damaged(account_id: str, damaged: Sequence[Any]) -> None:
    texts = [text_of(each) for each in damaged]
    for name, fault in zip(texts[::2], texts[1::2], strict=True):
        _log.error("account %s: campaign %r can't be served: %s", account_id, name, fault)
