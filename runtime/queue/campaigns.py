"""Campaigns of the queue: their figures, and pausing, resuming and stopping them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallback.reasons import ReasonGroup
from runtime.queue.access import QueueAccess, check_ids, text_of
from runtime.queue.entries import CampaignState, CampaignStatus
from runtime.queue.errors import CampaignUnknown, QueueDamaged
from runtime.queue.marks import WorkMarks

_MINUTE_MS = 60_000
_PLAIN = ("added", "rerun", "model", "mixed", "fallback", "dead", "stopped", "forgotten")


class Campaigns:
    """Reads and changes the campaigns of accounts.

    Every method may raise ``QueueUnavailable`` or ``QueueDamaged``.
    """

    def __init__(self, access: QueueAccess, marks: WorkMarks) -> None:
        self._access = access
        self._marks = marks

    async def names(self, account_id: str) -> list[str]:
        """Return the account's campaigns, oldest first."""
        check_ids(account_id)
        [name] = self._access.of_account(account_id, "campaigns")
        found = await self._access.plain(name, self._access.client.zrange(name, 0, -1))
        return [text_of(each) for each in found]

    async def status(self, account_id: str, campaign_id: str) -> CampaignStatus:
        """Return a campaign's figures at one instant.

        Raises:
            CampaignUnknown: the account has no such campaign.
        """
        check_ids(account_id, campaign_id)
        access = self._access
        keys = access.of_campaign(
            account_id, campaign_id, "campaign", "queue", "taken", "missed", "imports"
        )
        answer = await access.run("status", account_id, keys, (), again=True)
        if not answer:
            raise CampaignUnknown(campaign_id)
        return _status(keys[0], campaign_id, answer)

    async def import_position(self, account_id: str, campaign_id: str, import_id: str) -> int:
        """Return how many rows an import is done with; 0 for one that is not known."""
        check_ids(account_id, campaign_id)
        [name] = self._access.of_campaign(account_id, campaign_id, "imports")
        found = await self._access.plain(name, self._access.client.hget(name, import_id))
        return 0 if found is None else _whole(text_of(found).partition("\t")[0], name)

    async def pause(self, account_id: str, campaign_id: str) -> None:
        """Hold a campaign back. What runs ends, and what waits stays.

        Raises:
            CampaignUnknown: the account has no such campaign.
        """
        await self._change(account_id, campaign_id, CampaignState.PAUSED)

    async def resume(self, account_id: str, campaign_id: str) -> None:
        """Let a campaign that was paused or stopped go on.

        Raises:
            CampaignUnknown: the account has no such campaign.
        """
        await self._change(account_id, campaign_id, CampaignState.RUNNING)

    async def stop(self, account_id: str, campaign_id: str) -> None:
        """Stop a campaign. What waits is still there: whoever takes next moves it.

        Raises:
            CampaignUnknown: the account has no such campaign.
        """
        await self._change(account_id, campaign_id, CampaignState.STOPPED)

    async def _change(self, account_id: str, campaign_id: str, state: CampaignState) -> None:
        check_ids(account_id, campaign_id)
        access = self._access
        keys = (
            *access.of_campaign(account_id, campaign_id, "campaign", "queue"),
            *access.of_account(account_id, "queues"),
        )
        if state is not CampaignState.PAUSED:
            await self._marks.set(account_id)
        answer = await access.run(
            "change", account_id, keys, (campaign_id, state.value), again=True
        )
        if text_of(answer[0]) == "unknown":
            raise CampaignUnknown(campaign_id)


def _status(key: str, campaign_id: str, answer: Sequence[Any]) -> CampaignStatus:
    flat, length, running, kept, imports, now_ms = answer
    fields = _pairs(flat)
    state = fields.get("state", "")

    def number(name: str) -> int:
        return _whole(fields.get(name, "0"), f"{key} {name}")

    def by_group(part: str) -> Mapping[ReasonGroup, int]:
        found = {group: number(f"{part}:{group}") for group in ReasonGroup}
        return {group: value for group, value in found.items() if value}

    missed = by_group("missed")
    ended_lately, lately_ms = _lately(fields.get("lately", ""), int(now_ms))
    return CampaignStatus(
        campaign_id=campaign_id,
        workspace_id=fields.get("workspace_id", ""),
        state=CampaignState(state),
        created_ms=number("created_ms"),
        last_ms=number("last_ms"),
        waiting=max(0, int(length) - int(running)),
        running=int(running),
        charged_mc=number("charged_mc"),
        fallbacks=by_group("group"),
        missed=missed,
        ended_lately=ended_lately,
        lately_ms=min(lately_ms, max(1, int(now_ms) - number("created_ms"))),
        actions={
            name.removeprefix("action:"): number(name)
            for name in fields
            if name.startswith("action:")
        },
        missed_gone=max(0, sum(missed.values()) - int(kept)),
        imports={
            name: _whole(value.partition("\t")[0], f"{key} import {name}")
            for name, value in _pairs(imports).items()
        },
        **{name: number(name) for name in _PLAIN},
    )


def _lately(text: str, now_ms: int) -> tuple[int, int]:
    """Return how many executions ended in this minute and the one before, and how long that is."""
    minute, into_ms = divmod(now_ms, _MINUTE_MS)
    parts = text.split("\t")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return 0, _MINUTE_MS + into_ms
    stored, this, before = map(int, parts)
    found = this + before if stored == minute else this if stored == minute - 1 else 0
    return found, _MINUTE_MS + into_ms


def _pairs(flat: Sequence[bytes | str]) -> dict[str, str]:
    texts = [text_of(one) for one in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _whole(text: str, where: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise QueueDamaged(f"{where}: expected a whole number")
    return int(text)
