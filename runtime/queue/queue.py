"""The request queue: one stream for each campaign of an account, served in turn.

Every change is one script in the account's slot, so that it happens as a whole or not at all, and
an entry is counted once whoever ends it. Asked again after an error, each method goes on.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

from runtime.actions.request_body import read_request
from runtime.actions.requests import ExecutionRequest, InvalidRequest
from runtime.queue.access import QueueAccess, bytes_of, check_ids, text_of
from runtime.queue.campaigns import Campaigns
from runtime.queue.entries import (
    MOST_AT_ONCE,
    MOST_BYTES_AT_ONCE,
    MOST_REQUEST_BYTES,
    Added,
    CampaignStatus,
    DeadReason,
    Ended,
    Entry,
    QueueSettings,
    Slice,
)
from runtime.queue.errors import CampaignConflict, CampaignStopped, QueueError, QueueFull
from runtime.queue.marks import SAFE_S, WorkMarks
from runtime.queue.packing import Packed, in_bounds, packed_dead, packed_end, packed_request
from runtime.redis.primaries import Client

_log = logging.getLogger("creditgate.queue")

_CANDIDATES = 16
_MOST_ROUNDS = 64
_TOKEN_BYTES = 9


class RequestQueue:
    """Requests of campaigns, waiting in Redis for whoever runs them.

    Every method may raise ``QueueUnavailable``, or ``QueueDamaged`` where a key is not what it must
    be.

    Example::

        added = await queue.add("acme", "retail", "welcome", requests)
        while (taken := await queue.take("acme", "worker-1")) is not None:
            ended = [Ended(each, await runtime.execute(each.request)) for each in taken.entries]
            await queue.finish(taken, ended)

    Args:
        client: redis-py's client of one server or of a cluster; owned by the caller.
        timeout_ms: of one call of Redis.
        replicas: that must acknowledge each change, as the ledger's ``wait_replicas``.
        clock: Lua that defines ``server_ms`` in tests.
    """

    def __init__(
        self,
        client: Client,
        key_prefix: str,
        settings: QueueSettings | None = None,
        *,
        timeout_ms: int = 1_000,
        replicas: int = 0,
        clock: str | None = None,
    ) -> None:
        self._access = QueueAccess(client, key_prefix, timeout_ms, replicas, clock)
        self._settings = settings or QueueSettings()
        self._marks = WorkMarks(self._access)
        self._campaigns = Campaigns(self._access, self._marks)

    async def aclose(self) -> None:
        """Wait for answers that are still to be read, and give connections back."""
        await self._access.drain()

    async def add(
        self,
        account_id: str,
        workspace_id: str,
        campaign_id: str,
        requests: Sequence[ExecutionRequest],
        *,
        import_id: str | None = None,
        content: str = "",
        row: int = 0,
        next_row: int | None = None,
    ) -> Added:
        """Put requests into a campaign's queue: all of them, or none.

        With an import, a batch that is already there adds nothing, so it can be sent again after
        an error, and the answer says from which row to go on. Without one, sending a batch again
        after an error may add it twice; credits are still charged once.

        Args:
            requests: at most ``MOST_AT_ONCE``, of this account, workspace and campaign. Their
                actions are ids.
            import_id: names one import of one file.
            content: what tells the file from others, such as its hash: the same import with
                another one is a conflict.
            row: the row that the first request comes from.
            next_row: the row after the last one, where some rows gave no request.

        Raises:
            ValueError: an argument is not allowed, or a request is of another campaign.
            RequestTooLarge: a request has more than ``MOST_REQUEST_BYTES``.
            CampaignConflict: the campaign is in another workspace, or the import of other content.
            CampaignStopped: it was stopped, and not resumed.
            QueueFull: no more may wait; try again later.
        """
        check_ids(account_id, workspace_id, campaign_id)
        if len(requests) > MOST_AT_ONCE:
            raise ValueError(f"requests: at most {MOST_AT_ONCE} at once, found {len(requests):,}")
        packed: list[str | bytes | int] = []
        for request in requests:
            packed += packed_request(request, account_id, workspace_id, campaign_id)
        after = row + len(requests) if next_row is None else next_row
        access = self._access
        marked_s = await self._marks.set(account_id) if requests else time.monotonic()
        answer = await access.run(
            "add",
            account_id,
            (
                *access.of_campaign(account_id, campaign_id, "campaign", "queue", "imports"),
                *access.of_account(account_id, "queues", "campaigns"),
            ),
            (
                *(campaign_id, workspace_id, import_id or "", content, row, after),
                *(self._settings.most_waiting, *packed),
            ),
            again=import_id is not None,
        )
        if requests and time.monotonic() - marked_s > SAFE_S:
            await self._marks.set(account_id)
        word, *found = (text_of(value) if isinstance(value, bytes) else value for value in answer)
        if word in ("added", "there"):
            return Added(int(found[0]), int(found[1]) if import_id is not None else 0)
        raise _refused(campaign_id, str(word), [str(each) for each in found])

    async def import_position(self, account_id: str, campaign_id: str, import_id: str) -> int:
        """Return how many rows an import is done with; 0 for one that is not known."""
        return await self._campaigns.import_position(account_id, campaign_id, import_id)

    async def take(
        self, account_id: str, consumer: str, count: int = 32, idle_ms: int = 600_000
    ) -> Slice | None:
        """Take a slice of the account's campaign that was served longest ago.

        First come entries that somebody took longer than ``idle_ms`` ago and did not end. What is
        no request, or was taken too often, becomes a dead letter here.

        Args:
            consumer: the name of who takes them.
            count: the most entries.
            idle_ms: until others may take them.

        Returns:
            ``None`` if there is nothing to take: all is running, paused, or switched off.
        """
        check_ids(account_id)
        access = self._access
        [queues] = access.of_account(account_id, "queues")
        for round_ in range(_MOST_ROUNDS):
            names = await access.plain(access.client.zrange(queues, 0, _CANDIDATES - 1))
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
                size = await access.plain(access.client.zcard(queues))
                if (round_ + 1) * _CANDIDATES >= size:
                    return None
        return None

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
                *(token, settings.missed_ms, settings.dead_ms),
                *candidates,
            ],
        )
        _tell_damaged(account_id, damaged)
        if not number:
            return False, None
        campaign_id = candidates[number - 1]
        entries, dead = _read(account_id, campaign_id, found)
        if dead:
            await self._finish(account_id, campaign_id, dead)
        if not entries:
            return True, None
        return True, Slice(account_id, campaign_id, tuple(entries), bool(more), token)

    async def finish(self, taken: Slice, ended: Sequence[Ended]) -> int:
        """Take entries that ended out of the queue; return how many were counted.

        An entry that somebody else ended is not counted again. Calling it again does nothing more.
        """
        packed = [packed_end(each) for each in ended]
        return await self._finish(taken.account_id, taken.campaign_id, packed)

    async def _finish(self, account_id: str, campaign_id: str, ended: Sequence[Packed]) -> int:
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

    async def give_back(
        self,
        taken: Slice,
        entries: Sequence[Entry],
        after_ms: int = 0,
        *,
        counts: bool = False,
        reason: DeadReason | None = None,
    ) -> int:
        """Let others take entries that did not end; return how many were given back.

        Args:
            after_ms: until others may take them.
            counts: true if this delivery counts towards ``max_deliveries``.
            reason: the reason of the dead letter that it becomes when it was taken too often.
        """
        return await self._change(taken, entries, after_ms, counts=counts, reason=reason)

    async def keep(self, taken: Slice, entries: Sequence[Entry], idle_ms: int) -> int:
        """Keep entries that still run for longer; return how many others have not taken."""
        return await self._change(taken, entries, idle_ms, counts=True, keeps=True)

    async def _change(
        self,
        taken: Slice,
        entries: Sequence[Entry],
        after_ms: int,
        *,
        counts: bool,
        keeps: bool = False,
        reason: DeadReason | None = None,
    ) -> int:
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

    async def accounts_with_work(self) -> list[str]:
        """Return the accounts that may have something to take, the latest first."""
        return await self._marks.accounts()

    async def status(self, account_id: str, campaign_id: str) -> CampaignStatus:
        """Return a campaign's figures. Raises ``CampaignUnknown``."""
        return await self._campaigns.status(account_id, campaign_id)

    async def campaigns(self, account_id: str) -> list[str]:
        """Return the account's campaigns, oldest first."""
        return await self._campaigns.names(account_id)

    async def pause(self, account_id: str, campaign_id: str) -> None:
        """Hold a campaign back; what runs ends. Raises ``CampaignUnknown``."""
        await self._campaigns.pause(account_id, campaign_id)

    async def resume(self, account_id: str, campaign_id: str) -> None:
        """Let a campaign that was paused or stopped go on. Raises ``CampaignUnknown``."""
        await self._campaigns.resume(account_id, campaign_id)

    async def stop(self, account_id: str, campaign_id: str) -> None:
        """Stop a campaign: what runs ends, and what waits is moved to the missed requests.

        Nothing can be added until it is resumed. Cut off, it leaves the rest to workers, which also
        move what was taken and did not end.

        Raises:
            CampaignUnknown: the account has no such campaign.
        """
        await self._campaigns.stop(account_id, campaign_id)
        moved = True
        while moved:
            moved, _ = await self._take(account_id, [campaign_id], "stop", 0, 0)


