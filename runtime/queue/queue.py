"""The request queue: one stream for each campaign of an account, served in turn.

Every change is one script in the account's slot, so that it happens as a whole or not at all, and
an entry is counted once whoever ends it. Asked again after an error, each method goes on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from fallback.reasons import ReasonGroup
from runtime.actions.requests import ExecutionRequest
from runtime.queue.access import QueueAccess, check_ids, text_of
from runtime.queue.campaigns import Campaigns
from runtime.queue.entries import (
    MOST_AT_ONCE,
    Added,
    CampaignStatus,
    DeadReason,
    Ended,
    Entry,
    QueueSettings,
    Slice,
)
from runtime.queue.errors import CampaignConflict, CampaignStopped, QueueError, QueueFull
from runtime.queue.forgetting import forget
from runtime.queue.marks import SAFE_S, WorkMarks
from runtime.queue.outgoing import Outgoing
from runtime.queue.packing import packed_end, packed_request
from runtime.queue.retained import (
    DeadLetter,
    MissedCount,
    MissedRequest,
    QueuedResult,
    Rerun,
    Retained,
)
from runtime.queue.taking import Taking
from runtime.redis.primaries import Client


class RequestQueue:
    """Requests of campaigns, waiting in Redis for whoever runs them.

    Every method may raise ``QueueUnavailable``, or ``QueueDamaged`` where a key is not what it must
    be.

    Example::

        added = await queue.add("acme", "retail", "welcome", requests)
        while (taken := await queue.take("acme", "worker-1")) is not None:
            ended = [Ended(each, await runtime.execute(each.request)) for each in taken.entries]
            await queue.finish(taken, ended)

    ``outgoing`` hands out results that are sent elsewhere.

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
        self._taking = Taking(self._access, self._marks, self._settings)
        self.outgoing = Outgoing(self._access)
        self._retained = Retained(self._access, self._marks, self._settings)

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
        return await self._taking.take(account_id, consumer, count, idle_ms)

    async def finish(self, taken: Slice, ended: Sequence[Ended]) -> int:
        """Take entries that ended out of the queue; return how many were counted.

        An entry that somebody else ended is not counted again. Calling it again does nothing more.
        """
        packed = [packed_end(each) for each in ended]
        return await self._taking.finish(taken.account_id, taken.campaign_id, packed)

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
        return await self._taking.change(taken, entries, after_ms, counts=counts, reason=reason)

    async def keep(self, taken: Slice, entries: Sequence[Entry], idle_ms: int) -> int:
        """Keep entries that still run for longer; return how many others have not taken."""
        return await self._taking.change(taken, entries, idle_ms, counts=True, keeps=True)

    async def accounts_with_work(self) -> list[str]:
        """Return the accounts that may have something to take, the latest first."""
        return await self._marks.accounts()

    async def accounts(self, cursor: int = 0) -> tuple[int, list[str]]:
        """Return some of the accounts that ever had something added, and the next cursor.

        Args:
            cursor: 0 to begin; the next one is 0 after the last page.
        """
        return await self._marks.known(cursor)

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
        while await self._taking.move_stopped(account_id, campaign_id):
            pass

    async def missed(
        self,
        account_id: str,
        campaign_id: str,
        groups: Collection[ReasonGroup] = (),
        *,
        after: str = "",
        count: int = 100,
    ) -> list[MissedRequest]:
        """Return missed requests, oldest first, of these groups of reasons or of all."""
        return await self._retained.missed(
            account_id, campaign_id, groups, after=after, count=count
        )

    async def missed_counts(
        self, account_id: str, campaign_id: str
    ) -> dict[ReasonGroup, MissedCount]:
        """Return the missed requests by group. Raises ``CampaignUnknown``."""
        outstanding = (await self.status(account_id, campaign_id)).missed
        return await self._retained.missed_counts(account_id, campaign_id, outstanding)

    async def rerun(
        self, account_id: str, campaign_id: str, groups: Collection[ReasonGroup] = ()
    ) -> Rerun:
        """Put missed requests of these groups, or all, back into the queue.

        A request whose fallback the ledger keeps gets the id ``<id>:r<n>``; the others keep theirs.
        Those that are missed while this runs stay. Asked again after an error, it goes on.

        Raises:
            CampaignStopped: the campaign was stopped, and not resumed.
            CampaignUnknown: the account has no such campaign.
        """
        put_back, left = await self._retained.rerun(account_id, campaign_id, groups)
        counts = await self.missed_counts(account_id, campaign_id)
        gone = sum(found.gone for group, found in counts.items() if not groups or group in groups)
        return Rerun(put_back, gone, left)

    async def dead_letters(
        self, account_id: str, *, after: str = "", count: int = 100
    ) -> list[DeadLetter]:
        """Return the account's dead letters, oldest first, behind the entry ``after``."""
        return await self._retained.dead_letters(account_id, after=after, count=count)

    async def results(
        self, account_id: str, *, after: str = "", count: int = 100
    ) -> list[QueuedResult]:
        """Return the account's results, oldest first, behind the entry ``after``."""
        return await self._retained.results(account_id, after=after, count=count)

    async def forget(self, account_id: str, person_id: str) -> int:
        """Remove a person's requests and results, those that run too; return how many."""
        return await forget(self._access, account_id, person_id, await self.campaigns(account_id))

    async def trim(self) -> int:
        """Let go what is older than its retention, of accounts that are due; return how many were.

        To be called now and then by any process, and by several at once without harm.
        """
        due = await self._marks.due()
        for account_id in due:
            campaigns = await self.campaigns(account_id)
            await self._marks.look_again(
                account_id,
                await self._retained.trim(account_id, campaigns),
                self._settings.least_ms,
            )
        return len(due)


def _refused(campaign_id: str, word: str, found: Sequence[str]) -> QueueError:
    """Return the error for an answer of ``add.lua``."""
    if word == "conflict":
        return CampaignConflict(campaign_id, found[0], found[1])
    if word == "stopped":
        return CampaignStopped(campaign_id)
    if word == "full":
        return QueueFull(campaign_id, f"{int(found[0]):,} requests waiting", may_clear=True)
    return QueueFull(campaign_id, f"as many {word} as it may have", may_clear=False)
