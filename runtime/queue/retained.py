"""Missed requests, dead letters and results: kept by the queue for a while.

All of it is personal data. Each stream lets go what is older than its retention whenever something
is written, and in rounds; a stream that nothing is written to any more ends as a whole.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.actions.request_body import read_request
from runtime.actions.requests import ExecutionRequest, InvalidRequest
from runtime.ids import MOST_RETRIES, retry_id
from runtime.queue.access import QueueAccess, bytes_of, check_ids, text_of
from runtime.queue.entries import MOST_BYTES_AT_ONCE, QueueSettings
from runtime.queue.errors import CampaignStopped, CampaignUnknown
from runtime.queue.marks import WorkMarks
from runtime.queue.packing import body_of

_PAGE = 100
_BEGIN = "-"


@dataclass(frozen=True, slots=True)
class MissedRequest:
    """A request that fell back, or that a stopped campaign left.

    Args:
        request: ``None`` if it can't be read.
        is_kept: true if the ledger keeps its fallback, so that it is put back under another id.
        first_id: the id that it had before it was ever put back under another.
        number: how often it was.
    """

    entry_id: str
    request: ExecutionRequest | None
    reason: str
    group: ReasonGroup
    is_kept: bool
    first_id: str
    number: int


@dataclass(frozen=True, slots=True)
class MissedCount:
    """The number of missed requests of a group: those that are kept, and those that are gone."""

    kept: int
    gone: int


@dataclass(frozen=True, slots=True)
class Rerun:
    """The end of a rerun.

    Args:
        put_back: requests that wait again.
        gone: requests of these groups that are not kept any more.
        left: requests that can't be put back: too often, or damaged.
    """

    put_back: int
    gone: int
    left: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A request that nobody can run, with the reason.

    Args:
        body: as it was in the queue; empty if that was lost.
        detail: one line, without personal data.
        deliveries: how often it was taken.
    """

    entry_id: str
    campaign_id: str
    body: bytes
    reason: str
    detail: str
    deliveries: int

    @property
    def at_ms(self) -> int:
        """The instant at which it became one."""
        return int(self.entry_id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class QueuedResult:
    """A result as it is in the results stream; ``result`` is ``ExecutionResult.to_json()``."""

    entry_id: str
    campaign_id: str
    execution_id: str
    person_id: str
    result: Mapping[str, Any]


class Retained:
    """Reads what is kept, puts missed requests back, and lets go what is too old.

    Every method may raise ``QueueUnavailable`` or ``QueueDamaged``.
    """

    def __init__(self, access: QueueAccess, marks: WorkMarks, settings: QueueSettings) -> None:
        self._access = access
        self._marks = marks
        self._settings = settings

    async def missed(
        self,
        account_id: str,
        campaign_id: str,
        groups: Collection[ReasonGroup] = (),
        *,
        after: str = "",
        count: int = _PAGE,
    ) -> list[MissedRequest]:
        """Return missed requests, oldest first, of these groups of reasons or of all.

        Args:
            after: the last entry of the page before.
        """
        check_ids(account_id, campaign_id)
        [stream] = self._access.of_campaign(account_id, campaign_id, "missed")
        found: list[MissedRequest] = []
        async for page in self._pages(account_id, stream, after, count, "g", groups):
            found += [_missed(account_id, each) for each in page]
            if len(found) >= count:
                break
        return found

    async def missed_counts(
        self, account_id: str, campaign_id: str, outstanding: Mapping[ReasonGroup, int]
    ) -> dict[ReasonGroup, MissedCount]:
        """Return the missed requests by group.

        Args:
            outstanding: those that were not put back, as ``CampaignStatus.missed``.
        """
        check_ids(account_id, campaign_id)
        [stream] = self._access.of_campaign(account_id, campaign_id, "missed")
        kept = dict.fromkeys(ReasonGroup, 0)
        seen, more = _BEGIN, 1
        while more:
            seen, more, flat = await self._access.run(
                "tally", account_id, (stream,), (seen, "g"), again=True
            )
            for name, number in zip(flat[::2], flat[1::2], strict=True):
                kept[_group(text_of(name))] += int(number)
        return {
            group: MissedCount(kept[group], max(0, outstanding.get(group, 0) - kept[group]))
            for group in ReasonGroup
            if kept[group] or outstanding.get(group, 0)
        }

    async def rerun(
        self, account_id: str, campaign_id: str, groups: Collection[ReasonGroup] = ()
    ) -> tuple[int, int]:
        """Put missed requests back; return how many, and how many can't be put back.

        A request whose fallback the ledger keeps gets the id ``<id>:r<n>``. Those that are missed
        while this runs stay. Asked again after an error, it goes on.

        Raises:
            CampaignStopped: the campaign was stopped, and not resumed.
            CampaignUnknown: the account has no such campaign.
        """
        check_ids(account_id, campaign_id)
        access = self._access
        keys = (
            *access.of_campaign(account_id, campaign_id, "campaign", "queue", "missed"),
            *access.of_account(account_id, "queues"),
        )
        newest = await access.plain(keys[2], access.client.xrevrange(keys[2], count=1))
        last = text_of(newest[0][0]) if newest else _BEGIN
        put_back = left = 0
        pages = self._pages(account_id, keys[2], "", _PAGE, "g", groups, last)
        async for page in pages:
            arguments: list[str | bytes | int] = [campaign_id]
            for each in page:
                again = _again(_missed(account_id, each))
                left += again is None
                arguments += again or ()
            if len(arguments) == 1:
                continue
            await self._marks.set(account_id)
            answer = await access.run("rerun", account_id, keys, arguments, again=True)
            word = text_of(answer[0])
            if word == "stopped":
                raise CampaignStopped(campaign_id)
            if word == "unknown":
                raise CampaignUnknown(campaign_id)
            put_back += int(answer[1])
        return put_back, left

    async def dead_letters(
        self, account_id: str, *, after: str = "", count: int = _PAGE
    ) -> list[DeadLetter]:
        """Return the account's dead letters, oldest first."""
        entries = await self._read(account_id, "dead", after, count)
        return [
            DeadLetter(
                entry_id,
                _text(fields, "c"),
                fields.get("b", b""),
                _text(fields, "r"),
                _text(fields, "d"),
                _number(fields, "t"),
            )
            for entry_id, fields in entries
        ]

    async def results(
        self, account_id: str, *, after: str = "", count: int = _PAGE
    ) -> list[QueuedResult]:
        """Return the account's results, oldest first; those that can't be read are left out."""
        entries = await self._read(account_id, "results", after, count)
        found = (_result(entry_id, fields) for entry_id, fields in entries)
        return [each for each in found if each is not None]

    async def trim(self, account_id: str, campaigns: Sequence[str]) -> int:
        """Let go what is too old; return the instant (ms) at which more will be, 0 for never.

        Args:
            campaigns: all of the account.
        """
        settings = self._settings
        results, dead = self._access.of_account(account_id, "results", "dead")
        streams = [
            (results, settings.results_ms, str(settings.results_most)),
            (dead, settings.dead_ms, ""),
        ]
        for name in campaigns:
            [missed] = self._access.of_campaign(account_id, name, "missed")
            streams.append((missed, settings.missed_ms, ""))
        due = 0
        for stream, keep_ms, most in streams:
            more, next_due = 1, 0
            while more:
                more, next_due = await self._access.run(
                    "trim", account_id, (stream,), (keep_ms, most), again=True
                )
            at = int(next_due)
            due = min(due, at) if due and at else due or at
        return due

    async def _read(
        self, account_id: str, part: str, after: str, count: int
    ) -> list[tuple[str, dict[str, bytes]]]:
        check_ids(account_id)
        [stream] = self._access.of_account(account_id, part)
        found: list[tuple[str, dict[str, bytes]]] = []
        async for page in self._pages(account_id, stream, after, count):
            found += page
            if len(found) >= count:
                break
        return found

    async def _pages(
        self,
        account_id: str,
        stream: str,
        after: str,
        count: int,
        name: str = "",
        values: Collection[str] = (),
        last: str = "+",
    ) -> AsyncIterator[list[tuple[str, dict[str, bytes]]]]:
        """Yield pages of a stream; an empty one where nothing on it was chosen."""
        seen, more = after or _BEGIN, 1
        chosen = (name if values else "", *map(str, values))
        while more:
            bounds = (seen, last, count, MOST_BYTES_AT_ONCE)
            answer = await self._access.run(
                "page", account_id, (stream,), (*bounds, *chosen), again=True
            )
            seen, more = text_of(answer[0]), int(answer[1])
            yield [(text_of(entry_id), _fields(flat)) for entry_id, flat in answer[2]]


def result_of(entry: Sequence[Any]) -> QueuedResult | None:
    """Return an entry of the results stream, as a script answers it; ``None`` if it is damaged."""
    return _result(text_of(entry[0]), _fields(entry[1]))


def _result(entry_id: str, fields: Mapping[str, bytes]) -> QueuedResult | None:
    value = _json_object(fields.get("j", b""))
    if value is None:
        return None
    return QueuedResult(entry_id, _text(fields, "c"), _text(fields, "e"), _text(fields, "p"), value)


def _missed(account_id: str, entry: tuple[str, dict[str, bytes]]) -> MissedRequest:
    entry_id, fields = entry
    try:
        request = read_request(fields.get("b", b""), account_id)
    except InvalidRequest:
        request = None
    first_id = _text(fields, "o") or (request.execution_id if request else "")
    return MissedRequest(
        entry_id=entry_id,
        request=request,
        reason=_text(fields, "r"),
        group=_group(_text(fields, "g")),
        is_kept=fields.get("k") == b"1",
        first_id=first_id,
        number=_number(fields, "n"),
    )


def _again(missed: MissedRequest) -> tuple[str | bytes | int, ...] | None:
    """Return a missed request as ``rerun.lua`` takes it; ``None`` if it can't be put back."""
    request = missed.request
    if request is None:
        return None
    if not missed.is_kept:
        return (missed.entry_id, "", "", "")
    number = missed.number + 1
    if number > MOST_RETRIES:
        return None
    changed = ExecutionRequest(
        execution_id=retry_id(missed.first_id, number),
        account_id=request.account_id,
        workspace_id=request.workspace_id,
        campaign_id=request.campaign_id,
        person_id=request.person_id,
        action=request.action,
        data=request.data,
        source=request.source,
    )
    return (missed.entry_id, body_of(changed), missed.first_id, number)


def _group(name: str) -> ReasonGroup:
    try:
        return ReasonGroup(name)
    except ValueError:
        return FallbackReason.OUTCOME_LOST.group


def _fields(flat: Sequence[bytes | str]) -> dict[str, bytes]:
    return {
        text_of(name): bytes_of(value) for name, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return text_of(fields.get(name, b""))


def _number(fields: Mapping[str, bytes], name: str) -> int:
    text = _text(fields, name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