def _read(
    account_id: str, campaign_id: str, found: Sequence[Sequence[Any]]
) -> tuple[list[Entry], list[Packed]]:
    """Return the entries that can be run, and the ends of those that can't be."""
    entries: list[Entry] = []
    dead: list[Packed] = []
    for entry_id, body, times in found:
        name, raw = text_of(entry_id), bytes_of(body)
        if len(raw) > MOST_REQUEST_BYTES:
            detail = f"{len(raw):,} bytes, at most {MOST_REQUEST_BYTES:,} are allowed"
            dead.append(packed_dead(name, DeadReason.TOO_LARGE, detail))
            continue
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


def _refused(campaign_id: str, word: str, found: Sequence[str]) -> QueueError:
    """Return the error for an answer of ``add.lua``."""
    if word == "conflict":
        return CampaignConflict(campaign_id, found[0], found[1])
    if word == "stopped":
        return CampaignStopped(campaign_id)
    if word == "full":
        return QueueFull(campaign_id, f"{int(found[0]):,} requests waiting", may_clear=True)
    return QueueFull(campaign_id, f"as many {word} as it may have", may_clear=False)


def _tell_damaged(account_id: str, damaged: Sequence[Any]) -> None:
    texts = [text_of(each) for each in damaged]
    for name, fault in zip(texts[::2], texts[1::2], strict=True):
        _log.error("account %s: campaign %r can't be served: %s", account_id, name, fault)
